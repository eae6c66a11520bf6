"""A setting stopped early, as the control of changes under which a network is trained less."""

from collections.abc import Hashable

import numpy as np
import pandas as pd


def stopped(early: pd.DataFrame, fit: pd.Series) -> pd.DataFrame:
    """Return, by seed, what the setting does after the last of some numbers of epochs that fits no more clean examples.

    A line between two stops would lie above what is between them, as wrong labels are learnt last.

    Args:
        early: rows of the setting after several numbers of epochs.
        fit: by seed; where all stops fit more, it is the first one.
    """
    columns, result = ["wrong", "test"], {}
    for seed, value in fit.items():
        path = _path_of(early, seed)
        last = max(int(path["fit"].searchsorted(value, side="right")) - 1, 0)
        result[seed] = path.iloc[last][columns].tolist()
    return pd.DataFrame.from_dict(result, orient="index", columns=columns)


def between(early: pd.DataFrame, fit: pd.Series) -> pd.DataFrame:
    """Return, by seed, memorization of wrong labels and of the tail where a line between stops fits as many."""
    paths = {seed: _path_of(early, seed) for seed in fit.index}
    return pd.DataFrame(
        {
            column: {seed: np.interp(fit[seed], path["fit"], path[column]) for seed, path in paths.items()}
            for column in ("wrong", "tail")
        }
    )


def _path_of(early: pd.DataFrame, seed: Hashable) -> pd.DataFrame:
    """Return the stops of a seed after which more clean examples are fitted than ever before, in their order."""
    path = early[early["seed"] == seed].sort_values("epochs")
    return path[path["fit"] > path["fit"].cummax().shift(fill_value=-1.0)]
