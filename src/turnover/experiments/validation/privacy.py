"""Who is exposed: how well an attacker tells members of the training set, overall and by memorization."""

import numpy as np
import pandas as pd
import torch

from turnover.config.run import RunConfig
from turnover.estimators.membership import log_likelihood_ratios, share_above, threshold
from turnover.experiments.validation.truth import Truth
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_members

RATES = (0.001, 0.01)  # of false positives


def exposure(config: RunConfig, truth: Truth) -> pd.DataFrame:
    """True-positive rate of LiRA against each network of an ensemble, the others being the attacker's own.

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
    known = truth.table.reindex(members.ids[enough.numpy()])
    n = len(known)
    order = np.lexsort((known["loss"].to_numpy(), known["probability"].to_numpy()))
    parts = {0: np.arange(n), **{number + 1: part for number, part in enumerate(np.array_split(order, 10))}}
    limits = {rate: threshold(ratios, included, rate) for rate in RATES}
    rows = []
    for tenth, positions in parts.items():
        row = {
            "dataset": config.dataset.name,
            "tenth": tenth,
            "examples": len(positions),
            "wrong": float(known["wrong"].iloc[positions].mean()),
            "memorization": float(known["probability"].iloc[positions].astype(float).mean()),
        }
        of_tenth, inside = ratios[:, positions], included[:, positions]
        for rate, limit in limits.items():
            row[f"found_at_{rate:g}"] = float(share_above(of_tenth, inside, limit))
            row[f"mistaken_at_{rate:g}"] = float(share_above(of_tenth, ~inside, limit))
        rows.append(row)
    return pd.DataFrame(rows)
