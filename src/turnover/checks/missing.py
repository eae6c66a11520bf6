"""Missing values among what a user gives: how many there are, in which rows, and how to remove these."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from turnover.errors import RefusedInput

Given = Mapping[str, Any]  # what a user gives, by its name; advice to remove rows is for all of it

_NAMED = 5  # positions or ids that a message names
_AS_TEXT = ("", "nan", "NaN", "NaT", "<NA>", "None")  # what a missing value becomes as text


def refuse_missing(name: str, given: Given) -> None:
    """Refuse what was given by this name, of one dimension, if some of it is missing or the text of a missing value.

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
        found = {each for each in column[~missing] if isinstance(each, str | bytes) and _text(each) in _AS_TEXT}
        if found:
            texts = sorted(found, key=_text)
            missing = missing | column.isin(texts).to_numpy()
            keep = f"pandas.Series({name}, dtype=object).replace({texts}, None).notna().to_numpy()"
            rename = f"; or, if {texts[0]!r} is a name, give it another one"
    if missing.any():
        rows = missing.nonzero()[0]
        what = sorted({str(each) for each in array.astype(object)[missing]})[:3]
        s = "s" * (len(rows) > 1)
        raise RefusedInput(
            f"{name} has {len(rows)} missing value{s} ({', '.join(each or 'no text' for each in what)}), in row{s} "
            f"{some(rows)}: {remove(given, keep)}{rename}"
        )


def remove(given: Given, keep: str) -> str:
    """What to write to remove rows from all that was given; `keep`: the expression for those that stay."""
    names = ", ".join(given)
    kept = ", ".join(f"{said(name, values)}[keep]" for name, values in given.items())
    return f"remove these rows from {' and '.join(names.rsplit(', ', 1))}: keep = {keep}; {names} = {kept}"


def said(name: str, values: Any) -> str:
    """How a message writes it where it calls a method of arrays."""
    return name if isinstance(values, Tensor | np.ndarray | pd.Series) else f"numpy.asarray({name})"


def some(values: Tensor | np.ndarray) -> str:
    """The first of these numbers, as a message names them."""
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(str(value) for value in values[:_NAMED].tolist()) + more


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
