"""Whether the committed table of the validation is what its committed examples say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from turnover.experiments.reproduction.committed import Verdict
from turnover.experiments.results import read
from turnover.experiments.validation.examples import read_examples
from turnover.experiments.validation.table import COLUMNS
from turnover.experiments.validation.truth import CORRELATIONS
from turnover.stats.agreement import precision_at_wrong, spearman
from turnover.stats.measures import auroc

ROUNDED = 1e-5  # tables are written with five digits
TRUTHS = {"": "true_memorization", "_loss": "true_memorization_loss"}


def validation(folder: Path) -> list[Verdict]:
    """Every table of the validation that can be computed again from the examples beside it."""
    about = read(folder / "validate.json")
    table, exposure = (pd.read_csv(folder / f"{name}.csv") for name in ("table", "exposure"))
    wrong = [] if list(about["columns"]) == list(COLUMNS) else ["columns: not those of the code"]
    compared: list[tuple[str, float, float]] = []
    tenths: list[tuple[str, float, float]] = []
    for path in sorted(folder.glob("examples_*.parquet")):
        name, examples = path.stem.removeprefix("examples_"), read_examples(path)
        compared += _agreement(name, examples, table)
        tenths += _tenths(name, examples, exposure)
    return [
        Verdict("validate/table.csv", f"{len(compared)} values from the examples", [*wrong, *_far(compared)]),
        Verdict("validate/exposure.csv", f"{len(tenths)} values from the examples", list(_far(tenths))),
    ]


def _far(values: list[tuple[str, float, float]]) -> Iterator[str]:
    for what, there, here in values:
        if not abs(there - here) <= ROUNDED:
            yield f"{what}: {there:.5g}, the examples say {here:.5g}"


def _agreement(name: str, examples: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """What each estimator reaches whose scores, of all seeds or of the largest ensemble, stand in the examples."""
    wrong = (examples["label"] != examples["true_label"]).to_numpy()
    here = (table["dataset"] == name) & (table["wrong"] == wrong.sum()) & (table["examples"] == len(examples))
    rows = table[here & (table["noise"] == "symmetric") & (table["augmentation"] == "none")]
    for row in rows.sort_values(["networks", "seeds"]).groupby("estimator").tail(1).to_dict("records"):
        scores = examples[row["estimator"]].to_numpy()
        error = examples["true_error"].to_numpy()
        found = {
            "auroc": auroc(scores, wrong),
            "precision": precision_at_wrong(scores, wrong),
            "spearman_error": spearman(scores, error),
        }
        every = np.ones(len(examples), dtype=np.int64)
        values = {measure: statistic(every) for measure, statistic in found.items()}
        for part, chosen in {"": every.astype(bool), "_clean": ~wrong}.items():
            for suffix, truth in TRUTHS.items():
                real = examples[truth].to_numpy()[chosen]
                for kind, correlation in CORRELATIONS.items():
                    values[f"{kind}{suffix}{part}"] = correlation(scores[chosen], real)(every[chosen])
        yield from (
            (f"{name}, {row['estimator']}, {measure}", row[measure], value) for measure, value in values.items()
        )


def _tenths(name: str, examples: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """How much is memorized by the tenths of the examples, and how many of their labels are wrong."""
    known, error = (examples[f"true_memorization{form}"].to_numpy(dtype=float) for form in ("", "_loss"))
    wrong = (examples["label"] != examples["true_label"]).to_numpy()
    order = np.lexsort((error, known))
    parts = [order, *np.array_split(order, 10)]
    for row in table[table["dataset"] == name].to_dict("records"):
        part, where = parts[row["tenth"]], f"{name}, tenth {row['tenth']}"
        yield f"{where}, examples", row["examples"], len(part)
        yield f"{where}, wrong", row["wrong"], float(wrong[part].mean())
        yield f"{where}, memorization", row["memorization"], float(known[part].mean())
