"""Study: networks on real against networks on random labels: similarity, dimension, order of learning, dilation."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.probe_run import ProbeRun
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_probes, read_scores

_OF_ALL: dict[str, dict[str, Any]] = {"order": {}, "collapse": {}}
_OF_BOTH_ENDS: dict[str, dict[str, Any]] = {"similarity": {"examples": 4000}, "dimension": {}}  # real or random labels
_PANELS = {"pwcca": "similarity", "dimension": "intrinsic dimension", "spearman": "order of learning"}
_LABELS = {"real": ("real labels", "easy", "-"), "random": ("random labels", "difficult", "--")}
_GROUPS = {"noisy": ("wrong labels", "difficult", "--"), "clean": ("right labels", "easy", "-")}
_BAND = "mean and range over subsets"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each number: dataset, subset, labels, wrong, measure, group, layer, value.

    Labels: real, random, or mixed, with a share `wrong` of wrong ones. A value is the mean over the networks of a
    subset and kind of labels, or over their pairs. Hidden layers count from 1. Networks are measured first, where they
    were not.
    """
    together: dict[tuple[str, int, int], list[Source]] = {}
    for source in sources:
        config = source.config
        key = (config.dataset.name, config.dataset.seed, config.corruption.count)
        together.setdefault(key, []).append(source)
    parts = [_measured(of_one) for of_one in together.values()]
    columns = ["dataset", "subset", "labels", "wrong", "measure", "group", "layer", "value"]
    return Plotted(pd.concat(parts, ignore_index=True)[columns])


def _measured(sources: Sequence[Source]) -> pd.DataFrame:
    """Return the rows of networks on one subset and one kind of labels."""
    configs, first = [source.config for source in sources], sources[0].config
    count, size = first.corruption.count, first.train_size
    labels = "mixed" if 0 < count < size else "random" if count else "real"
    probes = _OF_ALL if labels == "mixed" else _OF_ALL | _OF_BOTH_ENDS
    runs = [ProbeRun.of({"name": name, **given}, configs, first.device, first.scale) for name, given in probes.items()]
    table = pd.concat([read_probes(probe(run)) for run in runs], ignore_index=True)
    blocks = [name for name in table["block"].unique() if name != "all"]  # the last one are the logits
    table["layer"] = table["block"].map({name: number for number, name in enumerate(blocks[:-1], start=1)})
    table = pd.concat([table, _ratios(table)])
    table = table[table["layer"].notna() | (table["measure"] == "spearman")]
    fits = pd.DataFrame([row for source in sources for row in _fit(source)])
    means = pd.concat([table, fits]).groupby(["measure", "group", "layer"], dropna=False)["value"].mean().reset_index()
    wrong = float(np.mean([_wrong(source).mean() for source in sources]))
    return means.assign(dataset=first.dataset.name, subset=first.dataset.seed, labels=labels, wrong=wrong)


