"""Study: how much arithmetic it takes to find the wrong labels, by one turn-over run and by every other way.

Each may stop as soon as the AUROC for wrong labels reaches .98: one network, of turn-over dropout or an ordinary one
(EL2N, Paul et al., 2021; cumulative loss, Ravikumar et al., 2025), after any of the epochs that were tried; an ensemble
(Feldman and Zhang, 2020) and blocks after any number of networks, each trained for whichever of the numbers of epochs
that were tried is cheapest.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from turnover.config.estimators import BlocksEstimator, OneRunEstimator, SubsamplingEstimator, TurnoverEstimator
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.estimators.blocks import block_estimates
from turnover.estimators.subsampling import excess_loss, memorization
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import FEWEST_PAIRS
from turnover.experiments.validation.operations import of_scoring, of_training
from turnover.runs.store.members import read_members
from turnover.runs.store.tables import read_scores, scores_by_epoch
from turnover.stats.measures import auroc

AIM = 0.98  # of the AUROC
_ERRORS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # that the axis names
ONE_RUN, _EL2N, _CUMULATIVE = "one turn-over run", "EL2N of one network", "cumulative loss of one network"
_BLOCKS, _LOSSES, _RIGHT = "blocks", "ensemble by losses", "ensemble by right answers"
_OTHERS = {  # by the measure of what is saved
    "saving_el2n": _EL2N,
    "saving_cumulative_loss": _CUMULATIVE,
    "saving_blocks": _BLOCKS,
    "saving_losses": _LOSSES,
    "saving_right": _RIGHT,
}
_LINES = {
    ONE_RUN: (COLOURS["own"], "o", "-"),
    _EL2N: (COLOURS["flipped"], "D", "--"),
    _CUMULATIVE: (COLOURS["constant"], "v", "-."),
    _BLOCKS: (COLOURS["random"], "P", ":"),
    _LOSSES: (COLOURS["easy"], "^", "--"),
    _RIGHT: (COLOURS["difficult"], "s", "-"),
}


class Stop(NamedTuple):
    """A moment at which a way to find wrong labels may stop."""

    method: str
    epochs: int  # of each network
    networks: int
    trained: int  # examples, in every epoch of every network
    operations: float  # of training, and of the pass over all examples by each network that scores
    scores: pd.Series  # index "id"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return AUROC for wrong labels against cost, of each seed's runs: method, epochs, networks, trained, cost, seed.

    Cost is arithmetic in ordinary trainings: as long as that of turn-over dropout, of the network without it.
    """
    numbers = pd.concat([rows(source) for source in sources], ignore_index=True)
    [long, *_] = [source.config for source in sources if isinstance(source.config.estimator, TurnoverEstimator)]
    [ordinary, *_] = [source.config for source in sources if isinstance(source.config.estimator, OneRunEstimator)]
    cost = numbers.pop("operations") / (long.epochs * long.train_size * of_training(ordinary))
    return Plotted(numbers.assign(cost=cost))


def rows(source: Source) -> pd.DataFrame:
    """Return a row for each moment to stop at: method, epochs, networks, trained, operations, auroc, seed."""
    table = read_scores(source.folder)
    mislabelled = (table["label"] != table["true_label"]).sort_index()
    found = []
    for stop in _stops(source, table):
        # few networks leave examples without a score; differences of shares that are equal but for rounding are ties
        filled = stop.scores.fillna(stop.scores.median()).reindex(mislabelled.index).to_numpy(dtype=np.float32)
        detected = auroc(filled, mislabelled.to_numpy())(np.ones(len(mislabelled)))
        found.append({**stop._asdict(), "scores": detected})
    return pd.DataFrame(found).rename(columns={"scores": "auroc"}).assign(seed=source.config.seed)


def _stops(source: Source, table: pd.DataFrame) -> Iterator[Stop]:
    config, n = source.config, len(table)
    training, scoring = of_training(config), n * of_scoring(config)
    match config.estimator:
        case TurnoverEstimator():  # own and flipped sub-networks share a pass, but for the small layer after the masks
            for epoch, scores in scores_by_epoch(source.folder).items():
                trained = n * int(str(epoch))
                yield Stop(ONE_RUN, int(str(epoch)), 1, trained, trained * training + scoring, scores)
        case OneRunEstimator():  # the losses of the cumulative one are those of the passes that train
            trained = n * config.epochs
            yield Stop(_CUMULATIVE, config.epochs, 1, trained, trained * training, table["cumulative_loss"])
            yield Stop(_EL2N, config.epochs, 1, trained, trained * training + scoring, table["el2n"])
        case SubsamplingEstimator() | BlocksEstimator():
            for method, included, scores in _forms(source):
                networks, trained = len(included), int(included.sum()) * config.epochs
                yield Stop(method, config.epochs, networks, trained, trained * training + networks * scoring, scores)


