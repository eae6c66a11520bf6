"""Study of mask leakage: accuracies of sub-networks of VGG-11 on CIFAR-10 over epochs, one change from the base each.

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
from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.figures.early_stopping import spearman
from turnover.experiments.plots.curves import BAND, KINDS, accuracy_axes, curves, line, outer_labels, panels, rows
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
    """Return all curves, and a row about each variant."""
    variants: dict[str, list[Source]] = {}
    for source, name in zip(sources, changes([source.config for source in sources]), strict=True):
        variants.setdefault(name, []).append(source)
    tables = []
    for name, runs in variants.items():
        shared = runs[0].config.turnover.groups is not None
        for kind, (split, metric, _, _) in KINDS.items():
            if not (shared and kind == "fresh masks, test"):  # the shared mask of a new id is one that was trained
                tables.append(rows(curves(runs, split, "all", metric), name, kind))
    about = {"variants": [_about(name, runs) for name, runs in variants.items()], "rule": RULE}
    return Plotted(pd.concat(tables, ignore_index=True), summary=about)


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each variant, and below them their key."""
    variants = panels(numbers)
    lines, key = -(-len(variants) // _COLUMNS), 0.3  # the height of the key, in lines
    size: dict[str, Any] = {"figsize": (8.5, 2.1 * (lines + key) + 0.3), "height_ratios": [1] * lines + [key]}
    picture, grid = plt.subplots(lines + 1, _COLUMNS, **size, layout="constrained", sharex=True, sharey=True)
    for letter, axes, (name, drawn) in zip(ascii_lowercase, grid.flat, variants.items(), strict=False):
        axes.set_title(f"({letter}) " + name.replace(", ", ",\n"), fontsize=8.5)
        for kind, table in drawn.items():
            _, _, colour, dash = KINDS[kind]
            line(axes, table, kind, colour, dash)
        accuracy_axes(axes, DATASETS[configs[0].dataset.name].classes)
    outer_labels(grid, len(variants), "epoch", "accuracy")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "upper left", "borderaxespad": 0, "ncols": _COLUMNS}
    below = grid[-1, 0].legend(handles, labels, title=BAND, title_fontsize=7, fontsize=8, **place)
    below.set_in_layout(False)  # it is wider than a panel
    return picture


def changes(configs: Sequence[RunConfig]) -> list[str]:
    """Return for every run the differences from the base, in a few words.

    In the base every field has the value that most runs have. Seeds, and the epochs that are trained and scored, make
    no variant.
    """
    fields = varied(configs)
    same = ("seed", "epochs", "estimator.epochs")
    base = {name: Counter(repr(values[name]) for values in fields).most_common(1)[0][0] for name in fields[0]}
    texts = []
    for config, values in zip(configs, fields, strict=True):
        changed = {name: value for name, value in values.items() if repr(value) != base[name] and name not in same}
        texts.append(", ".join(_in_words(name, value, config) for name, value in changed.items()) or BASE)
    return texts


def _in_words(name: str, value: Any, config: RunConfig) -> str:
    match name:
        case "turnover.layers":
            return f"masks in {'all layers' if value is None else ' and '.join(value) + ' only'}"
        case "turnover.groups":
            return f"{value} shared masks" if value else "a mask for each"
        case "turnover.dropout":
            return f"dropout {value:g}" if value else "no dropout"
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
    """Return the row of a variant: verdicts, agreement of seeds and seconds, means over seeds."""
    row: dict[str, Any] = {"variant": name, "examples": runs[0].config.train_size, "seeds": len(runs)}
    manifests = [Run(run.config).manifest for run in runs]
    verdicts = [manifest["leakage"] for manifest in manifests]
    for words, key in _JUDGED.items():
        row[words] = round(float(np.mean([verdict[key] for verdict in verdicts])), 4)
    row["verdicts"] = sorted({verdict["verdict"] for verdict in verdicts})
    row["spearman_between_seeds"] = between_seeds([scores_by_epoch(run.folder).iloc[:, -1] for run in runs])
    row["seconds"] = round(float(np.mean([manifest.get("seconds", 0.0) for manifest in manifests])), 1)
    return row


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each variant with the last values of its curves, means over seeds, and the choice of `RULE`."""
    drawn = panels(numbers)
    table = [
        row | {kind: round(float(curve.iloc[-1].mean()), 4) for kind, curve in drawn[row["variant"]].items()}
        for row in rest["variants"]
    ]
    return rest | {"variants": table} | choose(table)


def between_seeds(scores: Sequence[pd.Series]) -> float | None:
    """Return the mean Spearman correlation over all pairs of seeds of their scores (index: id); None for one seed."""
    if len(scores) < 2:
        return None
    matrix = spearman(pd.concat(scores, axis=1)).to_numpy()
    return round(float(matrix[np.triu_indices(len(scores), k=1)].mean()), 4)


def choose(table: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the variant that `RULE` chooses from the rows of `summary`, in any order, and those it is tied with."""
    size = next((row["examples"] for row in table if row["variant"] == BASE), table[0]["examples"])
    candidates = [row for row in table if row["examples"] == size]
    highest = max(row["flipped, all training examples"] for row in candidates)
    tied = [row for row in candidates if row["flipped, all training examples"] >= highest - TIE - 1e-9]
    agreement = {row["variant"]: row["spearman_between_seeds"] for row in tied}
    best = max(agreement, key=lambda name: -2.0 if agreement[name] is None else agreement[name])
    return {"chosen": best, "tied": list(agreement)}
