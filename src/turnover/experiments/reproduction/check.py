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
from turnover.experiments.results import read
from turnover.experiments.validation.estimates import SIZES
from turnover.experiments.validation.other_truths import tenths
from turnover.experiments.validation.table import COLUMNS, statistics
from turnover.experiments.validation.truth import TRUTHS, read_examples
from turnover.runs.execute import execute

NEAR = 0.005  # how far apart AUROCs may be: another machine rounds in another way, and training carries that on
ROUNDED = 1e-5  # tables are written with five digits


def again(root: Path) -> Verdict:
    """Train these runs, of which nothing is cached, and compare their AUROC with the committed ones, epoch by epoch.

    Args:
        root: outputs/reference, or a folder laid out as it is.
    """
    path = root / "laptop" / "detection_cost.csv"
    configs = sweep(["+experiment=detection_cost", "scale=laptop", "logger=none", "hydra/launcher=basic"])
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, TURNOVER_OUTPUTS=empty):
        made = pd.concat([rows(Source(config, execute(config))) for config in configs])
    committed = pd.read_csv(path)
    far = differences(made, committed[committed["method"] == ONE_RUN])
    return Verdict(f"laptop/{path.name}", f"{len(configs)} runs trained again, {len(made)} values", far)


def differences(made: pd.DataFrame, committed: pd.DataFrame) -> list[str]:
    """Return where the AUROC of a seed and epoch is another one, or is missing on one side.

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
    """Yield verdicts on all figures, studies and validations below outputs/reference, or a folder laid out as it is."""
    for scale in sorted(path for path in root.iterdir() if path.is_dir()):
        for path in sorted(scale.glob("*.json")):
            if "claims" in read(path):  # the others are of something else
                yield replace(figure(path), file=f"{scale.name}/{path.name}")
        if (scale / "validate").is_dir():
            for verdict in validation(scale / "validate"):
                yield replace(verdict, file=f"{scale.name}/{verdict.file}")


def validation(folder: Path) -> list[Verdict]:
    """Compute again every table of the validation for which the examples beside it suffice, and compare."""
    about = read(folder / "validate.json")
    table, exposure = (pd.read_csv(folder / f"{name}.csv") for name in ("table", "exposure"))
    columns = [] if list(about["columns"]) == list(COLUMNS) else ["columns: not those of the code"]
    agreement: list[tuple[str, float, float]] = []
    exposed: list[tuple[str, float, float]] = []
    for path in sorted(folder.glob("examples_*.parquet")):
        name, examples = path.stem.removeprefix("examples_"), read_examples(path)
        agreement += _agreement(name, examples, table)
        exposed += _tenths(name, examples, exposure)
    return [_compared("validate/table.csv", agreement, columns), _compared("validate/exposure.csv", exposed, [])]


def _compared(file: str, values: list[tuple[str, float, float]], differences: list[str]) -> Verdict:
    far = [
        f"{name}: {committed:.5g}, the examples say {here:.5g}"
        for name, committed, here in values
        if not (abs(committed - here) <= ROUNDED or f"{committed:.5g}" == f"{here:.5g}")
    ]
    nothing = [] if values else ["there are no examples to compute it from"]
    return Verdict(file, f"{len(values)} values from the examples", differences + far + nothing)


def _agreement(name: str, examples: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Yield every measure of each estimator, by its scores of all seeds or of the largest ensemble."""
    mislabelled = (examples["label"] != examples["true_label"]).to_numpy()
    here = (table["dataset"] == name) & (table["wrong"] == mislabelled.sum()) & (table["examples"] == len(examples))
    rows = table[here & (table["noise"] == "symmetric") & (table["augmentation"] == "none")]
    memorized = pd.DataFrame({form: examples[column] for column, (form, _) in TRUTHS.items()})
    for row in rows.sort_values(["networks", "seeds"]).groupby("estimator").tail(1).to_dict("records"):
        scores = examples[row["estimator"]].to_numpy()
        sizes = row["estimator"] in SIZES
        for measure, [statistic], count in statistics([scores], mislabelled, memorized, sizes=sizes):
            value = statistic(np.ones(count, dtype=np.int64))
            yield f"{name}, {row['estimator']}, {measure}", row[measure], value


def _tenths(name: str, examples: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    """Yield how much is memorized by the tenths of the examples, and how many of their labels are wrong."""
    probability, loss = (examples[f"true_memorization{form}"].to_numpy(dtype=float) for form in ("", "_loss"))
    mislabelled = (examples["label"] != examples["true_label"]).to_numpy()
    positions = tenths(probability, loss)
    for row in table[table["dataset"] == name].to_dict("records"):
        tenth, title = positions[row["tenth"]], f"{name}, tenth {row['tenth']}"
        yield f"{title}, examples", row["examples"], len(tenth)
        yield f"{title}, wrong", row["wrong"], float(mislabelled[tenth].mean())
        yield f"{title}, memorization", row["memorization"], float(probability[tenth].mean())
