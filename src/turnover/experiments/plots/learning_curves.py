"""The numbers of a learning curve that claims are made of.

A curve is a Series, mostly of accuracies, index: epochs trained, rising from 0 (before training) to the last; not every
epoch need be tracked, and where steps are, they lie between. A table is what `curves.curves` returns, one curve a seed.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from scipy.stats import spearmanr


def reached(curve: pd.Series, level: float) -> float:
    """Return the first tracked epoch in which the curve is at `level` or above; never: one after the last."""
    there = curve.index[curve >= level]
    return float(there[0]) if len(there) else float(curve.index[-1]) + 1


def epochs_ahead(first: pd.Series, second: pd.Series, level: float = 0.9) -> float:
    """Return how many epochs earlier the first curve reaches `level` than the second one; negative: later."""
    return reached(second, level) - reached(first, level)


def early_gain(curve: pd.Series) -> float:
    """Return the value after a tenth of the epochs, rounded up to a tracked one, minus that before training."""
    return float(curve[tenth(curve.index)] - curve[0])


def tenth(epochs: pd.Index) -> int:
    """Return the first tracked epoch that is not before a tenth of the last one."""
    return int(epochs[epochs >= -(-int(epochs[-1]) // 10)][0])


def peak_epoch(curve: pd.Series) -> float:
    """Return the first epoch of the highest accuracy."""
    return float(curve.index[int(curve.to_numpy().argmax())])


def falls(table: pd.DataFrame) -> list[float]:
    """Return the accuracy at the peak minus that of the last epoch, for each seed.

    The peak's epoch is that of the mean curve of the other seeds: the highest point of a curve's own noise is above its
    end even where nothing falls. A single seed has only its own peak, and is never negative.
    """
    differences = []
    for seed in table.columns:
        rest = table.drop(columns=seed) if table.shape[1] > 1 else table
        peak = int(rest.mean(axis=1).to_numpy().argmax())
        differences.append(float(table[seed].iloc[peak] - table[seed].iloc[-1]))
    return differences


def halfway(curve: pd.Series) -> float:
    """Return after how many epochs the curve has made half of its rise, from its start to its highest, interpolated.

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
    """Return how many epochs earlier the first curve has made half of its own rise than the second one of its own."""
    return halfway(second) - halfway(first)


def together(first: pd.Series, second: pd.Series, chance: float) -> float:
    """Return what the second accuracy is above chance over what the first one is, when that has made half of its rise.

    Interpolated. 0 if the first one is not above chance then.
    """
    when = halfway(first)
    gains = [
        np.interp(when, curve.index.to_numpy(dtype=np.float64), curve.to_numpy(dtype=np.float64)) - chance
        for curve in (first, second)
    ]
    return float(gains[1] / gains[0]) if gains[0] > 0 else 0.0


def gain_over(curve: pd.Series, control: pd.Series) -> float:
    """Return the `early_gain` of a curve minus that of its control."""
    return early_gain(curve) - early_gain(control)


def lead(first: pd.Series, second: pd.Series) -> float:
    """Return the mean of the first accuracy minus the second, over all tracked whole epochs from the first one on."""
    difference = first - second
    return float(difference[(difference.index > 0) & (difference.index % 1 == 0)].mean())


def final(curve: pd.Series) -> float:
    """Return the accuracy of the last epoch."""
    return float(curve.iloc[-1])


def final_gap(first: pd.Series, second: pd.Series) -> float:
    """Return the accuracy of the last epoch, the first curve's minus the second one's."""
    return final(first) - final(second)


def unfitted(curve: pd.Series) -> float:
    """Return for how many epochs an example is not predicted right, in the mean, from before training to the last one.

    The area above the curve, along straight lines between tracked epochs.
    """
    return float(trapezoid(1 - curve.to_numpy(dtype=np.float64), curve.index.to_numpy(dtype=np.float64)))


def crossed(curve: pd.Series, level: float = 0.9) -> float:
    """Return after how many epochs the curve is at `level`, interpolated; never: one after the last."""
    epoch = reached(curve, level)
    before = curve[curve.index < epoch]
    if epoch > curve.index[-1] or before.empty:
        return float(epoch)
    share = (level - before.iloc[-1]) / (curve[epoch] - before.iloc[-1])
    return float(before.index[-1] + share * (epoch - before.index[-1]))


def later(levels: pd.DataFrame, when: Callable[[pd.Series], float] = unfitted) -> float:
    """Return Spearman's correlation of a number with the epochs that `when` makes of its curve.

    Ties have their mean rank. 0 if all are alike.

    Args:
        levels: one seed's curves, a column for each number.
    """
    epochs = [when(levels[number]) for number in levels]
    return float(spearmanr(levels.columns.to_numpy(dtype=np.float64), epochs)[0]) if len(set(epochs)) > 1 else 0.0


def highest(curve: pd.Series) -> float:
    """Return the highest accuracy."""
    return float(curve.max())


def by_seed(number: Callable[..., float], *tables: pd.DataFrame) -> list[float]:
    """Return a number of the curves of each seed, which all tables have in common."""
    return [number(*(table[seed] for table in tables)) for seed in tables[0].columns]
