"""What the validation found of every estimator, as tables: agreement with the ground truth, wrong labels, cost."""

import pandas as pd

from turnover.config.datasets import FACTS
from turnover.experiments.documentation.claims import markdown_table
from turnover.experiments.documentation.reference import validation

DATASETS = ("mnist", "fashion_mnist", "cifar10")

# those of the README: every kind of score, the best of its kind; c_score's is called inconsistency
_SHOWN = (
    "memorization_loss membership memorization inconsistency aum cumulative_loss el2n grand turnover final_loss "
    "turnover_tuned confident_learning second_split forgetting vog"
).split()


def recommended() -> str:
    """One run, and the mean of ten, by their agreement with memorization on MNIST; the best one first."""
    titles = [FACTS[name].title for name in DATASETS]
    rows = [["score", "cost", *titles, "wrong labels found"]]
    table = _main()
    table = table[table["estimator"].isin(_SHOWN)]
    of_mnist = table[(table["dataset"] == "mnist") & (table["seeds"] == 1)]
    of_mnist = of_mnist.sort_values("spearman", ascending=False)
    for name, networks in zip(of_mnist["estimator"], of_mnist["networks"], strict=True):
        rows.append(_row(table, name, networks))
    return markdown_table(rows)


def of_estimator(name: str) -> str:
    """Rows of the committed validation for one estimator, 10 % wrong labels, with 95 % intervals."""
    table = _main()
    mine = table[table["estimator"] == name].sort_values(["networks", "seeds"])
    if mine.empty:
        return "Not part of the validation."
    ensemble = mine["networks"].max() > 1
    rows = [["data set", *(["networks"] if ensemble else []), "runs averaged", "Spearman with memorization"]]
    rows[0] += ["wrong labels: AUROC", "found", "cost"]
    for dataset in DATASETS:
        for _, row in mine[mine["dataset"] == dataset].iterrows():
            counts = [str(row[name]) for name in (["networks", "seeds"] if ensemble else ["seeds"])]
            measured = [_interval(row, measure) for measure in ("spearman", "auroc", "precision")]
            rows.append([FACTS[dataset].title, *counts, *measured, f"{row['cost']:.1f}"])
    return markdown_table(rows)


def _main() -> pd.DataFrame:
    """Of all conditions: 10 % wrong labels of any other class, no augmentation."""
    table = validation()
    chosen = (table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")
    return table[chosen]


def _row(table: pd.DataFrame, estimator: str, networks: int) -> list[str]:
    mine = table[(table["estimator"] == estimator) & (table["networks"] == networks)]
    one = mine[mine["seeds"] == 1].set_index("dataset")
    cells = []
    for dataset in DATASETS:
        agreement = mine[mine["dataset"] == dataset].sort_values("seeds")["spearman"]
        cells.append(" → ".join(_short(each) for each in agreement))
    name = f"`{estimator}`" + (f", {networks} networks" if networks > 1 else "")
    found = " / ".join(_short(float(one["precision"][dataset])) for dataset in DATASETS)
    return [name, f"{one['cost']['mnist']:.1f}", *cells, found]


def _interval(row: pd.Series, measure: str) -> str:
    value, low, high = (float(row[name]) for name in (measure, f"{measure}_low", f"{measure}_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)