def _forms(source: Source) -> Iterator[tuple[str, Tensor, pd.Series]]:
    """Yield scores by the first networks of an ensemble or of blocks: method, what they were trained on, scores."""
    members = read_members(source.folder)
    odds, count = members.confidence.double(), len(members.included)
    if isinstance(source.config.estimator, BlocksEstimator):
        for pairs in range(FEWEST_PAIRS, count // 2 + 1):
            both = torch.cat([torch.arange(pairs), torch.arange(pairs) + count // 2])
            scores = block_estimates(odds[both], members.included[both])["blocks"]
            yield _BLOCKS, members.included[both], pd.Series(scores.numpy(), index=members.ids)
        return
    for some in range(2, count + 1):
        included = members.included[:some]
        right = memorization(members.right[:some], included)
        yield _RIGHT, included, pd.Series(right.numpy(), index=members.ids)
        losses = excess_loss(F.softplus(-odds[:some]), included)
        yield _LOSSES, included, pd.Series(losses.numpy(), index=members.ids)


def costs(numbers: pd.DataFrame, of: str = "cost") -> pd.DataFrame:
    """Return what it takes until the aim is reached; infinite: never.  # index: seed; a column for each method

    Args:
        of: a column of `numbers`: cost or trained.

    Raises:
        RefusedInput: a seed lacks a method.
    """
    seeds, there = sorted(numbers["seed"].unique()), set(zip(numbers["seed"], numbers["method"], strict=True))
    for seed, method in product(seeds, _LINES):
        if (seed, method) not in there:
            raise RefusedInput(f"seed {seed} has no run of {method}: draw the same seeds of all methods")
    reached = numbers[numbers["auroc"] >= AIM].groupby(["seed", "method"])[of].min().unstack()
    return reached.reindex(index=seeds, columns=list(_LINES)).fillna(np.inf)


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return after which cost each method reaches the aim, by seed; None: never."""
    until = {
        method: {str(seed): round(float(cost), 3) if np.isfinite(cost) else None for seed, cost in by_seed.items()}
        for method, by_seed in costs(numbers).items()
    }
    return rest | {"aim": AIM, "cost_until": until}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return how many times the cost of the turn-over run the others need, by seed; the cheapest of them, and each.

    A way that does not reach the aim needs more than it had, and is the cheapest only if none does; a turn-over run
    that does not reach it saves nothing.
    """
    found = {of: costs(numbers, of) for of in ("cost", "trained")}
    needed = {of: table.replace(np.inf, np.nan).fillna(_most(numbers, of)) for of, table in found.items()}
    others, own = list(_OTHERS.values()), found["cost"][ONE_RUN]
    reached = found["cost"][others].min(axis=1)
    cheapest = reached.where(np.isfinite(reached), needed["cost"][others].min(axis=1))
    return {
        "saving": (cheapest / own).tolist(),
        **{name: (needed["cost"][method] / own).tolist() for name, method in _OTHERS.items()},
        "examples_right": (needed["trained"][_RIGHT] / found["trained"][ONE_RUN]).tolist(),
    }


def _most(numbers: pd.DataFrame, of: str) -> pd.Series:
    """Return what each method had at most.  # index: method"""
    return numbers.groupby("method")[of].max().reindex(list(_LINES))


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return what is counted, as a line under the picture."""
    epochs = max(config.epochs for config in configs if isinstance(config.estimator, TurnoverEstimator))
    return (
        f"Arithmetic of training and of the passes that score; an ordinary training takes {epochs} epochs. "
        "Of all that was tried at a cost, the best by its AUROC."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw one minus the highest AUROC at each cost, and below what each seed takes until the aim."""
    picture, (above, below) = plt.subplots(
        2, 1, figsize=(8.5, 7.6), layout="constrained", sharex=True, height_ratios=(4, 3)
    )
    panel(above, "a", "wrong labels found by so much arithmetic or less")
    for method, (colour, marker, style) in _LINES.items():
        best = _best(numbers[numbers["method"] == method])
        every = max(1, best["cost"].nunique() // 12)
        look = {"linestyle": style, "marker": marker, "markersize": 4, "markevery": every, "label": method}
        band(above, best.assign(error=1 - best["auroc"]).groupby("cost")["error"], colour, alpha=0.15, **look)
    above.axhline(1 - AIM, color=COLOURS["all"], linewidth=0.8, linestyle=(0, (1, 3)), label=f"aim: AUROC {AIM:g}")
    above.set_xscale("log")
    above.set_yscale("log")
    above.invert_yaxis()
    above.set_yticks(_ERRORS, [f"{error:g}" for error in _ERRORS])
    above.minorticks_off()
    above.set_ylabel("1 - AUROC (log scale)")
    above.legend(title=BAND, title_fontsize=7, fontsize=7, loc="lower right")
    never = "; open: never, by all that was tried" * bool(np.isinf(costs(numbers)).any(axis=None))
    panel(below, "b", f"arithmetic until AUROC {AIM:g}, each seed{never}")
    _until(below, numbers)
    return picture


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the highest AUROC of a method at each cost or less: cost, seed, auroc."""
    highest = table.pivot_table(index="cost", columns="seed", values="auroc", aggfunc="max").cummax().ffill().dropna()
    return highest.melt(ignore_index=False, value_name="auroc").reset_index()


def _until(axes: Axes, numbers: pd.DataFrame) -> None:
    found, most = costs(numbers), _most(numbers, "cost")
    for place, (method, (colour, marker, _)) in enumerate(_LINES.items()):
        reached = np.isfinite(found[method])
        heights = place + np.linspace(-0.3, 0.3, len(found))
        for there, fill in ((reached, colour), (~reached, "none")):
            at = found[method].where(reached, most[method])[there]
            axes.scatter(at, heights[there], s=14, marker=marker, facecolor=fill, edgecolor=colour)
    axes.set_yticks(range(len(_LINES)), list(_LINES))
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("arithmetic, in ordinary trainings (log scale)")
