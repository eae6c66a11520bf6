"""Whether the committed results are what the code makes: the smallest is made again, all held against their tables."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pandas as pd

from turnover.config.compose import sweep
from turnover.experiments.figures.detection_cost import ONE_RUN, rows
from turnover.experiments.plots.notes import Source
from turnover.experiments.reproduction.committed import Verdict, figure
from turnover.experiments.reproduction.validated import validation
from turnover.experiments.results import figures
from turnover.runs.execute import execute

NEAR = 0.005  # how far apart AUROCs may be: another machine rounds in another way, and training carries that on


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
