"""What the last full reproduction found: the results that are committed under outputs/reference."""

from functools import cache

import pandas as pd

from turnover.experiments.results import Values, figures, reference


@cache
def results(scale: str = "laptop") -> dict[str, Values]:
    """Every committed figure or study by the name of its files."""
    return figures(reference(scale))


def of_figure(name: str, scale: str) -> dict[str, Values]:
    """The results of a figure at a scale, by the names of their files: with other values there is one for each."""
    return {stem: found for stem, found in results(scale).items() if stem == name or stem.startswith(f"{name}-")}


@cache
def validation() -> pd.DataFrame:
    """How well every estimator agrees with the ground truth; columns as in `experiments.validation.table.COLUMNS`."""
    return pd.read_csv(reference("laptop") / "validate" / "table.csv")


@cache
def two_cores() -> pd.DataFrame:
    """Minutes for which the runs of a figure, and its score runs, kept 2 AMD EPYC cores busy, and the commits timed.

    Measured before the results that are committed were made anew on a GPU.
    """
    return pd.read_csv(reference("laptop") / "two_cores.csv", index_col="figure")
