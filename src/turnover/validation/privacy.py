"""Who is exposed: how well an attacker tells members of the training set, overall and by memorization."""

import numpy as np
import pandas as pd
import torch

from turnover.config import RunConfig
from turnover.member_file import read_members
from turnover.scores.membership import log_likelihood_ratios, true_positive_rate
from turnover.store import Run
from turnover.validation.truth import Truth

RATES = (0.001, 0.01)  # of false positives


def exposure(config: RunConfig, truth: Truth) -> pd.DataFrame:
    """True-positive rate of LiRA against each network of an ensemble, the others being the attacker's own.

    The threshold is one for all examples, set by the false positives among all of them. Tenths are of the examples
    ranked by memorization (probability form, ties by the loss form).

    Returns:
        dataset, tenth (0: all; 1: least memorized, 10: most), examples, memorization (mean), and for each false
        positive rate the share of members found.
    """
    members = read_members(Run(config).folder)
    included = members.included
    enough = torch.minimum(included.sum(0), (~included).sum(0)) >= 3  # networks; of a large ensemble always
    included = included[:, enough]
    ratios = log_likelihood_ratios(members.confidence[:, enough], included)
    known = truth.table.reindex(members.ids[enough.numpy()])
    n = len(known)
    order = np.lexsort((known["loss"].to_numpy(), known["probability"].to_numpy()))
    parts = {0: np.arange(n), **{number + 1: part for number, part in enumerate(np.array_split(order, 10))}}
    rows = []
    for tenth, positions in parts.items():
        row = {
            "dataset": config.dataset.name,
            "tenth": tenth,
            "examples": len(positions),
            "memorization": float(known["probability"].iloc[positions].mean()),
        }
        for rate in RATES:
            found = true_positive_rate(ratios, included, rate, torch.from_numpy(positions))
            row[f"found_at_{rate:g}"] = float(found)
        rows.append(row)
    return pd.DataFrame(rows)
