"""Study: whose membership an attacker infers, by how much of an example networks of other seeds memorize."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from turnover.common.seeding import numpy_generator
from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.estimators.membership import log_likelihood_ratios, share_above, threshold
from turnover.estimators.subsampling import with_and_without
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.other_truths import tenths
from turnover.runs.store.members import Members, read_members

_RATE = 0.01  # of false positives
# by what examples are ranked: words, colour, marker
_ORDERS = {
    "memorization": ("memorization", "difficult", "o"),
    "loss": ("loss of networks trained on it", "easy", "s"),
    "random": ("a random order", "muted", "^"),
}


@dataclass(frozen=True)
class Known:
    """What the networks of one seed know of every example."""

    memorization: np.ndarray  # right with it minus right without it
    excess: np.ndarray  # loss without it minus loss with it, in nats
    loss: np.ndarray  # with it
    fit: float  # share right of what networks are trained on


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each dataset, order, seed and tenth (0: all examples; 10: the highest).

    found: share of the pairs of a network and an example trained on that exceed the threshold, which is one for all
    examples; mistaken: of those not trained on. memorization (mean) and orders are by the networks of other seeds, fit
    (share right of what they are trained on) by those of this one.
    """
    rows = []
    for name in dict.fromkeys(source.config.dataset.name for source in sources):
        mine = {source.config.seed: source for source in sources if source.config.dataset.name == name}
        members = {seed: read_members(source.folder) for seed, source in mine.items()}
        known = {seed: known_by(each) for seed, each in members.items()}
        for seed, attacked in members.items():
            others = [known[other] for other in known if other != seed] or [known[seed]]
            for row in attack(attacked, others, seed):
                rows.append({"dataset": name, "seed": seed, **row, "fit": known[seed].fit})
    return Plotted(pd.DataFrame(rows))


def known_by(members: Members) -> Known:
    """Return what the networks of an ensemble know, in the order of the ids."""
    order = torch.from_numpy(np.argsort(members.ids))
    included, losses = members.included[:, order], F.softplus(-members.confidence[:, order].double())
    right = members.right[:, order]
    with_it, without = with_and_without(right, included)
    loss_with, loss_without = with_and_without(losses, included)
    # in float32 differences of shares that are equal but for their rounding are ties
    memorization = (with_it - without).float().numpy()
    fit = float(right[included].double().mean())
    return Known(memorization, (loss_without - loss_with).numpy(), loss_with.numpy(), fit)


def attack(members: Members, others: Sequence[Known], seed: int) -> list[dict[str, float | str]]:
    """Attack each network of an ensemble by its other ones; return what is found by tenth of each order."""
    order = torch.from_numpy(np.argsort(members.ids))
    included = members.included[:, order]
    ratios = log_likelihood_ratios(members.confidence[:, order], included)
    limit = threshold(ratios, included, _RATE)
    memorization, excess, loss = (
        np.mean([getattr(other, name) for other in others], axis=0) for name in ("memorization", "excess", "loss")
    )
    chance = numpy_generator(seed, "tenths").random(len(loss))
    rows: list[dict[str, float | str]] = []
    for name, first, second in (
        ("memorization", memorization, excess),
        ("loss", loss, loss),
        ("random", chance, chance),
    ):
        for tenth, positions in enumerate(tenths(first, second)):
            of_tenth, inside = ratios[:, positions], included[:, positions]
            found, mistaken = (float(share_above(of_tenth, which, limit)) for which in (inside, ~inside))
            mean = float(memorization[positions].mean())
            rows.append({"order": name, "tenth": tenth, "found": found, "mistaken": mistaken, "memorization": mean})
    return rows


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    result: dict[str, list[float]] = {}
    for name, rows in numbers.groupby("dataset"):
        wide = rows.pivot(index="seed", columns=["order", "tenth"], values="found").sort_index()
        for order in _ORDERS:
            result[f"{order}_{name}"] = (wide[order, 10] - wide[order, 1]).tolist()
        result[f"highest_{name}"] = wide["memorization", 10].tolist()
        result[f"found_{name}"] = wide["memorization", 0].tolist()
        result[f"fit_{name}"] = rows.groupby("seed")["fit"].first().tolist()
    return result


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return the line under the picture."""
    return (
        f"An attacker knows other networks of the seed, and takes {_RATE:.0%} of what a network was not trained on for "
        "its training examples. Examples are ranked by networks of the other seeds."
    )


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw the share that is found by tenth of memorization, of the training loss and of a random order."""
    names = list(numbers["dataset"].unique())
    picture, row = plt.subplots(1, len(names), figsize=(9, 3.8), layout="constrained", squeeze=False)
    for axes, letter, name in zip(row[0], "ab", names, strict=False):
        mine = numbers[numbers["dataset"] == name]
        panel(axes, letter, DATASETS[name].title)
        for order, (words, colour, marker) in _ORDERS.items():
            drawn = mine[(mine["order"] == order) & (mine["tenth"] > 0)].groupby("tenth")["found"]
            band(axes, drawn, COLOURS[colour], marker=marker, markersize=4, label=words)
        axes.axhline(_RATE, color=COLOURS["all"], linestyle=":", linewidth=1, label="false positives")
        axes.set_xticks(range(1, 11))
        axes.set_xlabel("tenth of the examples (10: the highest)")
    row[0, 0].set_ylabel("share of members found")
    row[0, 0].legend(title=f"ranked by ({BAND})", title_fontsize=7, fontsize=8, alignment="left", loc="upper left")
    return picture
