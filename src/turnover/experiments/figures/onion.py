"""The privacy onion (Carlini et al., 2022): exposure without the most exposed examples, against without random ones.

Both sets of networks are trained on nine tenths of the examples; compared are those that remain in both.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from turnover.config.run import RunConfig
from turnover.estimators.membership import log_likelihood_ratios, membership, share_above, threshold
from turnover.experiments.plots.curves import band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.members import read_members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_scores

_RATE = 0.01  # of false positives
_VALUES = ["exposure", "found", "found_common", "false_positives"]
_SIDES = {
    "without_difficult": ("without the most exposed tenth", "easy"),
    "without_random": ("without a random tenth", "muted"),
}
_SHOWN = {
    "exposure": ("mean exposure", "log likelihood ratio (nats)"),
    "found": (f"found by an attacker at {_RATE:.0%} false positives", "share of examples trained on"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return exposure by tenth of the examples that remain in both, ranked by their exposure when all were there."""
    seeds = sorted({source.config.seed for source in sources})
    tables, shares = zip(*[_of_seed(seed, sources) for seed in seeds], strict=True)
    return Plotted(pd.concat(tables, ignore_index=True), {"more_exposed": list(shares)})


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw mean exposure, and the share that an attacker finds, by tenth."""
    picture, panels = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for axes, letter, (value, (title, unit)) in zip(panels, "ab", _SHOWN.items(), strict=True):
        panel(axes, letter, title)
        for side, (words, colour) in _SIDES.items():
            mine = numbers[(numbers["tenth"] > 0) & (numbers["side"] == side)]
            band(axes, mine.groupby("tenth")[value], COLOURS[colour], marker="o", markersize=4, label=words)
        axes.set_xticks(range(1, 11))
        axes.set_xlabel("tenth of the rest, by exposure when all were there")
        axes.set_ylabel(unit)
    panels[0].legend(title="mean and range over seeds", title_fontsize=7, fontsize=8, alignment="left")
    return picture


def _of_seed(seed: int, sources: Sequence[Source]) -> tuple[pd.DataFrame, float]:
    """Return rows of one seed: side, tenth (0: all that remain), examples, exposure (mean, nats), and what is found.

    That is found, the share above the threshold at which 1 % of its side are false positives; found_common, above one
    threshold for both sides, with false_positives, the share that is above it but was not trained on. Thresholds are
    set by the examples alone that remain in both. And the share of these with more exposure without the most exposed.
    """
    mine = [source for source in sources if source.config.seed == seed]
    members = {source.config.subsets.train_on: read_members(source.folder) for source in mine}
    [parent] = mine[0].config.parents
    before = read_scores(Run(parent).folder)["score"]
    first, second = (networks.ids for networks in members.values())
    ranked = before.reindex(np.intersect1d(first, second)).sort_values(kind="stable").index.to_numpy()
    everywhere = torch.arange(len(ranked))
    attacked = {}
    for side, networks in members.items():
        remaining = torch.from_numpy(pd.Index(networks.ids).get_indexer(ranked))
        included = networks.included[:, remaining]
        attacked[side] = log_likelihood_ratios(networks.confidence[:, remaining], included), included
    all_ratios, all_included = (torch.cat(of_sides) for of_sides in zip(*attacked.values(), strict=True))
    common = threshold(all_ratios, all_included, _RATE)
    rows, by_side = [], {}
    for side, (ratios, included) in attacked.items():
        exposure, limit = membership(ratios, included), threshold(ratios, included, _RATE)
        by_side[side] = exposure
        for tenth, positions in enumerate([everywhere, *everywhere.tensor_split(10)]):
            row = {"seed": seed, "side": side, "tenth": tenth, "examples": len(positions)}
            row["exposure"] = float(exposure[positions].mean())
            chosen, inside = ratios[:, positions], included[:, positions]
            row["found"] = float(share_above(chosen, inside, limit))
            row["found_common"] = float(share_above(chosen, inside, common))
            row["false_positives"] = float(share_above(chosen, ~inside, common))
            rows.append(row)
    more = by_side["without_difficult"] > by_side["without_random"]
    return pd.DataFrame(rows), float(more.double().mean())


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the differences of the two sides; the share of more exposed examples is in no table."""
    wide = numbers.pivot(index=["seed", "tenth"], columns="side", values=_VALUES)

    def gain(value: str, tenth: int) -> list[float]:
        sides = wide.xs(tenth, level="tenth")[value]
        return [float(difference) for difference in sides["without_difficult"] - sides["without_random"]]

    by_tenth = np.array([gain("found", tenth) for tenth in range(1, 11)])  # [tenths, seeds]
    return {
        "found_gain": gain("found", 0),
        "found_tenths": (by_tenth > 0).mean(0).tolist(),
        "found_next_tenth": gain("found", 10),
        "common_gain": gain("found_common", 0),
        "false_gain": gain("false_positives", 0),
        "gain": gain("exposure", 0),
        "next_tenth_gain": gain("exposure", 10),
    }


def items(numbers: pd.DataFrame) -> dict[str, int]:
    """Return of how many tenths the share is that of which more is found."""
    return {"found_tenths": int(numbers.loc[numbers["tenth"] > 0, "tenth"].nunique())}
