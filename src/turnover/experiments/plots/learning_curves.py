"""The numbers of a learning curve that claims are made of.

A curve is a Series of accuracies, index: whole epochs trained, rising from 0 (before training) to the last; not every
epoch need be tracked. A table is what `curves.curves` returns, one curve a seed.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import spearmanr


def reached(curve: pd.Series, level: float) -> int:
    """First tracked epoch in which the curve is at `level` or above; never: one after the last."""
    there = curve.index[curve >= level]
    return int(there[0]) if len(there) else int(curve.index[-1]) + 1


def epochs_ahead(first: pd.Series, second: pd.Series, level: float = 0.9) -> float:
    """How many epochs the first curve reaches `level` before the second one; negative if it does so after it."""
    return float(reached(second, level) - reached(first, level))


def early_gain(curve: pd.Series) -> float:
    """Accuracy after a tenth of the epochs, rounded up to a tracked one, minus that before training."""
    tenth = -(-int(curve.index[-1]) // 10)
    return float(curve[curve.index >= tenth].iloc[0] - curve[0])


def peak_epoch(curve: pd.Series) -> float:
    """First epoch of the highest accuracy."""
    return float(curve.index[int(curve.to_numpy().argmax())])


def falls(table: pd.DataFrame) -> list[float]:
    """For each seed, accuracy at the peak minus that of the last epoch.

    The peak's epoch is that of the mean curve of the other seeds: the highest point of a curve's own noise lies above
    its end even where nothing falls. A single seed has only its own peak, and is never negative.
    """
    found = []
    for seed in table.columns:
        others = table.drop(columns=seed) if table.shape[1] > 1 else table
        peak = int(others.mean(axis=1).to_numpy().argmax())
        found.append(float(table[seed].iloc[peak] - table[seed].iloc[-1]))
    return found


def halfway(curve: pd.Series) -> float:
    """Epochs until the curve has made half of its own rise, from before training to its highest, interpolated.

    0 for a curve that never rises.
    """
    values = curve.to_numpy(dtype=np.float64)
    level = (values[0] + values.max()) / 2
    after = int((values >= level).argmax())
    if after == 0:
        return 0.0
    epochs = curve.index.to_numpy(dtype=np.float64)
    share = (level - values[after - 1]) / (values[after] - values[after - 1])
    return float(epochs[after - 1] + share * (epochs[after] - epochs[after - 1]))


def faster(first: pd.Series, second: pd.Series) -> float:
    """How many epochs earlier the first curve has made half of its own rise than the second one of its own."""
    return halfway(second) - halfway(first)


def together(first: pd.Series, second: pd.Series) -> float:
    """What the second curve has gained by the time the first one has made half of its own rise, interpolated."""
    epochs = second.index.to_numpy(dtype=np.float64)
    return float(np.interp(halfway(first), epochs, second.to_numpy(dtype=np.float64)) - second.iloc[0])


def gain_over(curve: pd.Series, control: pd.Series) -> float:
    """The `early_gain` of a curve minus that of its control."""
    return early_gain(curve) - early_gain(control)


def lead(first: pd.Series, second: pd.Series) -> float:
    """Mean over all tracked epochs of the first accuracy minus the second; before training there is no epoch."""
    difference = first - second
    return float(difference[difference.index > 0].mean())


def final(curve: pd.Series) -> float:
    """Accuracy of the last epoch."""
    return float(curve.iloc[-1])


def final_gap(first: pd.Series, second: pd.Series) -> float:
    """Accuracy of the last epoch, the first curve's minus the second one's."""
    return final(first) - final(second)


def later(levels: pd.DataFrame, level: float = 0.9) -> float:
    """Spearman correlation of a number with the epoch in which its curve reaches `level`; ties at their mean rank.

    Curves that never reach it are last, all alike. 0 if all are alike.

    Args:
        levels: one seed's curves, a column for each number.
    """
    epochs = [reached(levels[number], level) for number in levels]
    return float(spearmanr(levels.columns.to_numpy(dtype=np.float64), epochs)[0]) if len(set(epochs)) > 1 else 0.0


def highest(curve: pd.Series) -> float:
    """Highest accuracy."""
    return float(curve.max())


def by_seed(number: Callable[..., float], *tables: pd.DataFrame) -> list[float]:
    """A number of the curves of each seed, which all tables have in common."""
    return [number(*(table[seed] for table in tables)) for seed in tables[0].columns]
