"""Files of an audit, in a folder of its own: no audit replaces the results of another."""

from hashlib import sha256
from itertools import count
from os import fsencode
from pathlib import Path

import pandas as pd

from turnover.common.files import outputs_root, replacing
from turnover.common.text import printable
from turnover.errors import RefusedInput

_SUSPECTS = "suspects.csv"


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
    """Write a table without its index, all or nothing."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
