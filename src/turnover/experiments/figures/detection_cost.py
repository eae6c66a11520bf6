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
from turnover.estimators.subsampling import excess_loss, memorization
from turnover.experiments.plots.curves import band, outer_labels
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
    """Return AUROC for wrong labels against trained examples, of each seed's run and ensembles.

    Raises:
        RefusedInput: a seed has a run but no ensemble, or the reverse.
    """
    numbers = pd.concat([rows(source) for source in sources], ignore_index=True)
    # parameters of the network with turn-over dropout over those of a network of the ensemble
    sizes = {_is_ensemble(source.config): parameters(source.config) for source in sources}
    larger = sizes[False] / sizes[True]
    values = {"saving_arithmetic": [saving / larger for saving in measures(numbers)["saving"]]}
    return Plotted(numbers, values, summary={"larger": larger})


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return what is counted, as a line under the picture."""
    return (
        "Examples trained on: each epoch of each network counts. Of the ensembles, a point for each number of networks."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each length of the ensembles' trainings, beside the same turn-over run, and their key."""
    ensembles = numbers[numbers["method"] != ONE_RUN]
    lengths = sorted(ensembles["epochs"].unique())
    lines = -(-(len(lengths) + 1) // _COLUMNS)  # one place for the key
    picture, grid = plt.subplots(
        lines, _COLUMNS, figsize=(8.5, 0.6 + 2.3 * lines), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for letter, axes, epochs in zip(ascii_lowercase, grid.flat, lengths, strict=False):
        panel(axes, letter, f"networks of {epochs} epochs")
        for method in _LINES:
            mine = numbers[(numbers["method"] == method) & ((method == ONE_RUN) | (numbers["epochs"] == epochs))]
            _line(axes, mine, method)
        axes.axhline(AIM, color=COLOURS["all"], linewidth=0.6, linestyle=(0, (1, 3)), label=f"aim: {AIM:g}")
        axes.set_xscale("log")
    outer_labels(grid, len(lengths), "examples trained on", "AUROC for wrong labels")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    title = "mean and range over seeds"
    grid.flat[len(lengths)].legend(handles, labels, title=title, title_fontsize=8, fontsize=8, loc="center")
    return picture


def _line(axes: Axes, table: pd.DataFrame, method: str) -> None:
    colour, marker, style = _LINES[method]
    every = max(1, table["trained"].nunique() // 12)
    look = {"linestyle": style, "marker": marker, "markersize": 3, "markevery": every, "label": method}
    band(axes, table.groupby("trained")["auroc"], colour, alpha=0.15, **look)


def costs(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return examples trained on until the aim is reached; infinite: never.  # index: seed; a column for each method"""
    reached = numbers[numbers["auroc"] >= AIM].groupby(["seed", "method"])["trained"].min()
    table = reached.unstack().reindex(index=sorted(numbers["seed"].unique()), columns=list(_LINES))
    missing = numbers.groupby(["seed", "method"]).size().unstack().reindex(columns=list(_LINES)).isna().any(axis=1)
    if missing.any():
        raise RefusedInput(f"seed {missing.idxmax()} has not both a turn-over run and an ensemble: draw the same seeds")
    return table.fillna(np.inf)


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return after how many examples each method reaches the aim."""
    trained = {
        method: {str(seed): int(count) if np.isfinite(count) else None for seed, count in by_seed.items()}
        for method, by_seed in costs(numbers).items()
    }
    return rest | {"aim": AIM, "trained_until": trained}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return how many times the examples of the turn-over run an ensemble needs, by seed.

    An ensemble too small to reach the aim needs more than it had; a run that does not reach it saves nothing.
    """
    cheapest, most = costs(numbers), numbers.groupby("method")["trained"].max()
    return {
        name: (cheapest[method].clip(upper=most[method]) / cheapest[ONE_RUN]).tolist()
        for name, method in (("saving", _RIGHT), ("saving_loss", _LOSS))
    }


def rows(source: Source) -> pd.DataFrame:
    """Return a row for each moment to stop at: method, seed, epochs, networks, trained, auroc."""
    config, table = source.config, read_scores(source.folder)
    mislabelled = (table["label"] != table["true_label"]).sort_index()

    def detected(scores: pd.Series) -> float:
        filled = scores.fillna(scores.median()).reindex(
            mislabelled.index
        )  # few networks leave examples without a score
        # as float32: differences of shares that are equal but for their rounding are ties
        return auroc(filled.to_numpy(dtype=np.float32), mislabelled.to_numpy())(np.ones(len(mislabelled)))

    stops: list[tuple[str, int, int, int, float]] = []
    if _is_ensemble(config):
        members = read_members(source.folder)
        of_one = int(members.included[0].sum()) * config.epochs
        for count in range(2, len(members.included) + 1):
            for method, scores in _forms(members, count).items():
                stops.append((method, config.epochs, count, count * of_one, detected(scores)))
    else:
        for epoch, scores in scores_by_epoch(source.folder).items():
            stops.append((ONE_RUN, int(str(epoch)), 1, len(mislabelled) * int(str(epoch)), detected(scores)))
    columns = ["method", "epochs", "networks", "trained", "auroc"]
    return pd.DataFrame(stops, columns=columns).assign(seed=config.seed)


def _forms(members: Members, count: int) -> dict[str, pd.Series]:
    """Return memorization by the first networks: right with an example minus without it; and in losses."""
    included = members.included[:count]
    losses = F.softplus(-members.confidence[:count].double())
    forms = {_RIGHT: memorization(members.right[:count], included), _LOSS: excess_loss(losses, included)}
    return {name: pd.Series(values.numpy(), index=members.ids) for name, values in forms.items()}


def _is_ensemble(config: RunConfig) -> bool:
    return isinstance(config.estimator, SubsamplingEstimator)
