"""`make validate_labels`: how well does every score find the labels of a file that differ from the data set's?"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import matplotlib.pyplot as plt
import pandas as pd
from pydantic import Field

from turnover.common.files import checkout, outputs_root, replacing
from turnover.config.compose import quoted, sweep
from turnover.config.datasets import DATASETS
from turnover.config.options import Group, Positive
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.experiments.plots.notes import SMOKE, network
from turnover.experiments.plots.style import COLOURS, finish, panel, save, style
from turnover.experiments.validation.estimates import gather
from turnover.experiments.validation.plots import Picture
from turnover.experiments.validation.table import ordered, rows
from turnover.experiments.validation.truth import title
from turnover.runs.scripts import call
from turnover.runs.store import checksums
from turnover.runs.store.run import Run, require

log = logging.getLogger("turnover")


class LabelsJob(Group):
    """`labels` of conf/validate.yaml, typed."""

    path: str  # csv with columns id and label, or npy, as of corruption=file
    setting: str  # of conf/setting, whose examples and networks are taken; an estimator may have one of its own
    scores: Annotated[list[str], Field(min_length=1)]  # estimators
    seeds: Positive  # runs of each
    scale: Literal["smoke", "laptop", "paper"]
    launcher: str | None  # of the runs that are missing; null: none is made


def make(job: LabelsJob) -> Path:
    """Write a table of the scores that are compared, and a picture; returns the table's path.

    Raises:
        RefusedInput: the file cannot be used, or no label differs.
        RunFailed: a run is missing and none is to be made.
    """
    configs = [config for name in job.scores for config in _runs(job, name)]
    [ordinary] = sweep([f"setting={job.setting}", "estimator=aum", f"scale={job.scale}"])
    [(condition, estimates)] = gather(configs, [ordinary]).items()
    wrong = int(estimates[0].wrong.sum())
    log.info("%s: %d of %d labels are not those of the data set", job.path, wrong, condition.examples)
    if not 0 < wrong < condition.examples:
        raise RefusedInput(f"labels.path = {job.path}: {wrong} of {condition.examples} labels differ: nothing to find")
    table = ordered(pd.DataFrame(rows({replace(condition, wrong=wrong): estimates}, {})))
    digest = checksums.sha256(Path(job.path))[:8]  # another file of that name has a folder of its own
    folder = outputs_root() / "validate_labels" / job.scale / f"{job.setting}-{Path(job.path).stem}-{digest}"
    with replacing(folder / "table.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    table = table[table["networks"] == table.groupby("estimator")["networks"].transform("max")]  # the largest ensemble
    with style():
        picture, heading, note = found(table)
        lines = [f"{Path(job.path).name}; {network(ordinary)}, {ordinary.epochs} epochs. {job.scale} scale."]
        finish(picture, heading, [note, *lines, *([SMOKE] if job.scale == "smoke" else [])])
        save(picture, folder / "found")
    columns = ["estimator", "seeds", "cost", *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high"))]
    log.info("%s", table.sort_values("auroc", ascending=False)[columns].to_string(index=False, float_format="%.3f"))
    return folder / "table.csv"


def _runs(job: LabelsJob, estimator: str) -> list[RunConfig]:
    """Return the finished runs of an estimator under the file's labels; those that are missing are made first."""
    own = f"{job.setting}_{estimator}"
    setting = own if (checkout() / "conf" / "setting" / f"{own}.yaml").is_file() else job.setting
    seeds = ",".join(map(str, range(job.seeds)))
    path = f"corruption.path={quoted(job.path)}"
    overrides = [f"setting={setting}", f"estimator={estimator}", "corruption=file", path, f"seed={seeds}"]
    overrides += [f"scale={job.scale}", "logger=none"]
    configs = sweep(overrides)
    if job.launcher is not None and not all(Run(config).finished for config in configs):
        call("train.py", ["-m", f"hydra/launcher={job.launcher}", *overrides])
    for config in configs:
        require(Run(config), "make it with: make validate_labels")
    return configs


MEASURES = {"auroc": "AUROC", "precision": "share of them found"}


def found(table: pd.DataFrame) -> Picture:
    """Draw a panel for each measure, a row for each estimator, the best ones on top."""
    order = table.groupby("estimator")["auroc"].max().sort_values().index.tolist()
    size = (9.5, 1.4 + 0.27 * len(order))
    picture, grid = plt.subplots(1, len(MEASURES), figsize=size, sharey=True, layout="constrained")
    for letter, axes, (measure, words) in zip("ab", grid, MEASURES.items(), strict=True):
        panel(axes, letter, words)
        for row in table.to_dict("records"):
            y, several = order.index(row["estimator"]), row["seeds"] > 1
            colour = COLOURS["easy" if several else "muted"]
            axes.plot([row[f"{measure}_low"], row[f"{measure}_high"]], [y, y], color=colour, linewidth=0.9)
            axes.plot(row[measure], y, "o", color=colour, markersize=4.5, fillstyle="full" if several else "none")
    grid[0].set_yticks(range(len(order)), [title(name) for name in order])
    first = table.iloc[0]
    for fill, colour, words in (("none", "muted", "one run"), ("full", "easy", "mean score of all runs")):
        grid[0].plot([], [], "o", color=COLOURS[colour], fillstyle=fill, markersize=4.5, label=words)
    picture.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    grid[1].axvline(first["wrong"] / first["examples"], color=COLOURS["all"], linestyle="--", linewidth=0.9)
    note = (
        f"{DATASETS[first['dataset']].title}, {first['examples']:,} examples, of which {first['wrong']:,} have another "
        "label in the file than in the data set. Found: those among as many highest scores; dashed: in a random order. "
        "Lines: 95 % intervals, over examples and, for one run, over seeds too."
    )
    return picture, "Who finds the labels that differ from the data set's?", note
