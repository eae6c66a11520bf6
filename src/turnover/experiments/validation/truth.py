"""Ground truth: memorization by many networks, how reliable it is, and so how well any score can agree with it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from turnover.config.run import RunConfig
from turnover.estimators.subsampling import memorization, with_and_without
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_members, read_scores
from turnover.stats.agreement import Correlation, ceiling, pearson, reliability, spearman, tie_bound

CORRELATIONS: Mapping[str, Correlation] = {"spearman": spearman, "pearson": pearson}


@dataclass(frozen=True)
class Truth:
    """What a thousand networks, or a few hundred, say of every example."""

    table: pd.DataFrame  # index "id": the columns of `known`
    reliability: dict[str, float]  # by correlation, form and "all" or "clean", of the whole ensemble
    networks: int

    def ceiling(self, correlation: str, form: str, part: str) -> float:
        """The highest correlation that a perfect score without ties can be expected to have with this truth.

        A rank correlation is limited by the truth's ties too: nothing is memorized of many examples, whose order is
        arbitrary. Halves of the networks agree about such ties, so reliability does not know of them.
        """
        found = ceiling(self.reliability[f"{correlation}/{form}/{part}"])
        known = self.table if part == "all" else self.table[~self.table["wrong"]]
        return found * tie_bound(known[form].to_numpy()) if correlation == "spearman" else found


def truth(config: RunConfig) -> Truth:
    """The ground truth of a finished run with estimator=subsampling."""
    run = Run(config)
    table = known(read_scores(run.folder))
    members = read_members(run.folder)
    right, confidence, included = members.right, members.confidence, members.included
    halves = [_forms(right[start::2], confidence[start::2], included[start::2]) for start in (0, 1)]
    wrong = table["wrong"].to_numpy()
    found = {}
    for name, correlation in CORRELATIONS.items():
        for form in halves[0]:
            for part, chosen in (("all", np.ones(len(table), dtype=bool)), ("clean", ~wrong)):
                both = chosen & np.isfinite(halves[0][form]) & np.isfinite(halves[1][form])
                first, second = (half[form][both] for half in halves)
                found[f"{name}/{form}/{part}"] = reliability(first, second, correlation)
    return Truth(table, found, len(included))


def known(scores: pd.DataFrame) -> pd.DataFrame:
    """What an ensemble's score table says of memorization, in both of its forms; error: share of the networks not
    trained on an example that are wrong about it; wrong: whether its label is. Numbers are float32, in which
    differences of shares that are equal but for their rounding are ties.
    """
    columns = {
        "probability": scores["memorization"],
        "loss": scores["memorization_loss"],
        "error": 1 - scores["out_accuracy"],
    }
    wrong = scores["label"] != scores["true_label"]
    return pd.DataFrame(columns).astype(np.float32).assign(wrong=wrong)


def _forms(right: Tensor, confidence: Tensor, included: Tensor) -> dict[str, np.ndarray]:
    with_it, without = with_and_without(F.softplus(-confidence.double()), included)
    return {"probability": memorization(right, included).float().numpy(), "loss": (without - with_it).float().numpy()}
