"""Pictures of the validation: agreement with ground truth, detection of wrong labels, exposure, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.curves import outer_labels
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import TITLES
from turnover.experiments.validation.other_truths import RATES
from turnover.experiments.validation.table import dataset_names
from turnover.experiments.validation.truth import Truth


@dataclass(frozen=True)
class Look:
    """Colour, mark and short name of an estimator."""

    colour: str
    mark: str
    name: str


LOOKS = {
    "blocks": Look("#999933", "*", "blocks"),
    "turnover": Look(COLOURS["own"], "o", "turn-over dropout"),
    "memorization": Look(COLOURS["all"], "s", "subsampling ensemble"),
    "cumulative_loss": Look(COLOURS["easy"], "^", "cumulative loss"),
    "aum": Look(COLOURS["fresh"], "v", "AUM"),
    "el2n": Look(COLOURS["random"], "D", "EL2N"),
    "second_split": Look(COLOURS["difficult"], "P", "second-split forgetting"),
    "confident_learning": Look(COLOURS["flipped"], "X", "confident learning"),
    "forgetting": Look(COLOURS["constant"], "<", "forgetting events"),
    "inconsistency": Look(COLOURS["muted"], "h", "C-score"),
    "final_loss": Look("#F0E442", ">", "final loss"),
}


_PARTS = {"all": ("", COLOURS["easy"], -0.15), "clean": ("_clean", COLOURS["difficult"], 0.15)}

Picture = tuple[Figure, str, str]  # with its title and a note


def agreement(table: pd.DataFrame, truths: Mapping[str, Truth]) -> Picture:
    """Draw a panel for each data set, a row for each estimator, the best ones on top."""
    table = table[table["spearman"].notna() & ~table["estimator"].str.contains("/")].copy()
    most = table.groupby(["dataset", "estimator"])["networks"].transform("max")
    table["row"] = [
        TITLES[name] + (f", {count} networks" if name == "memorization" else ", half of them" if count < whole else "")
        for name, count, whole in zip(table["estimator"], table["networks"], most, strict=True)
    ]
    order = table.groupby("row")["spearman"].max().sort_values().index.tolist()
    datasets = dataset_names(table)
    size = (4.2 + 2.6 * len(datasets), 1.2 + 0.27 * len(order))
    picture, grid = plt.subplots(1, len(datasets), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for letter, axes, dataset in zip("abc", grid[0], datasets, strict=False):
        panel(axes, letter, DATASETS[dataset].title)
        for part, (suffix, colour, shift) in _PARTS.items():
            for row in table[table["dataset"] == dataset].to_dict("records"):
                y = order.index(row["row"]) + shift
                value, *interval = (row[f"spearman{suffix}{end}"] for end in ("", "_low", "_high"))
                single = row["seeds"] == 1 and row["runs"] > 1
                axes.plot(interval, [y, y], color=colour, linewidth=0.9, alpha=0.7)
                axes.plot(value, y, "o", color=colour, markersize=4.5, fillstyle="none" if single else "full")
            limit = truths[dataset].ceiling("spearman", "probability", part)
            axes.axvline(limit, color=colour, linestyle="--", linewidth=0.9)
        axes.set_xlabel("Spearman correlation with\nground-truth memorization")
    first = grid[0, 0]
    first.set_yticks(range(len(order)), order)
    for part, (_, colour, _) in _PARTS.items():
        words = "all examples" if part == "all" else "right labels alone"
        first.plot([], [], "o", color=colour, markersize=4.5, label=words)
    first.plot([], [], "o", color=COLOURS["muted"], fillstyle="none", markersize=4.5, label="one run")
    first.plot([], [], "o", color=COLOURS["muted"], markersize=4.5, label="mean score of all runs")
    first.plot([], [], "--", color=COLOURS["muted"], label="noise ceiling")
    picture.legend(*first.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note = (
        f"Of up to {table['runs'].max()} runs, or disjoint parts of one ensemble. Lines: 95 % intervals, over examples "
        "and, for one run, over seeds too. Ground truth: share of networks right about an example, trained on it minus "
        "not trained on it. Ensembles train the ground truth's own networks on 70 % of the examples, blocks narrow "
        "ones on halves, the others train on all. Half of the blocks: of their pairs, rounded down."
    )
    return picture, "Which score agrees with memorization as it is measured by many networks?", note


def cost(table: pd.DataFrame, truths: Mapping[str, Truth]) -> Picture:
    """Draw a panel for each data set, a mark for each estimator and budget."""
    table = table[table["spearman"].notna() & table["estimator"].isin(LOOKS)]
    datasets = dataset_names(table)
    size = (2.2 + 2.9 * len(datasets), 5.8)
    picture, grid = plt.subplots(1, len(datasets), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for letter, axes, dataset in zip("abc", grid[0], datasets, strict=False):
        panel(axes, letter, DATASETS[dataset].title)
        for name, look in LOOKS.items():
            mine = table[(table["dataset"] == dataset) & (table["estimator"] == name)].sort_values("cost")
            style = {"color": look.colour, "marker": look.mark, "markersize": 5, "label": look.name}
            axes.plot(mine["cost"], mine["spearman"], **style)
        limit = truths[dataset].ceiling("spearman", "probability", "all")
        axes.axhline(limit, color=COLOURS["all"], linestyle="--", linewidth=0.8, label="noise ceiling")
        axes.set_xscale("log")
        axes.set_xlabel("cost (trainings of the ordinary network)")
    grid[0, 0].set_ylabel("Spearman correlation with\nground-truth memorization")
    picture.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note = (
        "Lines join one run with the mean score of all runs, and ensembles of more and more networks. Cost: arithmetic "
        "of training until the score is known; a network twice as wide counts twice, gradient passes and "
        "the scoring of blocks count too."
    )
    return picture, "What does agreement with the ground truth cost?", note


_KINDS = {"symmetric": "any other class", "pair": "the next class"}


def detection(table: pd.DataFrame) -> Picture:
    """Draw a row of panels for each kind of noise, a column for each data set."""
    plain = table[(table["augmentation"] == "none") & (table["seeds"] == 1) & table["estimator"].isin(LOOKS)]
    plain = plain[(plain["networks"] <= 5) | (plain["estimator"] == "blocks")]
    plain = plain.sort_values("networks").drop_duplicates(["dataset", "noise", "wrong", "estimator"], keep="last")
    costs = plain.groupby("estimator")["cost"].agg(["min", "max"])
    names = {name: f"{LOOKS[str(name)].name} ({_between(low, high)})" for name, low, high in costs.itertuples()}
    datasets, kinds = dataset_names(plain), [kind for kind in _KINDS if kind in set(plain["noise"])]
    rows, columns = len(kinds), len(datasets)
    size = (1.5 + 2.9 * columns, 1 + 2.5 * rows)
    picture, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    handles = {}
    for letter, axes, (kind, dataset) in zip("abcdef", grid.flat, product(kinds, datasets), strict=False):
        panel(axes, letter, f"{DATASETS[dataset].title}, {_KINDS[kind]}")
        here = plain[(plain["dataset"] == dataset) & (plain["noise"] == kind)].sort_values("wrong")
        here = here.assign(percent=100 * here["wrong"] / here["examples"])
        for name in (name for name in LOOKS if name in set(here["estimator"])):
            look, mine = LOOKS[name], here[here["estimator"] == name]
            x, low, high = mine["percent"], mine["precision_low"], mine["precision_high"]
            style: dict[str, Any] = {"color": look.colour, "marker": look.mark, "markersize": 4}
            if len(mine) == 1:  # measured at one share only: not to be hidden by the others
                style |= {"markersize": 9, "zorder": 3}
            [handles[names[name]]] = axes.plot(x, mine["precision"], **style)
            axes.fill_between(x, low, high, color=look.colour, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        ticks = sorted(set(here["percent"].round(1)))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.02)
    outer_labels(grid, rows * columns, "wrong labels (%)", "wrong labels found")
    picture.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    note = (
        "Found: wrong labels among as many highest scores as there are wrong labels. Single runs: mean over seeds, "
        "band: 95 % interval over seeds and examples. In brackets: cost, in trainings of the ordinary network. Any "
        "other class: each is as likely. The next class: class-dependent noise, as where one class is taken for "
        "another; all wrong labels of a class are of one other class, so a network may learn them as a rule."
    )
    return picture, "Who finds wrong labels?", note


def _between(low: float, high: float) -> str:
    texts = [f"{value:.1f}".removesuffix(".0") for value in (low, high)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


_MARKS = {"spearman": "o", "auroc": "s"}
_ALONG = {"el2n": COLOURS["random"], "grand": COLOURS["own"]}


def early(table: pd.DataFrame) -> Picture:
    """Draw for each data set EL2N and GraNd by the epoch after which they are taken, and variances of gradients."""
    table = table[table["spearman"].notna() & (table["seeds"] == 1)]
    along = table[table["estimator"].str.contains("/")].sort_values("epoch")
    datasets, variants = dataset_names(along), [name for name in TITLES if name.startswith("vog")]
    size = (5.6 + 2.9 * len(datasets), 6.4)
    picture, grid = plt.subplots(2, len(datasets), figsize=size, sharey="row", layout="constrained", squeeze=False)
    for letter, curves, points, dataset in zip("abc", *grid, datasets, strict=False):
        panel(curves, letter, DATASETS[dataset].title)
        here = along[along["dataset"] == dataset]
        for name, colour in _ALONG.items():
            mine = here[here["estimator"].str.startswith(f"{name}/")]
            for measure, mark in _MARKS.items():
                line = {"linestyle": "-" if measure == "spearman" else "--", "color": colour, "markersize": 4}
                curves.plot(mine["epoch"], mine[measure], marker=mark, **line)
            low, high = mine["spearman_low"], mine["spearman_high"]
            curves.fill_between(mine["epoch"], low, high, color=colour, alpha=0.15, linewidth=0)
        accuracy = here.groupby("epoch")["train_accuracy"].first()
        curves.set_xscale("log")
        curves.set_xticks(accuracy.index, [f"{epoch:g}\n{share:.0%}" for epoch, share in accuracy.items()], fontsize=6)
        curves.minorticks_off()
        curves.set_xlabel("epochs, training accuracy")
        of_gradients = table[(table["dataset"] == dataset) & table["estimator"].isin(variants)]
        for row in of_gradients.to_dict("records"):
            y = -variants.index(row["estimator"])
            for measure, mark in _MARKS.items():
                points.plot([row[f"{measure}_low"], row[f"{measure}_high"]], [y, y], color=COLOURS["muted"])
                points.plot(row[measure], y, mark, color=COLOURS["easy"], markersize=5)
        points.axvline(0, color=COLOURS["all"], linewidth=0.6)
        points.set_xlabel("Spearman correlation, AUROC")
    grid[0, 0].set_ylabel("Spearman correlation, AUROC")
    grid[1, 0].set_yticks([-row for row in range(len(variants))], [TITLES[name] for name in variants])
    keys = [(name, "", colour) for name, colour in _ALONG.items()]
    keys += [(measure, mark, COLOURS["muted"]) for measure, mark in _MARKS.items()]
    for name, mark, colour in keys:
        words = {"spearman": "correlation with ground-truth memorization", "auroc": "AUROC of wrong labels"} | TITLES
        grid[1, 0].plot([], [], marker=mark, color=colour, markersize=5, label=words[name])
    picture.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    note = (
        "Means of single runs; bands and lines: 95 % interval over seeds and examples. Training accuracy: over the "
        "last of these epochs, while the weights move. Variance of gradients: of the label's logit or probability, "
        "over all epochs, the first third (early) or the last third (late)."
    )
    return picture, "When to take EL2N and GraNd, and which VoG?", note


_COLOURS = dict(zip(DATASETS, (COLOURS["easy"], COLOURS["difficult"], COLOURS["own"], COLOURS["muted"]), strict=False))


def exposure(table: pd.DataFrame) -> Picture:
    """Draw a panel for each false-positive rate, a line for each data set."""
    picture, grid = plt.subplots(1, len(RATES), figsize=(10.5, 4.6), sharey=True, layout="constrained")
    for letter, axes, rate in zip("ab", grid, RATES, strict=True):
        panel(axes, letter, f"threshold of {rate:.1%} false positives")
        for dataset in dataset_names(table):
            mine = table[table["dataset"] == dataset].set_index("tenth")
            title, colour = DATASETS[dataset].title, _COLOURS[dataset]
            members, mistaken = mine[f"found_at_{rate:g}"], mine[f"mistaken_at_{rate:g}"].drop(0)
            axes.plot(members.drop(0), color=colour, marker="o", markersize=4, label=title)
            axes.plot(mistaken, color=colour, linestyle="--", linewidth=1)
            axes.axhline(members[0], color=colour, linestyle=":", linewidth=1)
        axes.set_xticks(range(1, 11))
        axes.set_xlabel("tenth of the examples, by memorization")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    grid[0].set_ylabel("share called members")
    for style, words in (("o-", "members"), ("--", "others (false positives)"), (":", "members, all examples")):
        grid[0].plot([], [], style, color=COLOURS["muted"], markersize=4, linewidth=1, label=words)
    picture.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    most = table[table["tenth"] == 10].to_dict("records")
    wrong_labels = ", ".join(f"{row['wrong']:.0%} ({DATASETS[row['dataset']].title})" for row in most)
    note = (
        "Likelihood ratio attack (LiRA, Carlini et al., 2022) on every network of the ground truth, the others being "
        "the attacker's. One threshold for all examples, so false positives differ between tenths. Of the most "
        f"memorized tenth these have wrong labels: {wrong_labels}."
    )
    return picture, "Whom can an attacker tell from examples that were not trained on?", note
