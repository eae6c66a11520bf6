"""Whether the committed results are what the code makes: the smallest is made again, all held against their tables."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from turnover.config.compose import sweep
from turnover.experiments.figures.detection_cost import ONE_RUN, rows
from turnover.experiments.plots.notes import Source
from turnover.experiments.reproduction.committed import Verdict, figure
from turnover.experiments.results import figures, read
from turnover.experiments.validation.table import COLUMNS
from turnover.experiments.validation.truth import CORRELATIONS, read_examples
from turnover.runs.execute import execute
from turnover.stats.agreement import precision_at_wrong, spearman
from turnover.stats.measures import auroc

NEAR = 0.005  # how far apart AUROCs may be: another machine rounds in another way, and training carries that on
ROUNDED = 1e-5  # tables are written with five digits
TRUTHS = {"": "true_memorization", "_loss": "true_memorization_loss"}


def again(root: Path) -> Verdict:
    """Train these runs, of which nothing is cached, and hold their AUROC against the committed ones, epoch by epoch.

    Args:
        root: outputs/reference, or a folder laid out as it is.
    """
    path = root / "laptop" / "detection_cost.csv"
    configs = sweep(["+experiment=detection_cost", "scale=laptop", "logger=none", "hydra/launcher=basic"])
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, TURNOVER_OUTPUTS=empty):
        made = pd.concat([rows(Source(config, execute(config))) for config in configs])
    committed = pd.read_csv(path)
    wrong = differences(made, committed[committed["method"] == ONE_RUN])
    return Verdict(f"laptop/{path.name}", f"{len(configs)} runs trained again, {len(made)} values", wrong)


def differences(made: pd.DataFrame, committed: pd.DataFrame) -> list[str]:
    """Where the AUROC of a seed and epoch is another one, or is missing on one side.

    Args:
        made: columns `seed`, `epochs` and `auroc`, a row for each seed and epoch.
        committed: the same.
    """
    both = made.merge(committed, on=["seed", "epochs"], how="outer", suffixes=("", "_committed"))
    far = both[~((both["auroc"] - both["auroc_committed"]).abs() <= NEAR)]  # true of a missing one too
    return [
        f"seed {row.seed}, epoch {row.epochs}: AUROC {row.auroc:.4f}, committed {row.auroc_committed:.4f}"
        for row in far.itertuples()
    ]


def every(root: Path) -> Iterator[Verdict]:
    """Verdicts of all figures, studies and validations below outputs/reference, or a folder laid out as it is."""
    for scale in sorted(path for path in root.iterdir() if path.is_dir()):
        for name in figures(scale):
            yield replace(figure(scale / f"{name}.json"), file=f"{scale.name}/{name}.json")
        if (scale / "validate").is_dir():
            yield from (replace(each, file=f"{scale.name}/{each.file}") for each in validation(scale / "validate"))


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
