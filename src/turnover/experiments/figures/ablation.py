"""Ablation of turn-over dropout: what a change of one setting does to its agreement with ground truth."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.options import TurnoverConfig
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import turnover_forms
from turnover.experiments.validation.table import with_interval
from turnover.experiments.validation.truth import truth
from turnover.runs.store.tables import read_scores, scores_by_epoch
from turnover.stats.agreement import spearman
from turnover.stats.measures import Statistic, auroc

_BASE = "as validated"
_MEASURES = {
    "spearman": ("agreement", "Spearman correlation with\nground-truth memorization"),
    "auroc": ("wrong labels found", "AUROC for wrong labels"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Rows for each variant: one run, and the mean score of all seeds."""
    scored = [source for source in sources if isinstance(source.config.turnover, TurnoverConfig)]
    dataset = scored[0].config.dataset.name
    [known] = [s.config for s in sources if s not in scored and s.config.dataset.name == dataset]
    real = truth(known).table
    base = max(scored, key=lambda one: sum(_same(one.config, other.config) for other in scored)).config
    variants: dict[str, list[pd.Series]] = {}
    for source in scored:
        for name, scores in _variants(source, base).items():
            variants.setdefault(name, []).append(scores)
    return Plotted(pd.DataFrame([row for name, runs in variants.items() for row in _rows(name, runs, real)]))


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Two panels, a row for each variant."""
    order = numbers[numbers["seeds"] > 1].groupby("variant")["spearman"].max().sort_values()
    picture, panels = plt.subplots(1, 2, figsize=(9, 1.2 + 0.3 * len(order)), layout="constrained", sharey=True)
    for axes, letter, (name, (title, words)) in zip(panels, "ab", _MEASURES.items(), strict=True):
        panel(axes, letter, title)
        axes.set_xlabel(words)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _dots(axes, numbers, name, {variant: place for place, variant in enumerate(order.index)})
    panels[0].set_yticks(range(len(order)), order.index)
    for label in panels[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == _BASE else "normal")
    panels[0].plot([], [], "o", color=COLOURS["own"], fillstyle="none", label="one run (95 % interval)")
    panels[0].plot([], [], "o", color=COLOURS["own"], label="mean score of all seeds")
    panels[0].legend(fontsize=7, loc="upper left")
    return picture


def drawn(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """The runs of the data set that variants are of; there is ground truth of others too."""
    dataset = next(config.dataset.name for config in configs if isinstance(config.turnover, TurnoverConfig))
    return [config for config in configs if config.dataset.name == dataset]


def _same(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs differ in their seed alone."""
    return one.science() | {"seed": 0} == other.science() | {"seed": 0}


def _variants(source: Source, base: RunConfig) -> dict[str, pd.Series]:
    """Scores of a run by the name of its variant; a run of the base gives some more, from its own tables."""
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
    """What differs from the base, in words; nothing: the base itself."""
    ours, theirs = config.turnover, base.turnover
    assert isinstance(ours, TurnoverConfig)
    assert isinstance(theirs, TurnoverConfig)
    told = {
        f"p = {ours.p:g}": ours.p != theirs.p,
        f"{ours.groups} shared masks": ours.groups != theirs.groups,
        "exactly half of the units": ours.balance != theirs.balance,
        f"{config.epochs} epochs": config.epochs != base.epochs,
        f"lr {config.optimizer.lr:g}": config.optimizer.lr != base.optimizer.lr,
    }
    return ", ".join(words for words, differs in told.items() if differs)


def _rows(name: str, runs: Sequence[pd.Series], real: pd.DataFrame) -> list[dict[str, object]]:
    """Rows for single runs and for the mean of all: variant, seeds, and each measure with its 95 % interval."""
    ids = runs[0].index
    known, wrong = real.reindex(ids)["probability"].to_numpy(), real.reindex(ids)["wrong"].to_numpy()
    rows = []
    for together in (1, len(runs)):
        scores = [run.reindex(ids).to_numpy() for run in runs]
        scores = scores if together == 1 else [np.mean(scores, axis=0)]
        row: dict[str, object] = {"variant": name, "seeds": together}
        kinds: dict[str, list[Statistic]] = {
            "spearman": [spearman(each, known) for each in scores],
            "auroc": [auroc(each, wrong) for each in scores],
        }
        for kind, statistics in kinds.items():
            row |= with_interval(kind, statistics, len(ids))
        rows.append(row)
    return rows


def _dots(axes: Axes, table: pd.DataFrame, name: str, places: dict[str, int]) -> None:
    for row in table.to_dict("records"):
        place = places[row["variant"]] + (0.12 if row["seeds"] == 1 else -0.12)
        axes.plot([row[f"{name}_low"], row[f"{name}_high"]], [place, place], color=COLOURS["own"], linewidth=0.9)
        full = "none" if row["seeds"] == 1 else "full"
        axes.plot(row[name], place, "o", color=COLOURS["own"], markersize=4.5, fillstyle=full)
