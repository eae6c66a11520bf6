"""Figure 2: histograms of memorization scores, clean (a) and with random labels (b); claims 2a and 2b."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from turnover.experiments.plots.figure import ClaimConfig, Drawn, FigureConfig
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.claims import Claim, decide, measure
from turnover.stats.measures import Statistic, auroc, median, skewness, top_share

_BINS = 60


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted counts and claims from clean and corrupted score runs of the same seeds."""
    clean = {source.config.seed: read_scores(source.folder) for source in sources if not source.config.corruption.count}
    noisy = {source.config.seed: read_scores(source.folder) for source in sources if source.config.corruption.count}
    count = max(source.config.corruption.count for source in sources)

    picture, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    panel(left, "a", "no corruption")
    numbers = [_histogram(left, "a", {"all examples": clean}, {"all examples": COLOURS["easy"]})]
    panel(right, "b", f"{count:,} random labels")
    groups = {
        "uncorrupted": {seed: table[~table["corrupted"]] for seed, table in noisy.items()},
        "corrupted": {seed: table[table["corrupted"]] for seed, table in noisy.items()},
    }
    colours = {"uncorrupted": COLOURS["easy"], "corrupted": COLOURS["difficult"]}
    numbers.append(_histogram(right, "b", groups, colours))
    claims = [_long_tail(figure.claims["2a"], list(clean.values())), _order(figure.claims["2b"], list(noisy.values()))]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def _histogram(
    axes: Axes, letter: str, groups: dict[str, dict[int, pd.DataFrame]], colours: dict[str, str]
) -> pd.DataFrame:
    everything = np.concatenate([table["score"] for tables in groups.values() for table in tables.values()])
    edges = np.linspace(everything.min(), everything.max(), _BINS + 1)
    rows = []
    for name, tables in groups.items():
        counts = np.stack([np.histogram(table["score"], edges)[0] for table in tables.values()])  # [seeds, bins]
        n = len(next(iter(tables.values())))
        colour = colours[name]
        axes.stairs(counts.mean(axis=0), edges, color=colour, label=f"{name} ({n:,})", linewidth=1.2)
        axes.stairs(counts.max(axis=0), edges, baseline=counts.min(axis=0), fill=True, color=colour, alpha=0.35)
        for seed, row in zip(tables, counts, strict=True):
            low, high = edges[:-1], edges[1:]
            bins = {"panel": letter, "group": name, "seed": seed, "bin_low": low, "bin_high": high, "examples": row}
            rows.append(pd.DataFrame(bins))
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.axvline(0, color=COLOURS["all"], linewidth=0.6, linestyle=":")
    axes.set_xlabel("memorization score (nats)")
    axes.set_ylabel("examples per bin (log scale)")
    axes.legend(title="mean and range over seeds", title_fontsize=7, fontsize=8)
    return pd.concat(rows, ignore_index=True)


def _long_tail(config: ClaimConfig, tables: Sequence[pd.DataFrame]) -> Claim:
    scores = [table["score"].to_numpy() for table in tables]

    def distance(values: np.ndarray) -> Statistic:
        middle = median(values)
        return lambda counts: abs(middle(counts))

    kinds = {"median_distance": distance, "skewness": skewness, "top_decile_share": top_share}
    measures = [
        measure(name, [kinds[name](values) for values in scores], len(scores[0]), above=side.above, below=side.below)
        for name, side in config.measures.items()
    ]
    return decide("2a", config.text, measures)


def _order(config: ClaimConfig, tables: Sequence[pd.DataFrame]) -> Claim:
    def positive(name: str, table: pd.DataFrame) -> np.ndarray:
        wrong = table["label"] != table["true_label"]
        return (table["corrupted"] if name == "auroc" else wrong).to_numpy()

    measures = [
        measure(
            name,
            [auroc(table["score"].to_numpy(), positive(name, table)) for table in tables],
            len(tables[0]),
            above=side.above,
            below=side.below,
        )
        for name, side in config.measures.items()
    ]
    return decide("2b", config.text, measures)
