"""Study of mask leakage: what sub-networks of VGG-11 know of CIFAR-10 over epochs, one change at a time from a base.

The variant that the project uses for scores is chosen by a rule that was fixed before the runs: among the variants
with as many training examples as the base, the one with the highest accuracy of flipped sub-networks (all training
examples, last epoch, mean over seeds); variants within 0.01 of the highest are tied, and among these the highest
Spearman correlation of the scores of two seeds decides.
"""

from collections import Counter
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.compose import varied
from turnover.config.datasets import FACTS
from turnover.config.run import RunConfig
from turnover.experiments.figures.early_stopping import spearman
from turnover.experiments.plots.curves import BAND, KINDS, accuracy_axes, curves, line, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.runs.store.run import Run
from turnover.runs.store.tables import scores_by_epoch

BASE = "base: masks in all layers"
RULE = (
    "among variants with as many training examples as the base, the highest flipped accuracy (all training examples, "
    "last epoch, mean over seeds); within 0.01 of it, the highest Spearman correlation of the scores of two seeds"
)
TIE = 0.01

# of the leakage verdict, over all training examples; the swap probe over at most 2,000
_JUDGED = {
    "flipped, all training examples": "flipped_accuracy",
    "swapped image: label of the mask": "mask_accuracy",
    "swapped image: label of the image": "image_accuracy",
    "swapped image: label of a bystander": "bystander_accuracy",
}
_COLUMNS = 4


def tabulate(sources: Sequence[Source]) -> Plotted:
    """All curves, and what is known of each variant besides."""
    variants: dict[str, list[Source]] = {}
    for source, name in zip(sources, changes([source.config for source in sources]), strict=True):
        variants.setdefault(name, []).append(source)
    parts = [
        rows(curves(runs, split, "all", metric), name, kind)
        for name, runs in variants.items()
        for kind, (split, metric, _, _) in _kinds(runs).items()
    ]
    about = {"variants": [_about(name, runs) for name, runs in variants.items()], "rule": RULE}
    return Plotted(pd.concat(parts, ignore_index=True), summary=about)


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """A panel for each variant, and their key."""
    variants = panels(numbers)
    lines = -(-(len(variants) + 1) // _COLUMNS)  # one place for the legend
    picture, grid = plt.subplots(
        lines, _COLUMNS, figsize=(8.5, 2.1 * lines + 0.3), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for letter, axes, (name, drawn) in zip(ascii_lowercase, grid.flat, variants.items(), strict=False):
        axes.set_title(f"({letter}) {name}", fontsize=8.5)
        for kind, table in drawn.items():
            _, _, colour, dash = KINDS[kind]
            line(axes, table, kind, colour, dash)
        accuracy_axes(axes, FACTS[configs[0].dataset.name].classes)
    _share(grid, len(variants))
    return picture


def changes(configs: Sequence[RunConfig]) -> list[str]:
    """For every run, in what it differs from the base, in a few words.

    In the base every field has the value that most runs have. Seeds, and the epochs that are trained and scored, make
    no variant.
    """
    fields = varied(configs)
    same = ("seed", "epochs", "estimator.epochs")
    base = {name: Counter(repr(each[name]) for each in fields).most_common(1)[0][0] for name in fields[0]}
    found = []
    for config, values in zip(configs, fields, strict=True):
        changed = {name: value for name, value in values.items() if repr(value) != base[name] and name not in same}
        found.append(", ".join(_said(name, value, config) for name, value in changed.items()) or BASE)
    return found


def _said(name: str, value: Any, config: RunConfig) -> str:
    match name:
        case "turnover.layers":
            return f"masks in {'all layers' if value is None else ' and '.join(value) + ' only'}"
        case "turnover.groups":
            return f"{value} shared masks" if value else "a mask for each"
        case "turnover.plain_epochs":
            return f"{value} plain epoch{'s' if value > 1 else ''} first"
        case "turnover.p":
            return f"p = {value:g}"
        case "model.bias":
            return "biases" if value else "no biases"
        case "dataset.limit":
            return f"{config.train_size:,} examples"
    return f"{name} = {value}"


def _about(name: str, runs: Sequence[Source]) -> dict[str, Any]:
    """What is known of a variant besides its curves, means over seeds."""
    row: dict[str, Any] = {"variant": name, "examples": runs[0].config.train_size, "seeds": len(runs)}
    found = [Run(run.config).manifest["leakage"] for run in runs]
    for words, key in _JUDGED.items():
        row[words] = round(float(np.mean([each[key] for each in found])), 4)
    row["verdicts"] = sorted({each["verdict"] for each in found})
    row["spearman_between_seeds"] = between_seeds([scores_by_epoch(run.folder).iloc[:, -1] for run in runs])
    row["seconds"] = round(float(np.mean([Run(run.config).manifest.get("seconds", 0.0) for run in runs])), 1)
    return row


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """A row for each variant with the last values of its curves, means over seeds; and which one the rule chooses."""
    drawn = panels(numbers)
    table = [
        row | {kind: round(float(one.iloc[-1].mean()), 4) for kind, one in drawn[row["variant"]].items()}
        for row in rest["variants"]
    ]
    return rest | {"variants": table} | choose(table)


def _kinds(runs: Sequence[Source]) -> dict[str, tuple[str, str, str, str]]:
    # where examples share masks, the mask of a new id is one that was trained
    shared = runs[0].config.turnover.groups is not None
    return {kind: what for kind, what in KINDS.items() if not (shared and kind == "fresh masks, test")}


def between_seeds(scores: Sequence[pd.Series]) -> float | None:
    """Mean Spearman correlation over all pairs of seeds of their scores (index: id); None for one seed."""
    if len(scores) < 2:
        return None
    matrix = spearman(pd.concat(scores, axis=1)).to_numpy()
    return round(float(matrix[np.triu_indices(len(scores), k=1)].mean()), 4)


def choose(table: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The variant that `RULE` chooses from the rows of `summary`, the base first or not, and those it is tied with."""
    size = next((row["examples"] for row in table if row["variant"] == BASE), table[0]["examples"])
    alike = [row for row in table if row["examples"] == size]
    highest = max(row["flipped, all training examples"] for row in alike)
    tied = [row for row in alike if row["flipped, all training examples"] >= highest - TIE - 1e-9]
    agreement = {row["variant"]: row["spearman_between_seeds"] for row in tied}
    chosen = max(agreement, key=lambda name: -2.0 if agreement[name] is None else agreement[name])
    return {"chosen": chosen, "tied": list(agreement)}


def _share(grid: np.ndarray, used: int) -> None:
    """Labels at the edges, and the legend of all panels in the first place that none uses."""
    columns = grid.shape[1]
    for number, axes in enumerate(grid.flat):
        if number >= used:
            axes.axis("off")
            continue
        lowest = number + columns >= used
        axes.set_xlabel("epoch" if lowest else "")
        axes.tick_params(labelbottom=lowest)
        axes.set_ylabel("accuracy" if number % columns == 0 else "")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    key = grid.flat[used].legend(handles, labels, title=BAND, title_fontsize=7, fontsize=8, loc="upper left")
    key.set_in_layout(False)  # it may be wider than a panel