def _ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return equation 4 of wrong labels over that of right ones, by network and layer; no row without wrong ones."""
    rows = table[table["measure"] == "distance"].pivot(index=["run", "layer"], columns="group", values="value")
    if "noisy" not in rows:
        return pd.DataFrame()
    ratios = (rows["noisy"] / rows["clean"]).rename("value").reset_index()
    return ratios.assign(measure="ratio", group="noisy")


def _wrong(source: Source) -> np.ndarray:
    scores = read_scores(source.folder)
    return (scores["label"] != scores["true_label"]).to_numpy()


def _fit(source: Source) -> Iterator[dict[str, Any]]:
    """Yield the shares of all and of wrong labels that the last epoch of training has right."""
    right = (read_scores(source.folder)["first_learning"] <= source.config.epochs).to_numpy()
    wrong = _wrong(source)
    for group, which in {"all": np.ones_like(wrong), "noisy": wrong}.items():
        if which.any():
            yield {"measure": "fit", "group": group, "layer": np.nan, "value": float(right[which].mean())}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each subset."""
    result = {}
    for name, rows in numbers.groupby("dataset"):
        last, shares = rows["layer"].max(), sorted(rows[rows["labels"] == "mixed"]["wrong"].round(6).unique())

        def value(
            labels: str | float, measure: str, group: str, layer: float | None = None, rows: pd.DataFrame = rows
        ) -> pd.Series:
            of = rows["labels"] == labels if isinstance(labels, str) else rows["wrong"].round(6) == labels
            of &= (rows["measure"] == measure) & (rows["group"] == group)
            of &= rows["layer"].isna() if layer is None else rows["layer"] == layer
            return rows[of].set_index("subset")["value"].sort_index()

        few, many = shares[0], shares[-1]
        order = {group: value(few, "spearman", group) for group in _GROUPS}
        found = {
            "pwcca": value("real", "pwcca", "test", last) - value("random", "pwcca", "test", last),
            "pwcca_first": value("real", "pwcca", "test", 1) - value("random", "pwcca", "test", 1),
            "cka": value("real", "cka", "test", last) - value("random", "cka", "test", last),
            "dimension": value("random", "dimension", "test", last) - value("real", "dimension", "test", last),
            "dimension_first": value("random", "dimension", "test", 1) - value("real", "dimension", "test", 1),
            "order": value("real", "spearman", "all") - value("random", "spearman", "all"),
            "order_wrong": order["noisy"] - order["clean"],
            "dilation": value(few, "ratio", "noisy", last),
            "dilation_first": value(few, "ratio", "noisy", 1),
            "dose": value(many, "ratio", "noisy", last) - value(few, "ratio", "noisy", last),
            "dilation_random": value("random", "ratio", "noisy", last),
            "collapse": value(few, "nc1", "test", last) / value("real", "nc1", "test", last),
            "collapse_more": value(many, "nc1", "test", last) / value(few, "nc1", "test", last),
            "fit_real": value("real", "fit", "all"),
            "fit_random": value("random", "fit", "all"),
            "fit_few": value(few, "fit", "noisy"),
            "fit_many": value(many, "fit", "noisy"),
        }
        result.update({f"{measure}_{name}": values.tolist() for measure, values in found.items()})
    return result


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    subsets = len({config.dataset.seed for config in configs})
    seeds = len({config.seed for config in configs})
    return (
        f"{subsets} subsets of the training examples; on each, and for each kind of labels, {seeds} networks of other "
        "initial weights and order, or their pairs, are one value. (d, h) mean distance to the mean of the test "
        "examples of the true class, in the last hidden layer, over that of test examples; at the right end all labels "
        "are random."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw similarity and dimension by layer, agreement about the order, and dilation by the share of wrong labels."""
    names = list(numbers["dataset"].unique())
    size = (12, 3 * len(names) + 0.2)
    picture, grid = plt.subplots(len(names), 4, figsize=size, layout="constrained", squeeze=False)
    letters = iter("abcdefgh")
    for row, name in zip(grid, names, strict=True):
        rows = numbers[numbers["dataset"] == name]
        for axes, (measure, title) in zip(row, _PANELS.items(), strict=False):
            panel(axes, next(letters), f"{DATASETS[name].title}: {title}")
            if measure == "spearman":
                _order(axes, rows[rows["measure"] == measure])
            else:
                _by_layer(axes, rows[rows["measure"] == measure])
        panel(row[3], next(letters), f"{DATASETS[name].title}: dilation")
        _dilation(row[3], rows[(rows["measure"] == "dilation") & (rows["layer"] == rows["layer"].max())])
        row[0].set_ylabel("PWCCA of pairs")
        row[1].set_ylabel("dimension (TwoNN)")
        row[2].set_ylabel("Spearman of pairs")
        row[3].set_ylabel("distance, of test: 1")
    for axes in (grid[0, 0], grid[0, 3]):
        axes.legend(fontsize=7, title=_BAND, title_fontsize=7, alignment="left")
    return picture


def _by_layer(axes: Axes, rows: pd.DataFrame) -> None:
    for labels, (words, colour, dashes) in _LABELS.items():
        mine = rows[rows["labels"] == labels].groupby("layer")["value"]
        band(axes, mine, COLOURS[colour], linestyle=dashes, marker="o", markersize=4, label=words)
    axes.set_xticks(sorted(rows["layer"].unique()))
    axes.set_xlabel("hidden layer")


def _order(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw agreement between networks on real and on random labels, and inside networks on some wrong ones."""
    few = rows[rows["labels"] == "mixed"]["wrong"].min()
    places = {
        "real": (rows["labels"] == "real") & (rows["group"] == "all"),
        "random": (rows["labels"] == "random") & (rows["group"] == "all"),
        "right": (rows["wrong"] == few) & (rows["group"] == "clean"),
        "wrong": (rows["wrong"] == few) & (rows["group"] == "noisy"),
    }
    colours = [COLOURS[name] for name in ("easy", "difficult", "easy", "difficult")]
    for place, (which, colour) in enumerate(zip(places.values(), colours, strict=True)):
        values = rows[which]["value"]
        beyond = [[values.mean() - values.min()], [values.max() - values.mean()]]
        axes.errorbar([place], [values.mean()], beyond, fmt="o" if place < 2 else "s", color=colour, capsize=3)
    axes.set_xticks(range(4), list(places))
    axes.set_xlim(-0.5, 3.5)
    axes.set_xlabel(f"labels (squares: inside {few:.0%} wrong)")


def _dilation(axes: Axes, rows: pd.DataFrame) -> None:
    for group, (words, colour, dashes) in _GROUPS.items():
        mine = rows[rows["group"] == group]
        mine = mine.assign(
            share=mine["wrong"].mask(mine["labels"] == "random", rows[rows["labels"] == "random"]["wrong"].mean())
        )
        values = mine.groupby("share")["value"]
        band(axes, values, COLOURS[colour], linestyle=dashes, marker="o", markersize=4, label=words)
    axes.axhline(1, color=COLOURS["all"], linestyle=":", linewidth=1, label="test examples")
    axes.set_xlabel("share of wrong labels")
