"""Average of the score tables of several seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype


def average(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return means of scores and losses, and most frequent predictions (the smallest class wins a tie).

    Args:
        tables: score tables with equal index "id" in equal order; columns that are neither floats nor predictions
            (label, true_label, corrupted) must agree, and those that not all tables have are left out.

    Raises:
        ValueError: no table, other examples, or labels that differ.
    """
    if not tables:
        raise ValueError("there is no score table to average")
    first = tables[0]
    result = first[[name for name in first.columns if all(name in table for table in tables)]].copy()
    result.attrs = {}
    for name in result.columns:
        column = pd.concat([table[name] for table in tables], axis=1)
        if any(not table.index.equals(first.index) for table in tables):
            raise ValueError("score tables hold different examples, so they cannot be averaged")
        if is_float_dtype(first[name]):
            result[name] = column.mean(axis=1)
        elif name.endswith("prediction"):
            result[name] = _most_frequent(column.to_numpy())
        elif not column.eq(first[name], axis=0).all(axis=None):
            raise ValueError(f"score tables disagree about column {name!r}, so they cannot be averaged")
    return result


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """Return the most frequent value of each row, the smallest of equally frequent ones.  # [rows, seeds] -> [rows]"""
    classes, index = np.unique(values, return_inverse=True)
    times = np.zeros((len(values), len(classes)), dtype=np.int64)
    rows = np.arange(len(values))
    for column in index.reshape(values.shape).T:
        times[rows, column] += 1
    return classes[times.argmax(axis=1)]
