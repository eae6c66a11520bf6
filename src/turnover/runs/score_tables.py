"""From the scores of examples to the rows that a run stores."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from turnover.config.datasets import FACTS
from turnover.config.run import RunConfig
from turnover.data.datasets import Split
from turnover.runs.build import Parts
from turnover.runs.store.tables import SCORE_COLUMNS


def known(parts: Parts) -> Split:
    """The examples that the run trains on, in their order, as the data set knows them: true labels, corruption."""
    split = parts.dataset.train
    return split.select(torch.searchsorted(split.ids, parts.train.ids))  # ids rise; a subset may be trained on alone


def from_columns(parts: Parts, config: RunConfig, columns: dict[str, Tensor], score: str) -> pd.DataFrame:
    """The score table of the training examples, from estimates of each of them, one of which is the score.

    Args:
        columns: estimates by their names in `config.estimators.ESTIMATES`.  # [examples] each
        score: the name of the one that is the score.
    """
    index = pd.Index(parts.train.ids.cpu().numpy(), name="id")
    table = pd.DataFrame({name: column.double().cpu().numpy() for name, column in columns.items()}, index=index)
    table["score"] = table[score]
    table["label"] = parts.train.labels.cpu().numpy()
    return stored(table, parts, config, config.epochs)


def stored(table: pd.DataFrame, parts: Parts, config: RunConfig, epoch: int) -> pd.DataFrame:
    """A score table (index "id") of the training examples, with the columns that every stored one has."""
    split = known(parts)
    table = table.copy()
    table["split"] = np.where(table.index < FACTS[config.dataset.name].train, "train", "test")
    table["true_label"] = split.true_labels.cpu().numpy()
    table["corrupted"] = split.corrupted.cpu().numpy()
    table["epoch"] = epoch
    table = table.reset_index()
    return table[[name for name in SCORE_COLUMNS if name in table]]
