"""Listing of images by a csv or parquet file of paths and labels."""

import csv
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from turnover.audit.folders import File, Listing
from turnover.audit.labelled import LeftOut
from turnover.checks.missing import AS_TEXT
from turnover.errors import RefusedInput

_COLUMNS = ("path", "label", "id", "group")
_DELIMITERS = ",;\t"
_NO_CLASS = "-1"  # of an example without a label, where classes are numbers from 0


def list_table(path: Path) -> Listing:
    """List the images of a file with columns path and label, and perhaps id and group, in the order of its rows.

    Paths are relative to the folder of the file. Rows without a path or a label are left out, and so is a row of the
    same path and label as an earlier one.

    Raises:
        RefusedInput: the file is no such table, no row is left, or ids are missing or occur twice.
    """
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _rows(path)
    labels = {row["label"] for row in rows} - {*AS_TEXT, _NO_CLASS}
    numbered = len(labels) > 1 and all(label.isdecimal() for label in labels)
    files: list[File] = []
    left_out: list[LeftOut] = []
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):  # as a spreadsheet numbers them, the first has the names
        where, label = row["path"], row["label"]
        if not where:
            left_out.append(LeftOut(f"row {number}", "without a path"))
        elif label in AS_TEXT or (numbered and label == _NO_CLASS):
            left_out.append(LeftOut(where, f"without a label: {label or 'empty'}, row {number}"))
        elif (where, label) in seen:
            left_out.append(LeftOut(where, f"row that comes twice: rows {seen[where, label]} and {number}"))
        else:
            seen[where, label] = number
            files.append(File(path.parent / where, label, row.get("id", where), row.get("group", "")))
    if not files:
        raise RefusedInput(f"data = {path}: has no row with a path and a label")
    if "id" in rows[0]:
        count = Counter(file.name for file in files)
        if wrong := [name for name in count if count[name] > 1 or name in AS_TEXT]:
            raise RefusedInput(
                f"data = {path}: ids must be there and differ, {wrong[0]!r} comes {count[wrong[0]]} times; leave the "
                "column out to name examples by their path"
            )
    return Listing(files, left_out, sorted({file.label for file in files}))


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the file, without spaces around values."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=first.count)
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{name: row[name].strip() for name in columns} for row in reader]
    except UnicodeDecodeError as error:
        raise RefusedInput(f"data = {path}: is no text in UTF-8 ({error}); save it as CSV UTF-8") from None
    except (csv.Error, OSError) as error:
        raise RefusedInput(f"data = {path}: cannot be read as csv: {error}") from None
    _refuse_columns(path, columns)
    return rows


def _refuse_columns(path: Path, columns: list[str]) -> None:
    if not {"path", "label"} <= set(columns):
        raise RefusedInput(
            f"data = {path}: needs columns path and label, and may have id and group; it has "
            f"{', '.join(columns) or 'none'}: let its first row be path,label"
        )


def _parquet(path: Path) -> list[dict[str, str]]:
    """Return the rows of a parquet file as text, what is missing as empty."""
    try:
        names = pq.read_schema(path).names
        _refuse_columns(path, names)
        rows = pq.read_table(path, columns=[name for name in names if name in _COLUMNS]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise RefusedInput(f"data = {path}: cannot be read as parquet: {error}") from None
    return [{name: "" if value is None else str(value).strip() for name, value in row.items()} for row in rows]
