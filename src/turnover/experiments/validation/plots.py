"""Pictures of the validation: agreement with ground truth, detection of wrong labels, exposure, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import TITLES
from turnover.experiments.validation.other_truths import RATES
from turnover.experiments.validation.truth import Truth


@dataclass(frozen=True)
class Look:
    """Colour, mark and short name of an estimator."""

    colour: str
    mark: str
    name: str


LOOKS = {
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


def dataset_names(table: pd.DataFrame) -> list[str]:
    """The data sets of a table, in the order in which they are known."""
    return [name for name in FACTS if name in set(table["dataset"])]


_PARTS = {"all": ("", COLOURS["easy"], -0.15), "clean": ("_clean", COLOURS["difficult"], 0.15)}


def agreement(table: pd.DataFrame, truths: Mapping[str, Truth]) -> tuple[Figure, str, list[str]]:
    """A panel for each data set, a row for each estimator, the best ones on top; title and notes with it."""
    known = table[table["spearman"].notna()].copy()
    several = known["networks"].where(known["estimator"] == "memorization", 0)
    known["row"] = [
        TITLES[name] + (f", {count} networks" if count else "")
        for name, count in zip(known["estimator"], several, strict=True)
    ]
    best = known.groupby("row")["spearman"].max().sort_values()
    places = {name: place for place, name in enumerate(best.index)}
    datasets = dataset_names(known)
    picture, axes = plt.subplots(
        1,
        len(datasets),
        figsize=(4.2 + 2.6 * len(datasets), 1.2 + 0.27 * len(best)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for number, (one, dataset) in enumerate(zip(axes[0], datasets, strict=True)):
        panel(one, "abc"[number], FACTS[dataset].title)
        here = known[known["dataset"] == dataset]
        for part, (suffix, colour, shift) in _PARTS.items():
            for row in here.to_dict("records"):
                place = places[row["row"]] + shift
                values = [row[f"spearman{suffix}{end}"] for end in ("", "_low", "_high")]
                single = row["seeds"] == 1 and row["runs"] > 1
                one.plot(values[1:], [place, place], color=colour, linewidth=0.9, alpha=0.7)
                one.plot(values[0], place, "o", color=colour, markersize=4.5, fillstyle="none" if single else "full")
            limit = truths[dataset].ceiling("spearman", "probability", part)
            one.axvline(limit, color=colour, linestyle="--", linewidth=0.9)
        one.set_xlabel("Spearman correlation with\nground-truth memorization")
    axes[0, 0].set_yticks(range(len(best)), best.index)
    for part, (_, colour, _) in _PARTS.items():
        words = "all examples" if part == "all" else "right labels alone"
        axes[0, 0].plot([], [], "o", color=colour, markersize=4.5, label=words)
    axes[0, 0].plot([], [], "o", color=COLOURS["muted"], fillstyle="none", markersize=4.5, label="one run")
    axes[0, 0].plot([], [], "o", color=COLOURS["muted"], markersize=4.5, label="mean score of all runs")
    axes[0, 0].plot([], [], "--", color=COLOURS["muted"], label="noise ceiling")
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    runs = int(known["runs"].max())
    lines = [
        f"Of up to {runs} runs, or disjoint parts of one ensemble. Lines: 95 % intervals, over examples and, for one "
        "run, over seeds too. Ground truth: share of networks right about an example, trained on it minus not trained "
        "on it. Ensembles train the ground truth's own networks on 70 % of the examples, the others train on all.",
    ]
    return picture, "Which score agrees with memorization as it is measured by many networks?", lines


def cost(table: pd.DataFrame, truths: Mapping[str, Truth]) -> tuple[Figure, str, list[str]]:
    """A panel for each data set, a mark for each estimator and budget; title and notes with it."""
    known = table[table["spearman"].notna() & table["estimator"].isin(LOOKS)]
    datasets = dataset_names(known)
    picture, axes = plt.subplots(
        1, len(datasets), figsize=(2.2 + 2.9 * len(datasets), 5.0), sharey=True, layout="constrained", squeeze=False
    )
    for number, (one, dataset) in enumerate(zip(axes[0], datasets, strict=True)):
        panel(one, "abc"[number], FACTS[dataset].title)
        for name, look in LOOKS.items():
            mine = known[(known["dataset"] == dataset) & (known["estimator"] == name)].sort_values("cost")
            one.plot(mine["cost"], mine["spearman"], color=look.colour, marker=look.mark, markersize=5, label=look.name)
        limit = truths[dataset].ceiling("spearman", "probability", "all")
        one.axhline(limit, color=COLOURS["all"], linestyle="--", linewidth=0.8, label="noise ceiling")
        one.set_xscale("log")
        one.set_xlabel("cost (trainings of the ordinary network)")
    axes[0, 0].set_ylabel("Spearman correlation with\nground-truth memorization")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside right center", fontsize=8)
    lines = [
        "Lines join one run with the mean score of all runs, and ensembles of more and more networks. Cost: arithmetic "
        "of training until the score is known; a network twice as wide counts twice, gradient passes count too.",
    ]
    return picture, "What does agreement with the ground truth cost?", lines


_KINDS = {"symmetric": "any other class", "pair": "the next class"}


def detection(table: pd.DataFrame) -> tuple[Figure, str, list[str]]:
    """A row of panels for each kind of noise, a column for each data set; title and notes with it."""
    plain = table[(table["augmentation"] == "none") & (table["seeds"] == 1) & (table["networks"] <= 5)]
    plain = plain[plain["estimator"].isin(LOOKS)]
    costs = plain.groupby("estimator")["cost"].agg(["min", "max"])
    names = {name: f"{LOOKS[str(name)].name} ({_between(low, high)})" for name, low, high in costs.itertuples()}
    datasets, kinds = dataset_names(plain), [kind for kind in _KINDS if kind in set(plain["noise"])]
    picture, axes = plt.subplots(
        len(kinds),
        len(datasets),
        figsize=(1.5 + 2.9 * len(datasets), 1 + 2.5 * len(kinds)),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for row, kind in enumerate(kinds):
        for column, dataset in enumerate(datasets):
            one = axes[row, column]
            panel(one, "abcdef"[row * len(datasets) + column], f"{FACTS[dataset].title}, {_KINDS[kind]}")
            here = plain[(plain["dataset"] == dataset) & (plain["noise"] == kind)]
            for name, look in LOOKS.items():
                mine = here[here["estimator"] == name].sort_values("wrong")
                if len(mine):
                    x = 100 * mine["wrong"] / mine["examples"]
                    one.plot(x, mine["precision"], color=look.colour, marker=look.mark, markersize=4, label=names[name])
                    one.fill_between(
                        x, mine["precision_low"], mine["precision_high"], color=look.colour, alpha=0.12, linewidth=0
                    )
            one.set_xscale("log")
            ticks = sorted(
                {round(100 * wrong / n, 1) for wrong, n in zip(here["wrong"], here["examples"], strict=True)}
            )
            one.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            one.minorticks_off()
            one.set_ylim(-0.02, 1.02)
            one.set_xlabel("wrong labels (%)" if row == len(kinds) - 1 else "")
            one.set_ylabel("wrong labels found" if column == 0 else "")
    handles = {
        label: handle for one in axes.flat for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    picture.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    lines = [
        "Found: wrong labels among as many highest scores as there are wrong labels. Single runs: mean over seeds, "
        "band: 95 % interval over seeds and examples. In brackets: cost, in trainings of the ordinary network.",
    ]
    return picture, "Who finds wrong labels?", lines


def _between(low: float, high: float) -> str:
    texts = [f"{value:.1f}".removesuffix(".0") for value in (low, high)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


_COLOURS = dict(zip(FACTS, (COLOURS["easy"], COLOURS["difficult"], COLOURS["own"], COLOURS["muted"]), strict=False))


def exposure(table: pd.DataFrame) -> tuple[Figure, str, list[str]]:
    """A panel for each false-positive rate, a line for each data set; title and notes with it."""
    picture, axes = plt.subplots(1, len(RATES), figsize=(10.5, 4.6), sharey=True, layout="constrained")
    for number, (one, rate) in enumerate(zip(axes, RATES, strict=True)):
        panel(one, "ab"[number], f"threshold of {rate:.1%} false positives")
        for dataset in dataset_names(table):
            mine = table[table["dataset"] == dataset]
            tenths, whole = mine[mine["tenth"] > 0], mine[mine["tenth"] == 0]
            colour = _COLOURS[dataset]
            one.plot(
                tenths["tenth"],
                tenths[f"found_at_{rate:g}"],
                color=colour,
                marker="o",
                markersize=4,
                label=FACTS[dataset].title,
            )
            one.plot(tenths["tenth"], tenths[f"mistaken_at_{rate:g}"], color=colour, linestyle="--", linewidth=1)
            one.axhline(float(whole[f"found_at_{rate:g}"].iloc[0]), color=colour, linestyle=":", linewidth=1)
        one.set_xticks(range(1, 11))
        one.set_xlabel("tenth of the examples, by memorization")
        one.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("share called members")
    styles = (("o-", "members"), ("--", "others (false positives)"), (":", "members, all examples"))
    for look, words in styles:
        axes[0].plot([], [], look, color=COLOURS["muted"], markersize=4, linewidth=1, label=words)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    most = table[table["tenth"] == 10]
    wrong = ", ".join(f"{row['wrong']:.0%} ({FACTS[row['dataset']].title})" for row in most.to_dict("records"))
    lines = [
        "Likelihood ratio attack (LiRA, Carlini et al., 2022) on every network of the ground truth, the others being "
        "the attacker's. One threshold for all examples, so false positives differ between tenths. Of the most "
        f"memorized tenth these have wrong labels: {wrong}.",
    ]
    return picture, "Whom can an attacker tell from examples that were not trained on?", lines
