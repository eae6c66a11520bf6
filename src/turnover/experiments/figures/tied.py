"""Study: networks that keep what they memorize in units of its own examples, which are dropped (Maini et al., 2023)."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.datasets import DATASETS
from turnover.config.options import ExampleTiedConfig, TurnoverConfig
from turnover.config.probe_run import ProbeRun
from turnover.config.run import RunConfig
from turnover.experiments.plots.dots import SHARES, dots, named
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_probes

# network and units
_LINES = {
    "plain full": "ordinary network",
    "dropout full": "ordinary dropout",
    "turnover own": "turn-over: own units",
    "turnover full": "turn-over: all units",
    "turnover flipped": "turn-over: all but own units",
    "tied own": "example-tied: own and shared units",
    "tied full": "example-tied: all units",
    "tied flipped": "example-tied: shared units alone",
}
_MEASURED = {
    ("clean", "given"): "clean",
    ("noisy", "given"): "wrong",
    ("noisy", "true"): "true",
    ("test", "given"): "test",
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each number: dataset, network, units, seed, share, value.

    Networks: plain, dropout, turnover, tied. Units: full, own, flipped, which of tied networks are the shared ones
    alone. Shares: test (accuracy), clean (examples right), wrong (labels fitted), true (wrong labels in whose place
    the true one is given). Networks are measured first, where they were not.
    """
    parts = []
    for source in sources:
        config = source.config
        table = read_probes(probe(ProbeRun.of({"name": "labels"}, [config], config.device, config.scale)))
        measured = table["measure"].str.split("_", expand=True)
        shares = [_MEASURED[key] for key in zip(table["group"], measured[1], strict=True)]
        known = {"dataset": config.dataset.name, "network": network_of(config), "seed": config.seed}
        parts.append(pd.DataFrame({**known, "units": measured[0], "share": shares, "value": table["value"]}))
    return Plotted(pd.concat(parts, ignore_index=True))


def network_of(config: RunConfig) -> str:
    """Return the kind of a run's network."""
    if isinstance(config.turnover, TurnoverConfig):
        return "tied" if config.turnover.name == "example_tied" else "turnover"
    return "dropout" if config.model.model_dump().get("dropout") else "plain"


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    result: dict[str, list[float]] = {}
    for name, mine in numbers.groupby("dataset"):
        of = _by_seed(mine)
        plain = of["plain full", "test"]
        values = {
            "shared_wrong": of["tied flipped", "wrong"],
            "shared_clean": of["tied flipped", "clean"],
            "shared_true": of["tied flipped", "true"],
            "own_wrong": of["tied own", "wrong"],
            "flipped_wrong": of["turnover flipped", "wrong"],
            "flipped_clean": of["turnover flipped", "clean"],
            "dropout_wrong": of["dropout full", "wrong"],
            "shared_test": of["tied flipped", "test"] - plain,
            "dropout_test": of["dropout full", "test"] - plain,
            "flipped_test": of["turnover flipped", "test"] - plain,
            "full_test": of["tied full", "test"] - plain,
        }
        result |= {f"{measure}_{name}": of_seeds.tolist() for measure, of_seeds in values.items()}
    return result


def _by_seed(rows: pd.DataFrame) -> dict[tuple[str, str], pd.Series]:
    """Return values by seed, of each network with its units, and share."""
    lines = rows["network"] + " " + rows["units"]
    return {
        (str(line), str(share)): each.set_index("seed")["value"].sort_index()
        for (line, share), each in rows.groupby([lines, rows["share"]])
    }


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    tied = next(config.turnover for config in configs if isinstance(config.turnover, ExampleTiedConfig))
    return (
        f"Points: means over seeds with their range. Example-tied: {tied.shared:.0%} of the units are shared, and an "
        f"example trains {tied.p:.0%} of the others; turn-over and ordinary dropout: half of the units. In "
        "convolutional networks all of that is in the last block alone."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw what is right of training examples, and test accuracy, a line for each network and its units."""
    names = list(numbers["dataset"].unique())
    picture, grid = plt.subplots(
        len(names), 2, figsize=(10, 3.4 * len(names)), layout="constrained", squeeze=False, sharey="row"
    )
    letters = iter("abcd")
    for (left, right), name in zip(grid, names, strict=True):
        of = _by_seed(numbers[numbers["dataset"] == name])
        panel(left, next(letters), f"{DATASETS[name].title}: training examples")
        for share, look in SHARES.items():
            dots(left, [*_LINES], {line: of[line, share] for line in _LINES}, *look)
        left.set_xlim(-0.03, 1.03)
        named(left, [*_LINES.values()])
        panel(right, next(letters), f"{DATASETS[name].title}: test examples")
        dots(right, [*_LINES], {line: of[line, "test"] for line in _LINES if (line, "test") in of}, "right", "own", "D")
        right.xaxis.set_major_locator(MaxNLocator(6))
    grid[-1, 0].set_xlabel("share of examples")
    grid[-1, 1].set_xlabel("accuracy")
    grid[-1, 0].legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return picture
