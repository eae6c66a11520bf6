"""Natural repetition: paragraphs of licences by the number of licences that hold them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.estimators import SubsamplingEstimator
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.agreement import partial_spearman, spearman

_BINS = {"1": (1, 1), "2": (2, 2), "3-4": (3, 4), "5-9": (5, 9), "10 or more": (10, 10**9)}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each paragraph and seed: copies, tokens, accuracy, strength, memorization (nats a token)."""
    columns: dict[int, dict[str, pd.Series]] = {}
    for source in sources:
        table = read_scores(source.folder)
        table = table[table["split"] == "train"]
        truth = isinstance(source.config.estimator, SubsamplingEstimator)
        names = (
            {"memorization_loss": "memorization"}
            if truth
            else {name: name for name in ("copies", "tokens", "accuracy", "strength")}
        )
        columns.setdefault(source.config.seed % 100, {}).update({new: table[old] for old, new in names.items()})
    tables = [pd.DataFrame(of_seed).reset_index().assign(seed=seed) for seed, of_seed in columns.items()]
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claim, a value for each seed."""
    values: dict[str, list[float]] = {"known": [], "memorized": [], "known_by_length": []}
    for _, of_seed in numbers.groupby("seed"):
        copies, tokens, accuracy, memorization = (
            of_seed[name].to_numpy() for name in ("copies", "tokens", "accuracy", "memorization")
        )
        values["known"].append(partial_spearman(copies, accuracy, tokens))
        values["memorized"].append(partial_spearman(copies, memorization, tokens))
        values["known_by_length"].append(spearman(tokens, accuracy)(np.ones(len(tokens))))
    return values


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw exact memorization, extraction strength, counterfactual memorization and length, by licences."""
    picture, panels = plt.subplots(1, 4, figsize=(11.5, 3.4), layout="constrained")
    shown = (
        ("accuracy", "exact memorization", "share of tokens right", "easy"),
        ("strength", "extraction strength", "share not needed as a prefix", "difficult"),
        ("memorization", "counterfactual memorization", "nats a token", "own"),
        ("tokens", "length, the control", "tokens", "all"),
    )
    for axes, letter, (value, title, unit, colour) in zip(panels, "abcd", shown, strict=True):
        panel(axes, letter, title)
        _line(axes, numbers, value, COLOURS[colour])
        axes.set_ylabel(unit)
    panels[0].set_ylim(0, 1.02)
    panels[1].set_ylim(0, 1.02)
    panels[3].set_ylim(0, 1.15 * panels[3].get_ylim()[1])
    panels[3].legend([BAND], fontsize=7, loc="lower left")
    return picture


def _line(axes: Axes, numbers: pd.DataFrame, value: str, colour: str) -> None:
    names = [name for name, (low, high) in _BINS.items() if numbers["copies"].between(low, high).any()]
    place = pd.cut(numbers["copies"], [0, *(_BINS[name][1] for name in names)], labels=False)
    means = numbers.assign(place=place).groupby(["seed", "place"])[value].mean().reset_index()
    band(axes, means.groupby("place")[value], colour, marker="o", markersize=3)
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("licences that hold it")
