"""The privacy onion (Carlini et al., 2022): exposure without the most exposed examples, against without random ones.

Both sets of networks are trained on nine tenths of the examples; compared are those that remain in both.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from turnover.claims import decide, measure_seeds
from turnover.figures.make import Drawn, FigureConfig
from turnover.figures.notes import Source
from turnover.figures.style import COLOURS
from turnover.member_file import read_members
from turnover.scores.membership import log_likelihood_ratios, membership, share_above, threshold
from turnover.store import Run
from turnover.tables import read_scores

_RATE = 0.01  # of false positives
_SIDES = {
    "without_difficult": ("without the most exposed tenth", "easy"),
    "without_random": ("without a random tenth", "muted"),
}


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Exposure by tenth, of the examples that remain in both, ranked by their exposure when all were there."""
    [parent] = sources[0].config.parents
    before = read_scores(Run(parent).folder)["score"]
    seeds = sorted({source.config.seed for source in sources})
    tables, shares = zip(*[_of_seed(seed, sources, before) for seed in seeds], strict=True)
    numbers = pd.concat(tables, ignore_index=True)
    picture, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for side, (words, colour) in _SIDES.items():
        mine = numbers[(numbers["side"] == side) & (numbers["tenth"] > 0)]
        by_tenth = mine.groupby("tenth")["exposure"]
        axes.plot(by_tenth.mean(), color=COLOURS[colour], marker="o", markersize=4, label=words)
        axes.fill_between(
            by_tenth.min().index, by_tenth.min(), by_tenth.max(), color=COLOURS[colour], alpha=0.25, linewidth=0
        )
    axes.set_xticks(range(1, 11))
    axes.set_xlabel("tenth of the remaining examples, by their exposure when all were there")
    axes.set_ylabel("exposure (nats)")
    axes.legend(title="mean and range over seeds", title_fontsize=7, fontsize=8)
    config = figure.claims["onion"]
    wide = numbers.pivot(index=["seed", "tenth"], columns="side", values=["exposure", "found"])
    gains = {
        "gain": _gain(wide, "exposure", 0),
        "next_tenth_gain": _gain(wide, "exposure", 10),
        "found_gain": _gain(wide, "found", 0),
        "more_exposed": shares,
    }
    measures = [measure_seeds(name, gains[name], **side.model_dump()) for name, side in config.measures.items()]
    return Drawn(picture, numbers, [decide("onion", config.text, measures)])


def _of_seed(seed: int, sources: Sequence[Source], before: pd.Series) -> tuple[pd.DataFrame, float]:
    """Rows of one seed: side, tenth (0: all that remain), examples, exposure (mean, nats), found (share at 1 %).

    And the share of the examples that are more exposed without the most exposed ones. Thresholds are set by the
    examples that remain in both alone: those that were not left out would set one for themselves.
    """
    members = {
        source.config.subsets.train_on: read_members(source.folder)  # type: ignore[union-attr]
        for source in sources
        if source.config.seed == seed
    }
    first, second = (each.ids for each in members.values())
    both = np.intersect1d(first, second)
    ranked = before.reindex(both).sort_values(kind="stable").index.to_numpy()
    rows, by_side = [], {}
    for side, each in members.items():
        places = pd.Series(np.arange(len(each.ids)), index=each.ids)
        remaining = torch.tensor(places[ranked].to_numpy())
        included = each.included[:, remaining]
        ratios = log_likelihood_ratios(each.confidence[:, remaining], included)
        exposure = by_side[side] = membership(ratios, included)
        limit = threshold(ratios, included, _RATE)
        everywhere = np.arange(len(ranked))
        for tenth, positions in enumerate([everywhere, *np.array_split(everywhere, 10)]):
            among = torch.from_numpy(positions)
            found = float(share_above(ratios[:, among], included[:, among], limit))
            mean = float(exposure[among].mean())
            rows.append(
                {"seed": seed, "side": side, "tenth": tenth, "examples": len(among), "exposure": mean, "found": found}
            )
    more = by_side["without_difficult"] > by_side["without_random"]
    return pd.DataFrame(rows), float(more.double().mean())


def _gain(wide: pd.DataFrame, value: str, tenth: int) -> list[float]:
    part = wide.xs(tenth, level="tenth")[value]
    return [float(gain) for gain in part["without_difficult"] - part["without_random"]]
