"""Picture: how many members of the training set an attacker finds, by how much the networks memorize them."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from turnover.facts import FACTS
from turnover.figures.style import COLOURS, panel
from turnover.figures.validate_style import dataset_names
from turnover.validation.privacy import RATES

_COLOURS = dict(zip(FACTS, (COLOURS["easy"], COLOURS["difficult"], COLOURS["own"], COLOURS["muted"]), strict=False))


def exposure(table: pd.DataFrame) -> tuple[Figure, str, list[str]]:
    """A panel for each false-positive rate, a line for each data set; title and notes with it."""
    picture, axes = plt.subplots(1, len(RATES), figsize=(8.5, 3.4), sharey=True, layout="constrained")
    for number, (one, rate) in enumerate(zip(axes, RATES, strict=True)):
        panel(one, "ab"[number], f"{rate:.1%} false positives")
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
            one.axhline(float(whole[f"found_at_{rate:g}"].iloc[0]), color=colour, linestyle=":", linewidth=1)
        one.axhline(rate, color=COLOURS["all"], linewidth=0.8, label="guessing")
        one.set_xticks(range(1, 11))
        one.set_xlabel("tenth of the examples, by memorization")
        one.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("members found")
    axes[0].legend(fontsize=8)
    lines = [
        "Likelihood ratio attack (LiRA, Carlini et al., 2022) on every network of the ground truth, the others being "
        "the attacker's. One threshold for all examples. Dotted: all examples together. The most memorized tenth holds "
        "the wrong labels.",
    ]
    return picture, "Whom can an attacker tell from examples that were not trained on?", lines
