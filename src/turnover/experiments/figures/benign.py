"""Study: whether random labels alone teach features, by neighbours with true labels (Anagnostidis et al., 2023)."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.probe_run import ProbeRun
from turnover.config.probes import PROBES
from turnover.config.run import RunConfig
from turnover.config.training_options import CropAugmentation
from turnover.experiments.plots.curves import BAND, METRIC, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_metrics, read_probes

_LOOKS = {
    "initial": ("initial weights", "all", ":"),
    "plain": ("random labels", "difficult", "--"),
    "shifted": ("random labels, shifted images", "own", "-"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each number: dataset, seed, state, layer, measure (neighbours or fit), value.

    State: initial, plain or shifted, that is random labels on images as they are or shifted anew in every epoch;
    hidden layers count from 1, and layer 0 are the pixels. Networks are measured first, where they were not.
    """
    parts = []
    for source in sources:
        config = source.config
        state = "plain" if config.augmentation.name == "none" else "shifted"
        part = _neighbours(config, state)
        metrics = read_metrics(source.folder).query(f"split == 'train' and subset == 'all' and metric == '{METRIC}'")
        fit = {"state": state, "measure": "fit", "value": metrics.sort_values("epoch")["value"].iloc[-1]}
        part = pd.concat([part, pd.DataFrame([fit])], ignore_index=True)
        parts.append(part.assign(dataset=config.dataset.name, seed=config.seed))
    columns = ["dataset", "seed", "state", "layer", "measure", "value"]
    return Plotted(pd.concat(parts, ignore_index=True)[columns])


def _neighbours(config: RunConfig, state: str) -> pd.DataFrame:
    """Return state, layer, measure and value of hidden layers; initial weights and pixels with plain training alone."""
    table = read_probes(probe(ProbeRun.of({"name": "knn"}, [config], config.device, config.scale)))
    hidden = [name for name in table["block"].unique() if name != "input"][:-1]  # the last block are the logits
    layers = {"input": 0} | {name: number for number, name in enumerate(hidden, start=1)}
    table = table[table["block"].isin(list(layers))]
    states = table["epoch"].map({0: "initial", config.epochs: state})
    table = table.assign(layer=table["block"].map(layers), state=states, measure="neighbours")
    wanted = (table["state"] == state) & (table["layer"] > 0)
    return table[wanted | (state == "plain")][["state", "layer", "measure", "value"]]


def best_layers(trained: pd.DataFrame) -> list[int]:
    """Return, for each seed, the layer that is the most accurate in the mean of the other seeds.

    Args:
        trained: a row for each seed, a column for each layer; a single seed has only its own.
    """
    means = [(trained.drop(index=seed) if len(trained) > 1 else trained).mean() for seed in trained.index]
    return [int(mean.index.to_numpy()[mean.to_numpy().argmax()]) for mean in means]


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    result = {}
    for name, rows in numbers.groupby("dataset"):
        fits = rows[rows["measure"] == "fit"].pivot(index="seed", columns="state", values="value").sort_index()
        wide = rows[rows["measure"] == "neighbours"].pivot(index="seed", columns=["state", "layer"], values="value")
        wide = wide.sort_index()
        shifted, plain, initial = (_hidden(wide, state) for state in ("shifted", "plain", "initial"))
        best, last = best_layers(shifted), int(shifted.columns.max())

        def at_best(table: pd.DataFrame, best: Sequence[int] = best) -> pd.Series:
            values = [table.loc[seed, layer] for seed, layer in zip(table.index, best, strict=True)]
            return pd.Series(values, index=table.index)

        behind = shifted[last] - at_best(shifted)
        found = {
            "gain": at_best(shifted) - at_best(initial),
            "over_plain": at_best(shifted) - at_best(plain),
            "plain_gain": at_best(plain) - at_best(initial),
            "over_pixels": at_best(shifted) - wide["plain"][0],
            "behind": behind,
            "behind_initial": behind - (initial[last] - at_best(initial)),
            "last_gain": shifted[last] - initial[last],
            "last_plain_gain": plain[last] - initial[last],
            "fit_shifted": fits["shifted"],
            "fit_plain": fits["plain"],
        }
        result.update({f"{measure}_{name}": values.tolist() for measure, values in found.items()})
    return result


def _hidden(wide: pd.DataFrame, state: str) -> pd.DataFrame:
    """Return the hidden layers of a state.  # index: seed; columns: layer"""
    table = pd.DataFrame(wide[state])
    return table.drop(columns=0, errors="ignore")  # the pixels


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    crops = [(config.augmentation, config.dataset.info) for config in configs]
    pads = dict.fromkeys(f"{crop.pad} ({data.title})" for crop, data in crops if isinstance(crop, CropAugmentation))
    return (
        f"All labels are random. {PROBES['knn'].options['neighbours']} nearest training examples vote with their true "
        f"labels on test examples. Shifts: by up to so many pixels, anew in every epoch: {', '.join(pads)}."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw the accuracy of nearest neighbours by layer, and what training adds to initial weights."""
    names = list(numbers["dataset"].unique())
    size = (4.2 * len(names) + 1, 6)
    picture, grid = plt.subplots(2, len(names), figsize=size, layout="constrained", squeeze=False)
    rows = numbers[numbers["measure"] == "neighbours"]
    for number, name in enumerate(names):
        mine, (above, below) = rows[rows["dataset"] == name], grid[:, number]
        panel(above, "abcd"[number], f"{DATASETS[name].title}: accuracy of neighbours")
        panel(below, "abcd"[number + len(names)], f"{DATASETS[name].title}: minus initial weights")
        _by_layer(above, mine)
        wide = mine[mine["layer"] > 0].pivot(index=["seed", "layer"], columns="state", values="value")
        gains = wide[["plain", "shifted"]].sub(wide["initial"], axis=0).rename_axis(columns="state")
        _by_layer(below, gains.stack().rename("value").reset_index())
        below.axhline(0, color=COLOURS["all"], linewidth=0.8)
        below.set_xlabel("hidden layer")
    grid[0, 0].set_ylabel("share right")
    grid[1, 0].set_ylabel("difference of shares")
    grid[0, 0].legend(fontsize=7, title=BAND, title_fontsize=7, alignment="left")
    return picture


def _by_layer(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw means over seeds by hidden layer, in a band from lowest to highest, and the pixels across all layers."""
    for state, (words, colour, dashes) in _LOOKS.items():
        mine = rows[(rows["state"] == state) & (rows["layer"] > 0)]
        if len(mine):
            look: dict[str, Any] = {"linestyle": dashes, "marker": "o", "markersize": 4, "label": words}
            band(axes, mine.groupby("layer")["value"], COLOURS[colour], **look)
    layers = sorted(rows["layer"][rows["layer"] > 0].unique())
    axes.set_xticks(layers)
    pixels = rows[rows["layer"] == 0]["value"]
    if len(pixels):
        axes.plot([layers[0], layers[-1]], [pixels.mean()] * 2, color=COLOURS["easy"], linestyle="-.", label="pixels")
        ends = [layers[0], layers[-1]]
        axes.fill_between(ends, pixels.min(), pixels.max(), color=COLOURS["easy"], alpha=0.15, linewidth=0)
