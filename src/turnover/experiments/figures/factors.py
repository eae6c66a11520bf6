"""Study: what a change of training does to what is memorized, to test accuracy, and to both at once."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.common.files import checkout
from turnover.common.text import flatten
from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.estimators.subsampling import with_and_without
from turnover.experiments.plots.early_stops import between, spared, stopped
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.members import Members, read_members
from turnover.runs.store.tables import read_metrics, read_scores
from turnover.stats.measures import auroc

_TAIL = 0.1  # share of the clean examples
_EXPERIMENTS = ("factors", "factors_cifar10", "factors_random", "factors_random_cifar10")
_REGULARISERS = {"light_decay": "decay", "dropout_half": "dropout", "shifts": "shifts"}  # of random labels
_EARLY = "after_"  # of the setting, stopped after so many epochs
_HINDER = ("weight_decay", "dropout", "gce", "clipping")  # for the claim on the tail
_CLAIMS = {  # two factors that are compared
    "factor_weight_decay": ("weight_decay", "base"),
    "factor_dropout": ("dropout", "base"),
    "factor_width": ("wide", "narrow"),
    "factor_rate": ("small_rate", "base"),
    "factor_smoothing": ("smoothing", "base"),
    "factor_loss": ("gce", "base"),
    "factor_augmentation": ("crop", "base"),
    "factor_clipping": ("clipping", "base"),
}
_MARKERS = "osD^v<>P"
_WORDS = {
    "wrong": "memorization of wrong labels",
    "tail": "memorization of the clean tail",
    "fit": "share of clean examples right",
    "test": "test accuracy",
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each run: dataset, labels (noisy or clean), factor, seed, and what it does.

    wrong, tail, rest: mean memorization of wrong labels, of the tenth of the clean examples that is memorized most in
    base runs of other seeds, and of the other clean examples. fit: share of the clean examples right in networks
    trained on them. test: test accuracy. membership: AUROC of log odds for what a network was trained on. Where all
    labels are random, fit is the share of them right, and there is no more.
    """
    of_random = [source for source in sources if _all_random(source.config)]
    sources = [source for source in sources if source not in of_random]
    tables = {source.folder: memorized(source) for source in sources}
    bases: dict[tuple[str, bool], dict[int, pd.DataFrame]] = {}
    for source in sources:
        if factor_of(source.config) == "base":
            bases.setdefault(_data(source.config), {})[source.config.seed] = tables[source.folder]
    rows = []
    for source in sources:
        config, table, members = source.config, tables[source.folder], read_members(source.folder)
        others = [base for seed, base in bases[_data(config)].items() if seed != config.seed]
        rows.append(
            {
                "dataset": config.dataset.name,
                "labels": "noisy" if config.corruption.count else "clean",
                "factor": factor_of(config),
                "seed": config.seed,
                "epochs": config.epochs,
                **masses(table, tail(others or [table])),
                "test": float(members.test_right.double().mean()),
                "membership": exposure(members),
            }
        )
    return Plotted(pd.DataFrame(rows + [_of_random_labels(source) for source in of_random]))


def _of_random_labels(source: Source) -> dict[str, Any]:
    config, table = source.config, read_metrics(source.folder)
    right = table.query("split == 'train' and subset == 'all' and metric == 'full_accuracy'").sort_values("epoch")
    row = {"dataset": config.dataset.name, "labels": "random", "factor": factor_of(config), "seed": config.seed}
    return row | {"epochs": config.epochs, "fit": float(right["value"].iloc[-1])}


