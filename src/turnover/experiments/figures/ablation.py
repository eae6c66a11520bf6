"""Ablation of turn-over dropout: what a change of one setting does to its agreement with ground truth."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.options import AllLayersConfig, TurnoverConfig
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import turnover_forms
from turnover.experiments.validation.table import with_interval
from turnover.experiments.validation.truth import truth
from turnover.runs.store.tables import read_scores, scores_by_epoch
from turnover.stats.agreement import spearman
from turnover.stats.measures import auroc

_BASE = "as validated"
_MEASURES = {
    "spearman": ("agreement", "Spearman correlation with\nground-truth memorization"),
    "auroc": ("wrong labels found", "AUROC for wrong labels"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return rows for each variant: one run, and the mean score of all seeds."""
    scored = [source for source in sources if isinstance(source.config.turnover, TurnoverConfig)]
    dataset = scored[0].config.dataset.name
    [ensemble] = [s.config for s in sources if s not in scored and s.config.dataset.name == dataset]
    real = truth(ensemble).table
    science = [source.config.science() | {"seed": 0} for source in scored]
    base = scored[max(range(len(scored)), key=lambda number: science.count(science[number]))].config
    variants: dict[str, list[pd.Series]] = {}
    for source in scored:
        for name, scores in _variants(source, base).items():
            variants.setdefault(name, []).append(scores)
    return Plotted(pd.DataFrame([row for name, runs in variants.items() for row in _rows(name, runs, real)]))


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw two panels, a row for each variant."""
    order = numbers[numbers["seeds"] > 1].groupby("variant")["spearman"].max().sort_values()
    picture, panels = plt.subplots(1, 2, figsize=(9, 1.2 + 0.3 * len(order)), layout="constrained", sharey=True)
    for axes, letter, (name, (title, words)) in zip(panels, "ab", _MEASURES.items(), strict=True):
        panel(axes, letter, title)
        axes.set_xlabel(words)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _dots(axes, numbers, name, order.index.tolist())
    panels[0].set_yticks(range(len(order)), order.index)
    for label in panels[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == _BASE else "normal")
    panels[0].plot([], [], "o", color=COLOURS["own"], fillstyle="none", label="one run (95 % interval)")
    panels[0].plot([], [], "o", color=COLOURS["own"], label="mean score of all seeds")
    panels[0].legend(fontsize=7, loc="upper left")
    return picture


def drawn(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs of the data set that variants are of; there is ground truth of others too."""
    dataset = next(config.dataset.name for config in configs if isinstance(config.turnover, TurnoverConfig))
    return [config for config in configs if config.dataset.name == dataset]


def _variants(source: Source, base: RunConfig) -> dict[str, pd.Series]:
    """Return scores of a run by the name of its variant; of a run of the base several, from its own tables."""
    config, table = source.config, read_scores(source.folder)
    changes = _changes(config, base)
    if changes:
        return {changes: table["score"]}
    forms, epochs = turnover_forms(table), scores_by_epoch(source.folder)
    numbers = [int(epoch) for epoch in epochs.columns]
    late = [epoch for epoch in numbers if epoch >= 2 * config.epochs / 3]
    return {
        _BASE: forms["turnover"],
        "own - flipped probability": forms["turnover_probability"],
        "flipped loss alone": forms["turnover_flipped"],
        "own loss alone": table["own_loss"],
        f"mean over epochs {late[0]} to {late[-1]}": epochs[late].mean(axis=1),
        f"mean over epochs {numbers[0]} to {numbers[-1]}": epochs.mean(axis=1),
        **{f"{epoch} epochs": epochs[epoch] for epoch in numbers if epoch < config.epochs / 1.4},
    }


def _changes(config: RunConfig, base: RunConfig) -> str:
    """Return the differences from the base, in words; empty for the base itself."""
    ours, theirs = config.turnover, base.turnover
    assert isinstance(ours, AllLayersConfig)
    assert isinstance(theirs, AllLayersConfig)
    differences = {
        f"p = {ours.p:g}": ours.p != theirs.p,
        f"{ours.groups} shared masks": ours.groups != theirs.groups,
        "exactly half of the units": ours.balance != theirs.balance,
        f"{config.epochs} epochs": config.epochs != base.epochs,
        f"lr {config.optimizer.lr:g}": config.optimizer.lr != base.optimizer.lr,
    }
    return ", ".join(words for words, differs in differences.items() if differs)


def _rows(name: str, runs: Sequence[pd.Series], real: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows for single runs and for the mean of all: variant, seeds, and each measure with its 95 % interval."""
    ids = runs[0].index
    memorized, mislabelled = (real.reindex(ids)[column].to_numpy() for column in ("probability", "wrong"))
    by_run = [run.reindex(ids).to_numpy() for run in runs]
    rows = []
    for seeds, scores in ((1, by_run), (len(runs), [np.mean(by_run, axis=0)])):
        agreement = with_interval("spearman", [spearman(values, memorized) for values in scores], len(ids))
        detection = with_interval("auroc", [auroc(values, mislabelled) for values in scores], len(ids))
        rows.append({"variant": name, "seeds": seeds} | agreement | detection)
    return rows


def _dots(axes: Axes, table: pd.DataFrame, name: str, order: list[str]) -> None:
    for row in table.to_dict("records"):
        shift, fill = (0.12, "none") if row["seeds"] == 1 else (-0.12, "full")
        y = order.index(row["variant"]) + shift
        axes.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=COLOURS["own"], linewidth=0.9)
        axes.plot(row[name], y, "o", color=COLOURS["own"], markersize=4.5, fillstyle=fill)
