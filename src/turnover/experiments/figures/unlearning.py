"""Study: forgetting of what other networks found hardest, by fine-tuning, or without own units, against retraining."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.options import TurnoverConfig
from turnover.config.probe_run import ProbeRun
from turnover.config.probes import PROBES
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_probes

_PANELS = {
    "forgotten accuracy": "forgotten examples right",
    "forgotten lower": "lower loss than retrained",
    "test accuracy": "test accuracy",
}
_AFTER = {"plain": "tuned", "tied": "scrubbed"}
# of what is compared with retraining
_MEASURES = {"forgotten accuracy": "left", "forgotten exposure": "exposed", "test accuracy": "test"}
_LOOKS = {"plain": ("plain network", "all"), "tied": ("own and shared units", "own")}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each number: dataset, network (plain or tied), seed, examples to forget, state, measure, value.

    State: trained, tuned, scrubbed or retrained, as `turnover.probes.unlearn` says. Networks are measured first, where
    they were not.
    """
    parts = []
    for source in sources:
        config = source.config
        run = ProbeRun.of({"name": "unlearn"}, [config], config.device, config.scale)
        table = read_probes(probe(run))
        states = table["measure"].str.split("_", expand=True)
        parts.append(
            pd.DataFrame(
                {
                    "dataset": config.dataset.name,
                    "network": "tied" if isinstance(config.turnover, TurnoverConfig) else "plain",
                    "seed": config.seed,
                    "examples": config.subset_size,
                    "state": states[0],
                    "measure": table["group"] + " " + states[1],
                    "value": table["value"],
                }
            )
        )
    return Plotted(pd.concat(parts, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return, by seed, what is left of the forgotten examples beyond retraining, and what it costs in test accuracy."""
    result = {}
    for name, rows in numbers.groupby("dataset"):
        wide = rows.pivot(index="seed", columns=["network", "state", "measure"], values="value").sort_index()
        for network, after in _AFTER.items():
            states = wide[network]
            for measure, words in _MEASURES.items():
                result[f"{after}_{words}_{name}"] = (states[after][measure] - states["retrained"][measure]).tolist()
            lower, test = states[after]["forgotten lower"], states[after]["test accuracy"]
            result[f"{after}_lower_{name}"] = lower.tolist()
            result[f"{after}_higher_{name}"] = (1 - lower).tolist()
            result[f"{after}_full_{name}"] = (test - states["trained"]["test accuracy"]).tolist()
            result[f"{after}_plain_{name}"] = (test - wide["plain"]["retrained"]["test accuracy"]).tolist()
            result[f"{network}_trained_{name}"] = states["trained"]["forgotten accuracy"].tolist()
    return result


def items(numbers: pd.DataFrame) -> dict[str, int]:
    """Return how many examples all seeds forget, each its own, where a measure is a share of them."""
    counts = numbers.groupby(["dataset", "seed"])["examples"].first().groupby("dataset").sum()
    return {f"{network}_trained_{name}": int(count) for name, count in counts.items() for network in _AFTER}


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    epochs = PROBES["unlearn"].options["epochs"]
    return (
        f"Forgotten are the difficult examples. Fine-tuning: {epochs} epochs without them. Test accuracy of trained "
        "networks is that of all units."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw accuracy on the forgotten examples, what their losses tell, and test accuracy, by what was done."""
    names = list(numbers["dataset"].unique())
    picture, grid = plt.subplots(
        len(names), 3, figsize=(11, 3.3 * len(names)), layout="constrained", squeeze=False, sharex=True
    )
    letters = iter("abcdefghi")
    for row, name in zip(grid, names, strict=True):
        for axes, (measure, title) in zip(row, _PANELS.items(), strict=True):
            panel(axes, next(letters), f"{DATASETS[name].title}: {title}")
            _points(axes, numbers[(numbers["dataset"] == name) & (numbers["measure"] == measure)])
            if measure != "test accuracy":
                axes.set_ylim(-0.03, 1.03)
            if measure == "forgotten lower":
                axes.axhline(0.5, color=COLOURS["difficult"], linestyle=":", linewidth=1, label="as if never seen")
        row[0].set_ylabel("share of examples")
        row[1].set_ylabel("share of pairs")
        row[2].set_ylabel("accuracy")
    grid[0, 1].legend(fontsize=7, title="mean and range over seeds", title_fontsize=7, alignment="left")
    return picture


def _points(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw means over seeds with their range, plain networks beside those with own and shared units."""
    for shift, (network, (words, colour)) in zip((-0.1, 0.1), _LOOKS.items(), strict=True):
        states = ("trained", _AFTER[network], "retrained")
        values = [rows[(rows["network"] == network) & (rows["state"] == state)]["value"] for state in states]
        means = np.array([each.mean() for each in values])
        lowest, highest = (np.array([getattr(each, end)() for each in values]) for end in ("min", "max"))
        places = np.arange(len(states)) + shift
        axes.errorbar(places, means, [means - lowest, highest - means], fmt="o", color=COLOURS[colour], label=words)
    axes.set_xticks(range(3), ["trained", "fine-tuned, or\nown units dropped", "retrained\nwithout them"], fontsize=8)
    axes.set_xlim(-0.5, 2.5)