def drawn(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs of the setting as it is, which the notes describe."""
    return [config for config in configs if factor_of(config) == "base" and not _all_random(config)]


def _all_random(config: RunConfig) -> bool:
    return config.corruption.count == config.train_size


def _data(config: RunConfig) -> tuple[str, bool]:
    return config.dataset.name, config.corruption.count > 0


@cache
def _factors() -> dict[str, dict[str, Any]]:
    """Return what each factor sets, by dotted fields."""
    paths = [checkout() / "conf" / "experiment" / f"{name}.yaml" for name in _EXPERIMENTS]
    variants = [yaml.safe_load(path.read_text(encoding="utf-8"))["variants"] for path in paths]
    return {name: flatten(values) for of_experiment in variants for name, values in of_experiment.items()}


def factor_of(config: RunConfig) -> str:
    """Return the factor whose values a run has, of any network; base if there is none."""
    values = flatten(config.model_dump())
    named = (name for name, fields in _factors().items() if fields and fields.items() <= values.items())
    return next(named, "base").removesuffix("_conv")


def memorized(source: Source) -> pd.DataFrame:
    """Return by example: corrupted; right with it and without it, shares of the networks.  # index "id" """
    members = read_members(source.folder)
    inside, outside = with_and_without(members.right, members.included)
    table = pd.DataFrame({"with": inside.numpy(), "without": outside.numpy()}, index=members.ids)
    return table.join(read_scores(source.folder)["corrupted"])


def tail(tables: Sequence[pd.DataFrame]) -> pd.Index:
    """Return the ids of the tenth of the clean examples with the highest mean memorization over these tables."""
    mean = pd.concat([_mass(table[~table["corrupted"]]) for table in tables], axis=1).mean(axis=1)
    return mean.sort_values(ascending=False, kind="stable").index[: round(_TAIL * len(mean))]


def _mass(table: pd.DataFrame) -> pd.Series:
    return table["with"] - table["without"]


def masses(table: pd.DataFrame, most: pd.Index) -> dict[str, float]:
    """Return mean memorization of wrong labels, of the clean examples in `most` and of the others; and clean fit."""
    clean = table[~table["corrupted"]]
    inside = clean.index.isin(most)
    means = {"wrong": table[table["corrupted"]], "tail": clean[inside], "rest": clean[~inside]}
    return {name: float(_mass(rows).mean()) for name, rows in means.items()} | {"fit": float(clean["with"].mean())}


def exposure(members: Members) -> float:
    """Return the AUROC of log odds, over all pairs of network and example, for those trained on."""
    values, inside = members.confidence.numpy().ravel(), members.included.numpy().ravel()
    return auroc(values, inside)(np.ones(len(values), dtype=np.int64))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, of runs with wrong labels, a value for each seed."""
    result = {}
    for name, rows in numbers[numbers["labels"] == "noisy"].groupby("dataset"):
        of_factor = {factor: each.set_index("seed").sort_index() for factor, each in rows.groupby("factor")}
        base, early = of_factor["base"], rows[_of_setting(rows)]
        stops = {factor: stopped(early, each["fit"]) for factor, each in of_factor.items()}
        for claim, (one, other) in _CLAIMS.items():
            first, second = of_factor[one], of_factor[other]
            for measure in ("wrong", "tail", "test", "membership"):
                result[f"{claim}_{name} {measure}_{name}"] = (first[measure] - second[measure]).tolist()
            less = other if one == "wide" else one  # which of them may be trained less
            mine, (before, after) = of_factor[less], stops[less]
            result[f"{claim}_{name} matched_{name}"] = (mine["wrong"] - before["wrong"]).tolist()
            result[f"{claim}_{name} passed_{name}"] = (mine["wrong"] - after["wrong"]).tolist()
            result[f"{claim}_{name} line_{name}"] = (mine["wrong"] - between(early, mine["fit"])).tolist()
            result[f"{claim}_{name} test_matched_{name}"] = (mine["test"] - before["test"]).tolist()
            result[f"{claim}_{name} fit_{name}"] = np.minimum(first["fit"], second["fit"]).tolist()
        left = {factor: spared(of_factor[factor], base) for factor in _HINDER}
        around = {factor: pd.concat([spared(stop, base) for stop in stops[factor]], axis=1) for factor in _HINDER}
        tail = pd.DataFrame(left).mean(axis=1)
        matched = pd.DataFrame({factor: both.max(axis=1) for factor, both in around.items()}).mean(axis=1)
        for measure, values in (("tail", tail), ("tail_matched", matched), ("tail_beyond", tail - matched)):
            result[f"factor_tail_{name} {measure}_{name}"] = values.tolist()
        fits = [of_factor[factor]["fit"] for factor in (*_HINDER, "base")]
        result[f"factor_tail_{name} fit_{name}"] = pd.concat(fits, axis=1).min(axis=1).tolist()
    for name, rows in numbers[numbers["labels"] == "random"].groupby("dataset"):
        fit = rows.pivot(index="seed", columns="factor", values="fit").sort_index()
        result[f"random_{name}"] = fit[[*_REGULARISERS]].min(axis=1).tolist()
        for factor, words in {"base": "base", **_REGULARISERS}.items():
            result[f"random_{words}_{name}"] = fit[factor].tolist()
    return result


def _of_setting(rows: pd.DataFrame) -> pd.Series:
    return (rows["factor"] == "base") | rows["factor"].str.startswith(_EARLY)


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    share = max(config.corruption.count / config.train_size for config in drawn(configs))
    return (
        f"Filled: {share:.0%} of the labels wrong; hollow, dashed: none. (b, e): what claims hold factors against, the "
        "setting stopped where it fits as many clean examples. Clean tail: what it memorizes most, of other seeds."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw test accuracy against the mass of wrong labels, that against clean fit, and accuracy against the tail.

    A point is a factor, a line the setting from epoch to epoch, which shows what is had by training less.
    """
    numbers = numbers[numbers["labels"] != "random"]
    names = list(numbers["dataset"].unique())
    picture, grid = plt.subplots(len(names), 3, figsize=(13, 3.8 * len(names)), layout="constrained", squeeze=False)
    looks, letters = _looks(numbers), iter("abcdef")
    for row, name in zip(grid, names, strict=True):
        mine = numbers[numbers["dataset"] == name]
        for axes, (x, y) in zip(row, (("wrong", "test"), ("fit", "wrong"), ("tail", "test")), strict=True):
            panel(axes, next(letters), f"{DATASETS[name].title}: {_WORDS[y]}")
            _path(axes, mine, x, y)
            _points(axes, mine, x, y, looks)
            axes.set_xlabel(_WORDS[x])
            axes.set_ylabel(_WORDS[y])
    beside: dict[str, Any] = {"bbox_to_anchor": (1.02, 1), "loc": "upper left"}
    grid[0, 2].legend(fontsize=7, title="bars: range over seeds", title_fontsize=7, **beside)
    return picture


def _looks(numbers: pd.DataFrame) -> dict[str, tuple[Any, str]]:
    """Return a colour and a marker for each factor."""
    names = sorted(numbers["factor"].unique(), key=lambda name: (name != "base", name))
    names = [name for name in names if not name.startswith(_EARLY)]
    palette = plt.get_cmap("tab10")
    return {name: (palette(number % 10), _MARKERS[number % len(_MARKERS)]) for number, name in enumerate(names)}


def _path(axes: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    """Draw the setting after fewer epochs, means over seeds."""
    for labels, style in (("noisy", "-"), ("clean", "--")):
        mine = rows[(rows["labels"] == labels) & _of_setting(rows)]
        means = mine.groupby("epochs")[[x, y]].mean()
        words = "base, stopped early" if labels == "noisy" else None
        axes.plot(means[x], means[y], style, marker=".", color=COLOURS["muted"], zorder=1, label=words)


def _points(axes: Axes, rows: pd.DataFrame, x: str, y: str, looks: dict[Any, tuple[Any, str]]) -> None:
    """Draw means over seeds, with their range."""
    for (labels, factor), each in rows.groupby(["labels", "factor"], sort=False):
        if factor not in looks or each[[x, y]].isna().any(axis=None):  # there are no wrong labels
            continue
        colour, marker = looks[factor]
        axes.errorbar(
            each[x].mean(),
            each[y].mean(),
            xerr=_range(each[x]),
            yerr=_range(each[y]),
            fmt=marker,
            color=colour,
            markerfacecolor=colour if labels == "noisy" else "none",
            markersize=5,
            elinewidth=0.6,
            label=str(factor).replace("_", " ") if labels == "noisy" else None,
        )


def _range(values: pd.Series) -> list[list[float]]:
    """Return how far the lowest and the highest value are from the mean."""
    return [[values.mean() - values.min()], [values.max() - values.mean()]]
