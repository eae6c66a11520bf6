"""How well influences by turn-over dropout agree with those by many networks, and how well they could."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F

from turnover.config.run import RunConfig
from turnover.estimators.subsampling import influence
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_influences, read_members
from turnover.stats.agreement import ceiling


def influence_agreement(truth: RunConfig, estimates: Sequence[RunConfig]) -> dict[str, float]:
    """Correlations of the influences of all training examples on one test example, their mean over test examples.

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
    found = [
        read_influences(Run(config).folder).loc[members.ids, members.test_ids].to_numpy().T for config in estimates
    ]
    halves = mean_correlation(first, second)
    reliability = 2 * halves / (1 + halves)
    return {
        "one_run": float(np.mean([mean_correlation(each, real) for each in found])),
        "all_runs": mean_correlation(np.mean(found, axis=0), real),
        "two_runs": mean_correlation(found[0], found[1]),
        "runs": len(found),
        "reliability": reliability,
        "ceiling": ceiling(reliability),
    }


def mean_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over rows of Pearson's correlation within a row; rows without variance are left out.  # [t, n] each"""
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    varied = scale > 0
    return float(((a * b).sum(axis=1)[varied] / scale[varied]).mean())
