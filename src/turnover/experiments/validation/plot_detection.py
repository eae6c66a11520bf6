"""Picture: how many of the wrong labels each estimator finds, by how many there are and of which kind."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import panel
from turnover.experiments.validation.plot_style import LOOKS, dataset_names

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
