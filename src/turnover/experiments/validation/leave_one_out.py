"""Every estimator against memorization by its definition: networks trained on all examples but one.

Only some examples are left out, half of them with wrong labels, so these correlations are not those of the large
table: on such examples to know which labels are wrong is to know most of the order.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from turnover.config.run import RunConfig
from turnover.estimators.subsampling import memorization
from turnover.experiments.validation.estimates import Condition, Estimate
from turnover.experiments.validation.table import rows
from turnover.experiments.validation.truth import Truth, known
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_members, read_scores
from turnover.stats.agreement import reliability, spearman

_COLUMNS = ("dataset", "wrong", "examples", "estimator", "networks", "seeds", "runs")
_MEASURES = ("spearman", "pearson", "spearman_loss", "pearson_loss")


def against_leave_one_out(config: RunConfig, estimates: Sequence[Estimate], truth: Truth) -> pd.DataFrame:
    """Correlations of every estimator, and of the ground truth itself, on the examples that were left out.

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
    whole = truth.table["probability"]
    itself = replace(estimates[0], name="truth", networks=truth.networks, scores=whole)
    here = [
        replace(each, scores=each.scores.reindex(ids), wrong=exact["wrong"], scored=len(ids))
        for each in [*estimates, itself]
    ]
    condition = replace(Condition.of(config), wrong=int(exact["wrong"].sum()), examples=len(ids))
    table = pd.DataFrame(rows({condition: here}, {condition: Truth(exact, {}, 0)}))
    measures = [name + end for name in _MEASURES for end in ("", "_low", "_high")]
    return table[[*_COLUMNS, *measures]].sort_values("spearman", ascending=False, ignore_index=True)


def split_seeds(config: RunConfig) -> float:
    """Reliability (Spearman) of leave-one-out memorization: even against odd seeds, by the Spearman-Brown formula."""
    members = read_members(Run(config).folder)
    left = ~members.included
    places = left.any(0)  # bool [examples]
    seed = np.arange(len(left)) // int(places.sum())  # the networks of one seed follow one another
    halves = [
        memorization(members.right[seed % 2 == half], members.included[seed % 2 == half])[places].float()
        for half in (0, 1)
    ]
    return reliability(halves[0].numpy(), halves[1].numpy(), spearman)
