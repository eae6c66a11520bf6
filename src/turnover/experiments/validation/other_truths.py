"""What else the validation measures: who is exposed to an attacker, influences, and leaving out one example.

Where networks are trained on all examples but one, only some examples are left out, half of them with wrong labels, so
these correlations are not those of the large table: on such examples to know which labels are wrong is to know most of
the order.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from turnover.config.run import RunConfig
from turnover.estimators.membership import log_likelihood_ratios, share_above, threshold
from turnover.estimators.subsampling import influence, memorization
from turnover.experiments.validation.estimates import Condition, Estimate
from turnover.experiments.validation.table import rows
from turnover.experiments.validation.truth import Truth, known
from turnover.runs.store.members import read_members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_influences, read_scores
from turnover.stats.agreement import ceiling, reliability, spearman

RATES = (0.001, 0.01)  # of false positives
_COLUMNS = ("dataset", "wrong", "examples", "estimator", "networks", "seeds", "runs")
_MEASURES = ("spearman", "pearson", "spearman_loss", "pearson_loss")


def exposure(config: RunConfig, truth: Truth) -> pd.DataFrame:
    """Return the true-positive rate of LiRA against each network of an ensemble, the others being the attacker's own.

    The threshold is one for all examples, set by the false positives among all of them, so that every tenth has a
    false-positive rate of its own. Tenths are of the examples ranked by memorization (probability form, ties by the
    loss form).

    Returns:
        dataset, tenth (0: all; 1: least memorized, 10: most), examples, wrong (share of wrong labels), memorization
        (mean), and for each false-positive rate the share of members found and that of others taken for members.
    """
    members = read_members(Run(config).folder)
    included = members.included
    enough = torch.minimum(included.sum(0), (~included).sum(0)) >= 3  # networks; of a large ensemble always
    included = included[:, enough]
    ratios = log_likelihood_ratios(members.confidence[:, enough], included)
    examples = truth.table.reindex(members.ids[enough.numpy()])
    limits = {rate: threshold(ratios, included, rate) for rate in RATES}
    table = []
    for tenth, positions in enumerate(tenths(examples["probability"].to_numpy(), examples["loss"].to_numpy())):
        row = {
            "dataset": config.dataset.name,
            "tenth": tenth,
            "examples": len(positions),
            "wrong": float(examples["wrong"].iloc[positions].mean()),
            "memorization": float(examples["probability"].iloc[positions].astype(float).mean()),
        }
        of_tenth, inside = ratios[:, positions], included[:, positions]
        for rate, limit in limits.items():
            row[f"found_at_{rate:g}"] = float(share_above(of_tenth, inside, limit))
            row[f"mistaken_at_{rate:g}"] = float(share_above(of_tenth, ~inside, limit))
        table.append(row)
    return pd.DataFrame(table)


def tenths(probability: np.ndarray, loss: np.ndarray) -> list[np.ndarray]:
    """Return the positions of all examples, then those of each tenth by memorization, least first; ties by the loss."""
    order = np.lexsort((loss, probability))
    return [np.arange(len(order)), *np.array_split(order, 10)]


def influence_agreement(truth: RunConfig, estimates: Sequence[RunConfig]) -> dict[str, float]:
    """Correlate the influences of all training examples on one test example; returns means over test examples.

    The ground truth's influence of z_i on z_t is the mean loss on z_t of networks that were not trained on z_i, minus
    that of the others: the loss form of equation 1 of Liu et al. Pearson's correlation, since most influences are
    nearly 0 and their order means nothing.

    Returns:
        one_run, all_runs (the mean of their influences): with the ground truth; two_runs: of two runs with each other;
        reliability: of the ground truth (split halves, Spearman-Brown); ceiling: the most that can be expected.
    """
    members = read_members(Run(truth).folder)
    included, losses = members.included, F.softplus(-members.test_confidence.double())  # [networks, test examples]
    real = -influence(losses, included).numpy()
    first, second = (-influence(losses[start::2], included[start::2]).numpy() for start in (0, 1))
    by_run = [
        read_influences(Run(config).folder).loc[members.ids, members.test_ids].to_numpy().T for config in estimates
    ]
    halves = mean_correlation(first, second)
    reliability = 2 * halves / (1 + halves)
    return {
        "one_run": float(np.mean([mean_correlation(influences, real) for influences in by_run])),
        "all_runs": mean_correlation(np.mean(by_run, axis=0), real),
        "two_runs": mean_correlation(by_run[0], by_run[1]),
        "runs": len(by_run),
        "reliability": reliability,
        "ceiling": ceiling(reliability),
    }


def mean_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of Pearson's correlations within rows; those without variance are left out.  # [t, n] each"""
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in (a, b))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    varied = scale > 0
    return float(((a * b).sum(axis=1)[varied] / scale[varied]).mean())


def against_leave_one_out(config: RunConfig, estimates: Sequence[Estimate], truth: Truth) -> pd.DataFrame:
    """Correlate every estimator, and the ground truth itself, with the truth on the examples that were left out.

    Args:
        config: of a finished run with estimator=leave_one_out.
        estimates: under the same condition.
        truth: by an ensemble, under the same condition.

    Returns:
        dataset, wrong (labels among these examples), examples, estimator ("truth": the ground truth), networks, seeds,
        runs; Spearman's and Pearson's correlation with both forms of memorization by leave-one-out, with intervals.
    """
    exact = known(read_scores(Run(config).folder))
    ids = exact.index
    itself = replace(estimates[0], name="truth", networks=truth.networks, scores=truth.table["probability"])
    on_left_out = [
        replace(estimate, scores=estimate.scores.reindex(ids), wrong=exact["wrong"], scored=len(ids))
        for estimate in [*estimates, itself]
    ]
    condition = replace(Condition.of(config), wrong=int(exact["wrong"].sum()), examples=len(ids))
    table = pd.DataFrame(rows({condition: on_left_out}, {condition: Truth(exact, {}, 0)}))
    measures = [name + end for name in _MEASURES for end in ("", "_low", "_high")]
    return table[[*_COLUMNS, *measures]].sort_values("spearman", ascending=False, ignore_index=True)


def split_seeds(config: RunConfig) -> float:
    """Return the reliability of leave-one-out memorization: Spearman of even and odd seeds, by Spearman-Brown."""
    members = read_members(Run(config).folder)
    left_out = (~members.included).any(0)  # bool [examples]
    seed = np.arange(len(members.included)) // int(left_out.sum())  # the networks of one seed follow one another
    even, odd = (
        memorization(members.right[seed % 2 == half], members.included[seed % 2 == half])[left_out].float().numpy()
        for half in (0, 1)
    )
    return reliability(even, odd, spearman)
