"""Files of an audit, in a folder of its own: no audit replaces the results of another."""

import re
from hashlib import sha256
from itertools import count
from os import fsencode
from pathlib import Path

import pandas as pd

from turnover.common.files import outputs_root, replacing
from turnover.common.text import printable
from turnover.errors import RefusedInput

_SUSPECTS = "suspects.csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")  # how a formula begins, and what marks that it is none
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def refuse_used(output: Path) -> None:
    """Refuse a folder that holds results, in which somebody may have made notes."""
    if (output / _SUSPECTS).exists():
        raise RefusedInput(
            f"output = {output}: holds the results of an audit, perhaps with notes; give another folder, or leave "
            "output out, and every audit gets a folder of its own"
        )


def new_folder(data: Path) -> Path:
    """Make the folder of one audit: name of the data, hash of their path, and a number from the second audit on."""
    path = data.resolve()
    base = outputs_root() / "audit" / f"{printable(path.name)}-{sha256(fsencode(path)).hexdigest()[:8]}"
    for number in count(1):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, all or nothing; no cell is a formula to a spreadsheet."""
    text = {str(name): table[name].map(as_text) for name in table if table[name].dtype.kind not in "biuf"}
    with replacing(path) as temporary:
        table.assign(**text).to_csv(temporary, index=False, float_format="%.6g")


def as_text(cell: str) -> str:
    """Return a cell with an apostrophe before it if a spreadsheet would run it: remove one to have it back."""
    return f"'{cell}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell
