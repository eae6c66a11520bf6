"""Study: how many examples are trained on until the wrong labels are found, by one turn-over run or by an ensemble.

Both may stop as soon as the AUROC for wrong labels reaches .98: the run after any of its scored epochs, the ensemble
(Feldman and Zhang, 2020) after any number of networks, each trained for whichever number of epochs is cheapest.
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.estimators import SubsamplingEstimator
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.estimators.subsampling import memorization, with_and_without
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import parameters
from turnover.runs.store.tables import Members, read_members, read_scores, scores_by_epoch
from turnover.stats.measures import auroc

AIM = 0.98  # of the AUROC
_COLUMNS = 3
ONE_RUN, _RIGHT, _LOSS = "one turn-over run", "ensemble", "ensemble, by losses"
_LINES = {
    ONE_RUN: (COLOURS["own"], "o", "-"),
    _RIGHT: (COLOURS["difficult"], "s", "-"),
    _LOSS: (COLOURS["easy"], "^", "--"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """AUROC for wrong labels against trained examples, of each seed's run and ensembles.

    Raises:
        RefusedInput: a seed has a run but no ensemble, or the reverse.
    """
    numbers = pd.concat([rows(source) for source in sources], ignore_index=True)
    larger = _larger(sources)
    values = {"saving_arithmetic": [saving / larger for saving in measures(numbers)["saving"]]}
    return Plotted(numbers, values, summary={"larger": larger})


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """What is counted."""
    return (
        "Examples trained on: each epoch of each network counts. Of the ensembles, a point for each number of networks."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """A panel for each length of the ensembles' trainings, beside the same turn-over run, and their key."""
    ensembles = numbers[numbers["method"] != ONE_RUN]
    lengths = sorted(ensembles["epochs"].unique())
    lines = -(-(len(lengths) + 1) // _COLUMNS)  # one place for the key
    picture, grid = plt.subplots(
        lines, _COLUMNS, figsize=(8.5, 0.6 + 2.3 * lines), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for number, (axes, epochs) in enumerate(zip(grid.flat, lengths, strict=False)):
        panel(axes, ascii_lowercase[number], f"networks of {epochs} epochs")
        for method in _LINES:
            part = numbers[numbers["method"] == method]
            _line(axes, part if method == ONE_RUN else part[part["epochs"] == epochs], method)
        axes.axhline(AIM, color=COLOURS["all"], linewidth=0.6, linestyle=(0, (1, 3)), label=f"aim: {AIM:g}")
        axes.set_xscale("log")
        lowest = number + _COLUMNS >= len(lengths)
        axes.tick_params(labelbottom=lowest)
        axes.set_xlabel("examples trained on" if lowest else "")
        axes.set_ylabel("AUROC for wrong labels" if number % _COLUMNS == 0 else "")
    for axes in grid.flat[len(lengths) :]:
        axes.axis("off")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    title = "mean and range over seeds"
    grid.flat[len(lengths)].legend(handles, labels, title=title, title_fontsize=8, fontsize=8, loc="center")
    return picture


def _line(axes: Axes, table: pd.DataFrame, method: str) -> None:
    colour, marker, style = _LINES[method]
    over = table.groupby("trained")["auroc"].agg(["mean", "min", "max"])
    every = max(1, len(over) // 12)
    axes.plot(over.index, over["mean"], style, color=colour, marker=marker, markersize=3, markevery=every, label=method)
    axes.fill_between(over.index, over["min"], over["max"], color=colour, alpha=0.15, linewidth=0)


def costs(numbers: pd.DataFrame) -> pd.DataFrame:
    """Trained examples until the aim is reached first; infinite: never.  # index: seed; a column for each method"""
    reached = numbers[numbers["auroc"] >= AIM].groupby(["seed", "method"])["trained"].min()
    table = reached.unstack().reindex(index=sorted(numbers["seed"].unique()), columns=list(_LINES))
    missing = numbers.groupby(["seed", "method"]).size().unstack().reindex(columns=list(_LINES)).isna().any(axis=1)
    if missing.any():
        raise RefusedInput(f"seed {missing.idxmax()} has not both a turn-over run and an ensemble: draw the same seeds")
    return table.fillna(np.inf)


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """When each method reaches the aim."""
    reached = {method: {str(seed): _count(each) for seed, each in by.items()} for method, by in costs(numbers).items()}
    return rest | {"aim": AIM, "trained_until": reached}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """How many times the examples of the turn-over run an ensemble needs; how large networks are is in no table.

    An ensemble too small to reach the aim needs more than it had; a run that does not reach it saves nothing.
    """
    cheapest, most = costs(numbers), numbers.groupby("method")["trained"].max()
    return {
        name: (cheapest[each].clip(upper=most[each]) / cheapest[ONE_RUN]).tolist()
        for name, each in (("saving", _RIGHT), ("saving_loss", _LOSS))
    }


def rows(source: Source) -> pd.DataFrame:
    """method, seed, epochs, networks, trained, auroc: one row for each moment at which one might stop."""
    config, table = source.config, read_scores(source.folder)
    wrong = (table["label"] != table["true_label"]).sort_index()

    def detected(scores: pd.Series) -> float:
        filled = scores.fillna(scores.median()).reindex(wrong.index)  # few networks leave examples without a score
        # as float32: differences of shares that are equal but for their rounding are ties
        return auroc(filled.to_numpy(dtype=np.float32), wrong.to_numpy())(np.ones(len(wrong)))

    found: list[tuple[str, int, int, int, float]] = []
    if not isinstance(config.estimator, SubsamplingEstimator):
        for epoch, scores in scores_by_epoch(source.folder).items():
            found.append((ONE_RUN, int(str(epoch)), 1, len(wrong) * int(str(epoch)), detected(scores)))
    else:
        members = read_members(source.folder)
        each = int(members.included[0].sum()) * config.epochs
        for count in range(2, len(members.included) + 1):
            for method, scores in _forms(members, count).items():
                found.append((method, config.epochs, count, count * each, detected(scores)))
    columns = ["method", "epochs", "networks", "trained", "auroc"]
    return pd.DataFrame(found, columns=columns).assign(seed=config.seed)


def _forms(members: Members, count: int) -> dict[str, pd.Series]:
    """Memorization by the first networks: right with an example minus without it; loss without it minus with it."""
    included = members.included[:count]
    losses = F.softplus(-members.confidence[:count].double())
    with_it, without = with_and_without(losses, included)
    forms = {_RIGHT: memorization(members.right[:count], included), _LOSS: without - with_it}
    return {name: pd.Series(values.numpy(), index=members.ids) for name, values in forms.items()}


def _larger(sources: Sequence[Source]) -> float:
    """Parameters of the network with turn-over dropout over those of a network of the ensemble."""
    sizes = {isinstance(each.config.estimator, SubsamplingEstimator): parameters(each.config) for each in sources}
    return sizes[False] / sizes[True]


def _count(trained: float) -> int | None:
    return int(trained) if np.isfinite(trained) else None
