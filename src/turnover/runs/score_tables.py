"""Score tables as a run stores them."""

import numpy as np
import pandas as pd
from torch import Tensor

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.runs.build import RunTask
from turnover.runs.store.tables import SCORE_COLUMNS


def from_columns(task: RunTask, config: RunConfig, columns: dict[str, Tensor], score: str) -> pd.DataFrame:
    """Return the score table of the training examples from their estimates, one of which is the score.

    Args:
        columns: estimates by their names in `config.estimators.ESTIMATES`.  # [examples] each
        score: the name of the one that is the score.
    """
    index = pd.Index(task.train.ids.cpu().numpy(), name="id")
    wide = {name: column.double() if column.is_floating_point() else column for name, column in columns.items()}
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in wide.items()}, index=index)
    table["score"] = table[score]
    table["label"] = task.train.labels.cpu().numpy()
    return stored(table, task, config, config.epochs)


def stored(table: pd.DataFrame, task: RunTask, config: RunConfig, epoch: int) -> pd.DataFrame:
    """Return a score table (index "id") of the training examples with the columns of every stored one."""
    split = task.known
    table = table.copy()
    table["split"] = np.where(table.index < DATASETS[config.dataset.name].train, "train", "test")
    table["true_label"] = split.true_labels.cpu().numpy()
    table["corrupted"] = split.corrupted.cpu().numpy()
    table["epoch"] = epoch
    table = table.reset_index()
    return table[[name for name in SCORE_COLUMNS if name in table]]
