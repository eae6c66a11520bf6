"""A setting stopped early, as the control of changes under which a network is trained less."""

from collections.abc import Hashable

import numpy as np
import pandas as pd

_COLUMNS = ["wrong", "tail", "test"]


def stopped(early: pd.DataFrame, fit: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return, by seed, what the setting does at the last stop that fits no more clean examples, and at the next one.

    So the one lies on the safe side of what fits as many, and the other one beyond it.

    Args:
        early: rows of the setting after several numbers of epochs.
        fit: by seed; where all stops fit more, both are the first one, where none does, the last one.
    """
    before, after = {}, {}
    for seed, value in fit.items():
        path = _path_of(early, seed)
        more = int(path["fit"].searchsorted(value, side="right"))
        before[seed] = path.iloc[max(more - 1, 0)][_COLUMNS].tolist()
        after[seed] = path.iloc[min(more, len(path) - 1)][_COLUMNS].tolist()
    first, second = (pd.DataFrame.from_dict(rows, orient="index", columns=_COLUMNS) for rows in (before, after))
    return first, second


def between(early: pd.DataFrame, fit: pd.Series) -> pd.Series:
    """Return, by seed, the memorization of wrong labels where a line between stops fits as many clean examples."""
    paths = {seed: _path_of(early, seed) for seed in fit.index}
    return pd.Series({seed: np.interp(fit[seed], path["fit"], path["wrong"]) for seed, path in paths.items()})


def spared(rows: pd.DataFrame, setting: pd.DataFrame) -> pd.Series:
    """Return how much more is left of the clean tail than of wrong labels, as shares of the whole setting's."""
    return rows["tail"] / setting["tail"] - rows["wrong"] / setting["wrong"]


def _path_of(early: pd.DataFrame, seed: Hashable) -> pd.DataFrame:
    """Return the stops of a seed after which more clean examples are fitted than ever before, in their order."""
    path = early[early["seed"] == seed].sort_values("epochs")
    return path[path["fit"] > path["fit"].cummax().shift(fill_value=-1.0)]
