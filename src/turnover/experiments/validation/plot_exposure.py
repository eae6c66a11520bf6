"""Picture: how many members of the training set an attacker finds, by how much the networks memorize them."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.plot_style import dataset_names
from turnover.experiments.validation.privacy import RATES

_COLOURS = dict(zip(FACTS, (COLOURS["easy"], COLOURS["difficult"], COLOURS["own"], COLOURS["muted"]), strict=False))


def exposure(table: pd.DataFrame) -> tuple[Figure, str, list[str]]:
    """A panel for each false-positive rate, a line for each data set; title and notes with it."""
    picture, axes = plt.subplots(1, len(RATES), figsize=(10.5, 4.6), sharey=True, layout="constrained")
    for number, (one, rate) in enumerate(zip(axes, RATES, strict=True)):
        panel(one, "ab"[number], f"threshold of {rate:.1%} false positives")
        for dataset in dataset_names(table):
            mine = table[table["dataset"] == dataset]
            tenths, whole = mine[mine["tenth"] > 0], mine[mine["tenth"] == 0]
            colour = _COLOURS[dataset]
            one.plot(
                tenths["tenth"],
                tenths[f"found_at_{rate:g}"],
                color=colour,
                marker="o",
                markersize=4,
                label=FACTS[dataset].title,
            )
            one.plot(tenths["tenth"], tenths[f"mistaken_at_{rate:g}"], color=colour, linestyle="--", linewidth=1)
            one.axhline(float(whole[f"found_at_{rate:g}"].iloc[0]), color=colour, linestyle=":", linewidth=1)
        one.set_xticks(range(1, 11))
        one.set_xlabel("tenth of the examples, by memorization")
        one.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("share called members")
    styles = (("o-", "members"), ("--", "others (false positives)"), (":", "members, all examples"))
    for look, words in styles:
        axes[0].plot([], [], look, color=COLOURS["muted"], markersize=4, linewidth=1, label=words)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    most = table[table["tenth"] == 10]
    wrong = ", ".join(f"{row['wrong']:.0%} ({FACTS[row['dataset']].title})" for row in most.to_dict("records"))
    lines = [
        "Likelihood ratio attack (LiRA, Carlini et al., 2022) on every network of the ground truth, the others being "
        "the attacker's. One threshold for all examples, so false positives differ between tenths. Of the most "
        f"memorized tenth these have wrong labels: {wrong}.",
    ]
    return picture, "Whom can an attacker tell from examples that were not trained on?", lines
