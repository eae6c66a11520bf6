"""Study: where a network keeps its wrong labels, by layer and by unit (Maini et al., 2023)."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.probe_run import ProbeRun
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_probes
from turnover.stats.measures import auroc

_FEW = {"examples": 5, "batch": 20, "others": 20}  # for the networks of smoke scale
_GROUPS = {"noisy": ("wrong labels", "difficult"), "clean": ("clean", "easy"), "matched": ("equal margin", "random")}
_PANELS = {
    "initial": "one layer at its initial weights",
    "early": "one layer of the early epoch",
    "retrained": "one layer trained anew",
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return what was measured of each network: dataset, seed, state, epoch (of the
    weights), layer (from 1), group, id, measure, value.

    State: initial or early, what one layer is set back to; then, all layers of the early epoch; retrained; whole
    (nothing is changed); never (trained on clean examples alone); units. Networks are measured first where needed.
    """
    tables = {(source.config.dataset.name, source.config.seed): _measured(source.config) for source in sources}
    parts = []
    for (name, seed), table in tables.items():
        others = [each for (dataset, other), each in tables.items() if dataset == name and other != seed]
        parts.append(_states(table, early_epoch(others or [table])).assign(dataset=name, seed=seed))
    columns = ["dataset", "seed", "state", "epoch", "layer", "group", "id", "measure", "value"]
    return Plotted(pd.concat(parts, ignore_index=True)[columns])


def _measured(config: RunConfig) -> pd.DataFrame:
    options: dict[str, dict[str, Any]] = {"rewind": {}, "retrain": {}, "neurons": {}}
    if config.scale == "smoke":
        options["neurons"] = _FEW
    runs = [
        ProbeRun.of({"name": name, **given}, [config], config.device, config.scale) for name, given in options.items()
    ]
    return pd.concat([read_probes(probe(run)) for run in runs], ignore_index=True)


def early_epoch(tables: Sequence[pd.DataFrame]) -> int:
    """Return the kept epoch with the largest mean lead of clean over wrong labels, of whole networks at that epoch."""
    rows = pd.concat(
        [table.query("probe == 'rewind' and block == 'all' and measure == 'accuracy'") for table in tables]
    )
    right = rows[rows["epoch"] > 0].groupby(["epoch", "group"])["value"].mean().unstack()
    leads = (right["clean"] - right["noisy"]).sort_values(kind="stable")
    return int(leads.index.to_numpy()[-1])


