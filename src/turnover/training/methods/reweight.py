"""Weights of examples by the scores of a table, such as the scores.parquet of a run."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.training.methods.method import Method, Step


class Reweight(Method):
    """Cross-entropy times the weight of each example."""

    def __init__(self, of_examples: Tensor) -> None:
        self.of_examples = of_examples  # [examples]

    def losses(self, step: Step) -> Tensor:
        """Return weighted losses.  # [batch]"""
        return step.losses * self.of_examples[step.index].to(step.losses.dtype)


def weights_by(path: Path, examples: Examples, strength: float) -> Tensor:
    """Return 1 + strength (1 - 2 r) for each example, with r from 0 to 1 the rank of its score among all of them.

    Args:
        path: a parquet or csv file with columns id and score; of several epochs the last one counts.
        strength: 1: from 2 for the lowest to 0 for the highest score; -1: the reverse.

    Returns:
        Weights of mean 1.  # float64 [examples]

    Raises:
        RefusedInput: the file cannot be read, lacks a column, or an example has no score or several.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise RefusedInput(f"method.path = {path}: cannot be read: {error}") from None
    if missing := {"id", "score"} - set(table.columns):
        raise RefusedInput(f"method.path = {path}: no column {' and '.join(sorted(missing))}")
    if "epoch" in table:
        table = table[table["epoch"] == table["epoch"].max()]
    if table["id"].duplicated().any():
        raise RefusedInput(f"method.path = {path}: id = {table['id'][table['id'].duplicated()].iloc[0]} has two scores")
    scores = table.set_index("id")["score"].reindex(examples.index)
    if scores.isna().any():
        raise RefusedInput(
            f"method.path = {path}: {int(scores.isna().sum())} of {len(examples)} examples have no score, among them "
            f"id {scores.index[scores.isna()][0]}; take a table of all that are trained on"
        )
    ranks = (scores.rank() - 0.5) / len(scores)  # ties have the mean of theirs
    return torch.tensor((1 + strength * (1 - 2 * ranks)).tolist(), dtype=torch.float64, device=examples.device)
