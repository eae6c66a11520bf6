"""Study: which training rules keep a network from learning wrong labels by heart, and what their test accuracy is."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.datasets import DATASETS
from turnover.config.probe_run import ProbeRun
from turnover.config.run import PrunedSubsets, RunConfig
from turnover.experiments.plots.curves import METRIC, curves, panels, rows
from turnover.experiments.plots.dots import SHARES, dots, named
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import falls
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.probing import probe
from turnover.runs.store.tables import read_probes

_PLAIN, _RIGHT = "plain", "right"
_WORDS = {
    _PLAIN: "cross-entropy",
    "label_smoothing": "label smoothing",
    "weight_decay": "weight decay",
    "elr": "ELR",
    "small_loss": "small loss*",
    "co_teaching": "co-teaching*",
    "clipping": "clipped gradients",
    "gce": "generalized cross-entropy",
    "rll": "robust log loss",
    _RIGHT: "without the wrong labels",
}
_CLAIMED = ("gce", "rll", "elr", "small_loss", "co_teaching")
_MEASURED = {("clean", "full_given"): "clean", ("noisy", "full_given"): "wrong", ("noisy", "full_true"): "true"}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each number: panel ("mnist test"), curve (the method), seed, epoch, value.

    Panels: test (accuracy after each epoch); after the last one clean (examples right), wrong (labels fitted) and true
    (wrong labels in whose place the true one is given). Networks are measured first, where they were not.
    """
    of_method: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        of_method.setdefault((source.config.dataset.name, method_of(source.config)), []).append(source)
    parts = []
    for (name, method), mine in of_method.items():
        parts.append(rows(curves(mine, "test", "all", METRIC), f"{name} test", method))
        measured = ProbeRun.of(
            {"name": "labels"}, [each.config for each in mine], mine[0].config.device, mine[0].config.scale
        )
        found = read_probes(probe(measured)).set_index(["run", "group", "measure"])["value"]
        for source, (key, part) in product(mine, _MEASURED.items()):
            if (place := (source.folder.name, *key)) in found.index:  # who leaves wrong labels out has none
                last = pd.DataFrame({source.config.seed: [found[place]]}, index=[source.config.epochs])
                parts.append(rows(last, f"{name} {part}", method))
    return Plotted(pd.concat(parts, ignore_index=True))


def method_of(config: RunConfig) -> str:
    """Return what a run does against wrong labels; right: it leaves them out."""
    if isinstance(config.subsets, PrunedSubsets):
        return _RIGHT
    return "weight_decay" if config.optimizer.weight_decay else config.method.name


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    tables = panels(numbers)
    result: dict[str, list[float]] = {}
    for name in _datasets(numbers):
        last = {
            part: {method: table.iloc[-1] for method, table in tables[f"{name} {part}"].items()}
            for part in ("test", *SHARES)
        }
        fall, alone = (
            pd.Series(falls(tables[f"{name} test"][method]), last["test"][method].index) for method in (_PLAIN, _RIGHT)
        )
        values = {"plain_fall": fall, "right_fall": alone, "plain_wrong": last["wrong"][_PLAIN]}
        for method in _CLAIMED:
            values[f"{method}_wrong"] = last["wrong"][method] - last["wrong"][_PLAIN]
            values[f"{method}_last"] = last["test"][method] - last["test"][_PLAIN]
            values[f"{method}_best"] = values[f"{method}_last"] - fall
            values[f"{method}_true"] = last["true"][method] - last["true"][_PLAIN]
            values[f"{method}_clean"] = last["clean"][method]
        result |= {f"{measure}_{name}": of_seeds.tolist() for measure, of_seeds in values.items()}
    return result


def _datasets(numbers: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[0] for name in numbers["panel"]))


def drawn(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs that are trained on all examples, which the notes describe."""
    return [config for config in configs if method_of(config) != _RIGHT]


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    return (
        "Points: means over seeds with their range. Best epoch: that of the other seeds, known by the test set. "
        "* is told the share of wrong labels. Without the wrong labels: in as many steps."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw test accuracy at the last and at the best epoch, and what became of wrong labels, a line for each method."""
    names, tables = _datasets(numbers), panels(numbers)
    picture, grid = plt.subplots(
        len(names), 2, figsize=(10, 3.7 * len(names)), layout="constrained", squeeze=False, sharey="row"
    )
    letters = iter("abcd")
    for (left, right), name in zip(grid, names, strict=True):
        test = tables[f"{name} test"]
        methods = [method for method in _WORDS if method in test]
        panel(left, next(letters), f"{DATASETS[name].title}: test accuracy")
        last = {method: table.iloc[-1] for method, table in test.items()}
        best = {method: last[method] + falls(table) for method, table in test.items()}
        dots(left, methods, best, "best epoch", "fresh", "D", 0.15)
        dots(left, methods, last, "last epoch", "all", "o", -0.15)
        words = "cross-entropy stopped at its best epoch"
        left.axvline(best[_PLAIN].mean(), color=COLOURS["difficult"], linestyle=":", linewidth=1, label=words)
        panel(right, next(letters), f"{DATASETS[name].title}: training examples after the last epoch")
        for part, (words, colour, marker) in SHARES.items():
            shares = {method: table.iloc[-1] for method, table in tables[f"{name} {part}"].items()}
            dots(right, methods, shares, words, colour, marker)
        right.set_xlim(-0.03, 1.03)
        left.xaxis.set_major_locator(MaxNLocator(6))
        named(left, [_WORDS[method] for method in methods])
    grid[-1, 0].set_xlabel("accuracy")
    grid[-1, 1].set_xlabel("share of examples")
    for axes in grid[-1]:
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return picture
