"""Missing values in x, y or ids: their number, their rows, and the code that removes these."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from turnover.core.inputs import Stream
from turnover.errors import RefusedInput

Given = Mapping[str, Any]  # arguments by name; advice to remove rows is for all of them

_NAMED = 5  # positions or ids that a message names
AS_TEXT = ("", "nan", "NaN", "NaT", "<NA>", "None")  # a missing value as text


def refuse_missing(name: str, given: Given) -> None:
    """Refuse the argument of this name, of one dimension, if values are missing or the text of a missing value.

    Raises:
        RefusedInput: says how many, in which rows, and how to remove these.
    """
    values, rename = given[name], ""
    as_numpy = f"numpy.asarray({name}.tolist())" if isinstance(values, Tensor) else f"numpy.asarray({name})"
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()  # which has no bfloat16
    array = np.asarray(values)
    if array.dtype.kind in "buV":  # V: records
        return
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        missing, keep = np.ma.getmaskarray(values), f"~numpy.ma.getmaskarray({name})"
        array = np.ma.filled(values.astype(object), "masked")
    elif array.dtype.kind in "fc":
        missing, keep = ~np.isfinite(array), f"numpy.isfinite({as_numpy})"
    elif array.dtype.kind == "i":  # the lowest integer is what NaN becomes
        lowest = int(np.iinfo(array.dtype).min)
        missing, keep = (array == lowest) & (array.itemsize >= 4), f"{as_numpy} != {lowest}"
    else:
        column = pd.Series(values, dtype=object)
        missing, keep = column.isna().to_numpy(), f"pandas.Series({name}, dtype=object).notna().to_numpy()"
        texts = {text for text in column[~missing] if isinstance(text, str | bytes) and _text(text) in AS_TEXT}
        if texts:
            in_order = sorted(texts, key=_text)
            missing = missing | column.isin(in_order).to_numpy()
            keep = f"pandas.Series({name}, dtype=object).replace({in_order}, None).notna().to_numpy()"
            rename = f"; or, if {in_order[0]!r} is a name, give it another one"
    if missing.any():
        rows = missing.nonzero()[0]
        what = sorted({str(value) for value in array.astype(object)[missing]})[:3]
        s = "s" * (len(rows) > 1)
        raise RefusedInput(
            f"{name} has {len(rows)} missing value{s} ({', '.join(value or 'no text' for value in what)}), in row{s} "
            f"{some(rows)}: {remove(given, keep)}{rename}"
        )


def refuse_masked(code: str, values: Any, removed: Callable[[str], str]) -> None:
    """Refuse an array with masked values, whose mask PyTorch would drop.

    Args:
        code: what it is called.
        removed: the expression for rows that stay -> code that removes the others.

    Raises:
        RefusedInput: says how many, and how to fill them in or remove their rows.
    """
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        filled = f"fill them in, {code} = {code}.filled(0), or " * (code != "y")
        keep = f"~numpy.ma.getmaskarray({code}).reshape(len({code}), -1).any(1)"
        raise RefusedInput(f"{code} has {int(values.mask.sum())} masked values: {filled}{removed(keep)}")


def remove(given: Given, keep: str) -> str:
    """Return the code that removes rows from all arguments; `keep`: the expression for those that stay."""
    if isinstance(given.get("x"), Stream):
        return "leave these items of the data set out, for example by torch.utils.data.Subset"
    names, rows = ", ".join(given), len(given["y"]) if "y" in given else 0
    kept = ", ".join(_kept(name, values, rows) for name, values in given.items())
    return f"remove these rows from {' and '.join(names.rsplit(', ', 1))}: keep = {keep}; {names} = {kept}"


def _kept(name: str, values: Any, rows: int) -> str:
    if name == "x" and are_arguments(values, rows):
        by_name = "{name: part[keep] for name, part in x.items()}"
        return by_name if isinstance(values, Mapping) else "tuple(part[keep] for part in x)"
    return f"{as_code(name, values)}[keep]"


def are_arguments(x: Any, n: int) -> bool:
    """Return True for a dict, and for a tuple of arrays of n rows that is not itself n rows."""
    if not isinstance(x, tuple):
        return isinstance(x, Mapping)
    arrays = all(isinstance(part, Tensor | np.ndarray) and part.ndim and len(part) == n for part in x)
    return bool(x) and len(x) != n and arrays


def as_code(name: str, values: Any) -> str:
    """Return the code for an argument as an array."""
    return name if isinstance(values, Tensor | np.ndarray | pd.Series) else f"numpy.asarray({name})"


def some(values: Tensor | np.ndarray) -> str:
    """List the first of these numbers for a message."""
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(str(value) for value in values[:_NAMED].tolist()) + more


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
