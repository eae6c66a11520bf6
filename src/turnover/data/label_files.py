"""Labels from a file, such as those that people gave: which examples have them, and what is wrong in such a file."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from turnover.errors import RefusedInput


def read_labels(path: Path, examples: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return ids of training examples and their labels in a file.  # int64 [k] each

    Args:
        path: a csv file with columns id and label, others being ignored; or an npy file of whole numbers, [k, 2] rows
            of id and label, or [examples] one label for each training example. Nothing in it is run.
        examples: training examples of the data set, whose ids are the numbers below.
        classes: of the data set, labels being the numbers below.

    Raises:
        RefusedInput: names the file, the row, the value and what is allowed.
    """
    rows, ids, labels = _csv(path) if path.suffix == ".csv" else _npy(path, examples)
    for name, values, bound, what in (
        ("id", ids, examples, "a training example"),
        ("label", labels, classes, "a class"),
    ):
        outside = np.flatnonzero((values < 0) | (values >= bound))
        if len(outside):
            first = outside[0]
            raise _refused(path, f"{rows[first]}: {name} = {values[first]}: {what} is a number from 0 to {bound - 1}")
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order][1:] == ids[order][:-1]]
    if len(again):
        first = again.min()
        raise _refused(path, f"{rows[first]}: id = {ids[first]}: has a label already, further up")
    return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(labels.astype(np.int64))


def relabelled(path: Path, labels: Tensor, ids: Tensor, examples: int, classes: int) -> Tensor:
    """Return labels with those of a file in their place; examples that it does not name keep theirs.  # int64 [n]

    Args:
        labels: of the data set.  # int64 [n]
        ids: of the same examples, rising.  # int64 [n]
        path, examples, classes: as in `read_labels`.

    Raises:
        RefusedInput: as `read_labels`, or the file names none of the examples.
    """
    found, given = read_labels(path, examples, classes)
    there = torch.isin(found, ids.cpu())
    if not there.any():
        raise _refused(path, f"names {len(found)} examples, none of the {len(ids)} training examples of this run")
    result = labels.clone()
    result[torch.searchsorted(ids, found[there].to(ids.device))] = given[there].to(labels.device)
    return result


def _csv(path: Path) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Return the name of each row, its id and its label."""
    rows, numbers = list[str](), list[tuple[int, int]]()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := {"id", "label"} - set(reader.fieldnames or ()):
                there = ", ".join(reader.fieldnames or ()) or "nothing"
                raise _refused(path, f"line 1: no column {' and '.join(sorted(missing))}, but {there}")
            for row in reader:
                where = f"line {reader.line_num}"
                for name in ("id", "label"):
                    if not re.fullmatch(r"\s*-?\d{1,18}\s*", row[name] or "", re.ASCII):
                        raise _refused(path, f"{where}: {name} = {row[name]!r}: must be a whole number")
                rows.append(where)
                numbers.append((int(row["id"]), int(row["label"])))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(path, f"cannot be read as csv: {error}") from None
    if not rows:
        raise _refused(path, "has no rows, only a header")
    ids, labels = np.array(numbers, dtype=np.int64).T
    return rows, ids, labels


def _npy(path: Path, examples: int) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Return the same of an npy file, whose rows count from 0."""
    try:
        array = np.load(path, allow_pickle=False)  # pickles could run code
    except (OSError, ValueError, EOFError) as error:
        raise _refused(path, f"cannot be read as npy, of numbers alone: {error}") from None
    numbers = isinstance(array, np.ndarray) and array.dtype.kind in "iu"
    if numbers and array.shape == (examples,):
        array = np.stack([np.arange(examples, dtype=array.dtype), array], axis=1)
    if not numbers or array.ndim != 2 or array.shape[1] != 2 or not len(array):
        what = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "several arrays"
        allowed = f"whole numbers, [{examples}] a label for each training example or [k, 2] rows of id and label"
        raise _refused(path, f"holds {what}: must be {allowed}")
    return [f"row {row}" for row in range(len(array))], array[:, 0], array[:, 1]


def _refused(path: Path, message: str) -> RefusedInput:
    return RefusedInput(f"corruption.path = {path}: {message}")