def _states(table: pd.DataFrame, early: int) -> pd.DataFrame:
    """Return the rows that are drawn, with a state and a layer for each."""
    names = [name for name in table.query("probe == 'rewind'")["block"].unique() if name not in ("none", "all")]
    table = table.assign(layer=table["block"].map({name: number for number, name in enumerate(names, start=1)}))
    rewound, retrained = table["probe"] == "rewind", table["probe"] == "retrain"
    one, whole = table["layer"].notna(), table["block"] == "all"
    states = {
        "initial": rewound & one & (table["epoch"] == 0),
        "early": rewound & one & (table["epoch"] == early),
        "then": rewound & whole & (table["epoch"] == early),
        "whole": rewound & (table["block"] == "none"),
        "retrained": retrained & one,
        "never": retrained & whole,
        "units": (table["probe"] == "neurons") & whole,
    }
    return pd.concat([table[which].assign(state=state) for state, which in states.items()])


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, by data set, a value for each seed."""
    return {
        f"{measure}_{name}": values
        for name, rows in numbers.groupby("dataset")
        for measure, values in _of_one_data_set(rows).items()
    }


def _of_one_data_set(numbers: pd.DataFrame) -> dict[str, list[float]]:
    last = int(numbers["layer"].max())
    accuracy = numbers[numbers["measure"] == "accuracy"]

    def right(state: str, group: str, layer: int | None = None) -> np.ndarray:
        rows = accuracy[(accuracy["state"] == state) & (accuracy["group"] == group)]
        rows = rows if layer is None else rows[rows["layer"] == layer]
        return rows.sort_values("seed")["value"].to_numpy()

    late, first = right("early", "noisy", last), right("early", "noisy", 1)
    matched, margin = (_fewer(numbers, measure, "matched") for measure in ("units", "margin"))
    return {
        "late": late.tolist(),
        "then": right("then", "noisy").tolist(),
        "fitted": right("whole", "noisy").tolist(),
        "early_minus_late": (first - late).tolist(),
        "early_clean": right("early", "clean", 1).tolist(),
        "retrained": (right("retrained", "noisy", last) - right("never", "noisy")).tolist(),
        "matched": matched,
        "beyond_margin": np.subtract(matched, margin).tolist(),
        "clean": _fewer(numbers, "units", "clean"),
        "margin": _fewer(numbers, "margin", "clean"),
        "matched_margin": margin,
        "random_units": _fewer(numbers, "random_units", "matched"),
        "others_lost": numbers[(numbers["measure"] == "others_lost") & (numbers["group"] == "noisy")]
        .groupby("seed")["value"]
        .mean()
        .tolist(),
    }


def _fewer(numbers: pd.DataFrame, measure: str, against: str) -> list[float]:
    """Return, by seed, the AUROC of minus a measure for wrong labels against a group of clean examples."""
    rows = numbers[(numbers["measure"] == measure) & numbers["group"].isin(["noisy", against])]
    by_seed = [(-each["value"].to_numpy(), (each["group"] == "noisy").to_numpy()) for _, each in rows.groupby("seed")]
    return [auroc(values, noisy)(np.ones(len(values), dtype=np.int64)) for values, noisy in by_seed]


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw what is right with one layer changed, by layer, and how many units are zeroed until predictions flip."""
    names = list(dict.fromkeys(numbers["dataset"]))
    picture, grid = plt.subplots(len(names), 4, figsize=(12, 3.2 * len(names)), squeeze=False, layout="constrained")
    letters = iter("abcdefgh")
    for name, line in zip(names, grid, strict=True):
        drawn = numbers[numbers["dataset"] == name]
        for axes, (state, title) in zip(line, _PANELS.items(), strict=False):
            panel(axes, next(letters), title)
            _layers(axes, drawn, state)
        line[0].set_ylabel(f"{DATASETS[name].title}: share right")
        panel(line[3], next(letters), "units until it flips")
        _units(line[3], drawn[drawn["measure"] == "units"])
    # beneath the curves of MNIST, which rise; the other row has the same ones
    for axes in grid[0, [0, 2]]:
        axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.03))
    grid[0, 3].legend(fontsize=7, loc="lower right")
    return picture


def _layers(axes: Axes, numbers: pd.DataFrame, state: str) -> None:
    rows = numbers[numbers["measure"] == "accuracy"]
    for group in ("noisy", "clean"):
        (words, colour), mine = _GROUPS[group], rows[rows["group"] == group]
        by_layer = mine[mine["state"] == state].groupby("layer")["value"]
        name = None if state == "retrained" else words  # as in the panels before it
        axes.plot(by_layer.mean(), "o-", color=COLOURS[colour], markersize=4, label=name)
        axes.fill_between(by_layer.mean().index, by_layer.min(), by_layer.max(), color=COLOURS[colour], alpha=0.2)
        if state == "retrained":
            never = mine[mine["state"] == "never"]["value"].mean()
            axes.axhline(never, color=COLOURS[colour], linestyle=":", linewidth=1, label=f"{words}, all trained anew")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(sorted(rows["layer"].dropna().unique()))
    axes.set_xlabel("layer")


def _units(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the share of examples whose prediction flips without so many units."""
    most = int(rows["value"][np.isfinite(rows["value"])].max())
    counts = np.arange(1, most + 1)
    for group, (words, colour) in _GROUPS.items():
        values = rows[rows["group"] == group]["value"].to_numpy()
        axes.step(
            counts, [(values <= count).mean() for count in counts], color=COLOURS[colour], label=words, where="post"
        )
    axes.set_ylim(-0.02, 1.02)
    axes.set_xscale("log")
    axes.set_xlabel("units")
    axes.set_ylabel("share of examples")
