"""What to expect of an audit: precision as measured on data sets with known wrong labels."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from turnover.audit.labelled import Collection
from turnover.audit.options import PIXELS, AuditConfig
from turnover.config.compose import composed, plain
from turnover.config.datasets import DATASETS

_DATASETS = ("mnist", "fashion_mnist", "cifar10")
# like the 3,000 examples, 28 or 32 pixels, 10 classes, and shares from .01 to .4
_EXAMPLES, _SIDES, _CLASSES, _SHARES = (1500, 6000), (28, 32), (5, 20), (0.005, 0.5)
_RECIPE = ("epochs", "batch_size", "model", "optimizer")  # as in conf/audit.yaml, with which it was measured
_KINDS = "dataset noise wrong examples augmentation estimator seeds networks precision cost".split()


@dataclass(frozen=True)
class Expectation:
    """Precision as measured on data sets with known wrong labels."""

    share: float  # of the labels that were wrong there; as many examples were looked at
    seeds: int  # whose scores were averaged there
    precision: dict[str, float]  # title of the data set -> share of wrong labels among those looked at

    def sentence(self) -> str:
        """Return the expectation as text."""
        shares = ", ".join(f"{100 * value:.0f} % on {title}" for title, value in self.precision.items())
        scores = "scores of one training" if self.seeds == 1 else f"mean scores of {self.seeds} trainings"
        return (
            f"of so many suspects were wrong indeed {shares}. Measured on 3,000 images of each, "
            f"{100 * self.share:.0f} % of them with a random wrong label and as many looked at, {scores}. "
            "This may not hold for your data, and cannot if fewer labels are wrong than are looked at."
        )


def validated(reference: Path) -> pd.DataFrame:
    """Read the rows of the committed table on detection of wrong labels: symmetric noise, no augmentation."""
    table = pd.read_csv(reference / "laptop" / "validate" / "table.csv", usecols=_KINDS)
    comparable = (table["noise"] == "symmetric") & (table["augmentation"] == "none") & (table["networks"] == 1)
    return table[comparable & table["dataset"].isin(_DATASETS) & table["precision"].notna()]


def recommended(table: pd.DataFrame) -> str:
    """Return the estimator that finds most of 10 % wrong labels, mean of the data sets, for one ordinary training."""
    rows = table[(table["seeds"] == 1) & (table["wrong"] * 10 == table["examples"]) & (table["cost"] <= 1)]
    means = rows.groupby("estimator")["precision"].agg(["mean", "size"])
    return str(means[means["size"] == len(_DATASETS)]["mean"].idxmax())


def expectations(table: pd.DataFrame, estimator: str, seeds: int) -> list[Expectation]:
    """Return what an estimator reached with at most so many seeds, for each share of wrong labels, rising."""
    rows = table[(table["estimator"] == estimator) & (table["seeds"] <= seeds)]
    measured = []
    for (wrong, examples), group in rows.groupby(["wrong", "examples"]):
        most = int(group["seeds"].max())
        precision = group[group["seeds"] == most].set_index("dataset")["precision"].to_dict()
        titles = {DATASETS[name].title: float(precision[name]) for name in _DATASETS if name in precision}
        measured.append(Expectation(float(wrong) / float(examples), most, titles))  # type: ignore[arg-type]
    return sorted(measured, key=lambda expectation: expectation.share)


def nearest(measured: list[Expectation], share: float) -> Expectation:
    """Return the expectation measured at the share of wrong labels nearest to `share`, by ratio."""
    return min(measured, key=lambda expectation: max(expectation.share / share, share / expectation.share))


def unlike(config: AuditConfig, collection: Collection, share: float) -> list[str]:
    """Return in what an audit differs from what was measured, so that nothing can be expected; empty if in nothing.

    Args:
        share: of the examples that are looked at.
    """
    if config.features != PIXELS:
        return [f"features={config.features}"]
    used, usual = config.model_dump(), plain(composed([], "audit"))
    found = [name for name in _RECIPE if used[name] != usual[name]]
    sides = collection.values.shape[2:] if collection.images else (0,)
    for inside, what in (
        (_EXAMPLES[0] <= len(collection) <= _EXAMPLES[1], f"{len(collection):,} examples"),
        (_SIDES[0] <= min(sides) <= max(sides) <= _SIDES[1], f"a size of {' x '.join(map(str, sides))}"),
        (_CLASSES[0] <= len(collection.classes) <= _CLASSES[1], f"{len(collection.classes)} classes"),
        (_SHARES[0] <= share <= _SHARES[1], f"{100 * share:.0f} % of them on this page"),
    ):
        if not inside:
            found.append(what)
    return found
