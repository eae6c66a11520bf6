"""The table: how well every estimator agrees with the ground truth and finds wrong labels, and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from turnover.config.datasets import DATASETS
from turnover.errors import RunFailed
from turnover.experiments.validation.estimates import SIZES, Condition, Estimate
from turnover.experiments.validation.truth import CORRELATIONS, Truth
from turnover.stats.agreement import bias, interval, precision_at_wrong, slope, spearman
from turnover.stats.claims import measure
from turnover.stats.measures import Statistic, auroc

REPLICATES = 200  # of each bootstrap

COLUMNS = {
    "dataset": "data set",
    "noise": "kind of the wrong labels: symmetric (any other class), pair (the next class: class-dependent) or file",
    "wrong": "how many labels are wrong",
    "examples": "how many examples there are",
    "augmentation": "of the images in training",
    "estimator": "who gives the score",
    "seeds": "runs whose scores are averaged; 1: mean over runs of what each run's own scores reach",
    "runs": "finished runs behind the row; of small ensembles: disjoint parts of one run's networks",
    "networks": "networks that a run trains; 1 if not an ensemble",
    "epoch": "after which a score is taken that is not taken after training",
    "train_accuracy": "on the training examples over that epoch, while the weights move; mean over runs",
    "scored": "examples that have a score; the others get the median",
    "spearman": "rank correlation with memorization by the ground truth (difference of shares of right networks)",
    "pearson": "Pearson's correlation with the same",
    "spearman_loss": "rank correlation with the ground truth's loss form (difference of mean losses)",
    "pearson_loss": "Pearson's correlation with the same",
    "spearman_clean": "as spearman, over examples with right labels alone",
    "pearson_clean": "as pearson, over examples with right labels alone",
    "spearman_loss_clean": "as spearman_loss, over examples with right labels alone",
    "pearson_loss_clean": "as pearson_loss, over examples with right labels alone",
    "slope": "of the ground truth's memorization on a score in probabilities, by least squares; 1: right on average",
    "bias": "mean of a score in probabilities less the ground truth's memorization",
    "spearman_error": "rank correlation with the share of networks not trained on an example that are wrong about it, "
    "by the ground truth: how difficult it is, memorized or not",
    "auroc": "how often a wrong label scores higher than a right one",
    "precision": "share of wrong labels among as many highest scores as there are wrong labels",
    "cost": "arithmetic of training until the score is known, of blocks of scoring too, in trainings of the ordinary "
    "network on all examples",
    "seconds": "wall-clock seconds of the runs, which may give other scores too, perhaps many at a time",
    "memory": "peak resident memory of the process, in MB",
}  # a measure's 95 % interval: <measure>_low, <measure>_high


def rows(
    by_condition: Mapping[Condition, Sequence[Estimate]], truths: Mapping[Condition, Truth]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each condition, estimator and number of averaged seeds (one, and all)."""
    kind = attrgetter("name", "networks")
    for condition, estimates in by_condition.items():
        for (name, networks), group in groupby(sorted(estimates, key=kind), key=kind):
            runs = list(group)
            seeds = {run.seed for run in runs}  # parts of an ensemble have one: their mean is a larger ensemble
            for together in sorted({1, len(seeds)}):
                yield {
                    **vars(condition),
                    "estimator": name,
                    "seeds": together,
                    "runs": len(runs),
                    "networks": networks,
                    "epoch": np.nan if runs[0].epoch is None else runs[0].epoch,
                    "train_accuracy": np.mean([np.nan if run.accuracy is None else run.accuracy for run in runs]),
                    "scored": round(float(np.mean([run.scored for run in runs]))),
                    **_measures(runs, truths.get(condition), together=together),
                    "cost": float(np.mean([run.cost for run in runs])) * together,
                    "seconds": float(np.median([run.seconds for run in runs])) * together,
                    "memory": float(np.median([run.memory for run in runs])),
                }


def _measures(runs: Sequence[Estimate], truth: Truth | None, *, together: int) -> dict[str, float]:
    """Return every measure with its interval: of single runs, or of the mean of their scores."""
    ids = runs[0].scores.index
    scores = [run.scores.reindex(ids).to_numpy() for run in runs]
    if together > 1:
        scores = [np.mean(scores, axis=0)]
    scores = [values.astype(np.float32) for values in scores]  # as in `truth.known`, and in the tables of examples
    memorized = None if truth is None else truth.table.reindex(ids)
    if memorized is not None and any((run.wrong.reindex(ids) != memorized["wrong"]).any() for run in runs):
        raise RunFailed(f"{runs[0].name}: other labels are wrong than those of the ground truth, or of other examples")
    values: dict[str, float] = {}
    sizes = runs[0].name in SIZES
    for name, of_runs, examples in statistics(scores, runs[0].wrong.to_numpy(), memorized, sizes=sizes):
        values |= with_interval(name, of_runs, examples)
    return values


def statistics(
    scores: Sequence[np.ndarray], wrong: np.ndarray, memorized: pd.DataFrame | None, *, sizes: bool = False
) -> Iterator[tuple[str, list[Statistic], int]]:
    """Yield every measure of some scores of the same examples: its name, a statistic of each, how many examples count.

    Args:
        scores: float [n] each.
        wrong: whether a label is wrong.  # bool [n]
        memorized: columns probability, loss and error of the ground truth, n rows; None: it is not known.
        sizes: the scores are differences of probabilities, so that their size can be right too.
    """
    n = len(wrong)
    if wrong.any() and not wrong.all():
        yield "auroc", [auroc(values, wrong) for values in scores], n
        yield "precision", [precision_at_wrong(values, wrong) for values in scores], n
    if memorized is None:
        return
    for part, included in (("", np.ones(n, dtype=bool)), ("_clean", ~wrong)):
        for form, suffix in (("probability", ""), ("loss", "_loss")):
            real = memorized[form].to_numpy()[included]
            for name, correlation in CORRELATIONS.items():
                of_scores = [correlation(values[included], real) for values in scores]
                yield name + suffix + part, of_scores, int(included.sum())
    if sizes:
        real = memorized["probability"].to_numpy()
        yield "slope", [slope(values, real) for values in scores], n
        yield "bias", [bias(values, real) for values in scores], n
    error = memorized["error"].to_numpy()
    yield "spearman_error", [spearman(values, error) for values in scores], n


def with_interval(name: str, runs: Sequence[Statistic], examples: int) -> dict[str, float]:
    """Return a measure and its 95 % interval: over examples, and over seeds if there are several runs."""
    if len(runs) > 1:
        measured = measure(name, runs, examples, replicates=REPLICATES)
        low, high = measured.interval or (np.nan, np.nan)
        return {name: measured.effect, f"{name}_low": low, f"{name}_high": high}
    value, low, high = interval(runs, examples, REPLICATES)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def dataset_names(table: pd.DataFrame) -> list[str]:
    """Return the data sets of a table, in the order of `DATASETS`."""
    return [name for name in DATASETS if name in set(table["dataset"])]


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Order the columns as in `COLUMNS`, each measure with its interval behind it."""
    names = [name for column in COLUMNS for name in (column, f"{column}_low", f"{column}_high") if name in table]
    keys = ["dataset", "augmentation", "noise", "wrong", "estimator", "networks", "seeds"]
    return table[names].sort_values(keys, ignore_index=True)
