"""Ids of texts: copies of a text share one id, and so their masks, what is held out, and a row of a table.

With an id for each copy the question would be another one, what if this copy alone were missing, and the answer is
little, as the others teach the text.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from turnover.checks.arrays import array_of, ids_of, names_of
from turnover.checks.missing import some
from turnover.errors import RefusedInput
from turnover.language.sequences import Sequences, first_of

log = logging.getLogger("turnover")

_SHARED = "ids = pandas.factorize(pandas.Series(texts))[0]"


@dataclass(frozen=True)
class Ids:
    """Ids of all rows, and the first row of each id."""

    ids: Tensor  # int64 [rows]
    first: Tensor  # position of the first row of each id, in order  # int64 [ids]
    copies: Tensor  # rows with that id  # int64 [ids]
    names: np.ndarray  # of the ids, for tables  # [ids]

    def columns(self, table: pd.DataFrame, lengths: Tensor) -> pd.DataFrame:
        """Return a table of one row for each id, with `tokens` in the place of `label`, and `copies`."""
        table = table.drop(columns="label").set_axis(pd.Index(self.names, name="id"))
        table["tokens"], table["copies"] = lengths[self.first].cpu().numpy(), self.copies.cpu().numpy()
        return table


def identified(rows: Sequences, ids: Any) -> Ids:
    """Return the ids of texts; None: equal texts have one, the position of the first of them.

    Warns of equal texts with different ids.

    Raises:
        RefusedInput: there are not as many as rows, or different texts have the same.
    """
    texts, device = rows.texts, rows.tokens.device
    numbers = texts if ids is None else _checked(rows, ids)
    _, place = numbers.unique(return_inverse=True)
    first = first_of(place)
    if (other := texts != texts[first]).any():
        raise RefusedInput(
            f"ids: {some(numbers[other].unique())} belong to different texts, in rows "
            f"{some(other.nonzero()[:, 0])} and before: an id is the number of one text and its copies, {_SHARED}"
        )
    once = (first == torch.arange(len(rows), device=device)).nonzero()[:, 0]
    of_text = texts[once].unique(return_counts=True)[1]
    if (several := of_text[of_text > 1]).numel():
        log.warning(
            "%d texts have %d ids: while one copy is held out the others teach it, so their scores say that one copy "
            "matters little, not whether the text is memorized; let copies share an id, %s",
            len(several),
            int(several.sum()),
            _SHARED,
        )
    named = None if ids is None else names_of(ids)
    names = numbers[once].cpu().numpy() if named is None else named[once.cpu().numpy()]
    return Ids(numbers, once, place.bincount()[place[once]], names)


def _checked(rows: Sequences, ids: Any) -> Tensor:
    shape = tuple(array_of("ids", ids).shape)
    if len(shape) == 2 and shape[0] == len(rows) and shape[1] > 1:
        raise RefusedInput(
            f"ids has shape {shape}, an id for each token: a mask is shared by all tokens of a row, so several texts "
            "cannot be packed into one; give each text a row of its own, padded, and one id: tokens = "
            "torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-1); pad=-1"
        )
    if shape != (len(rows),):
        raise RefusedInput(f"ids must be [n], one for each of {len(rows)} rows of tokens; it has shape {shape}")
    return ids_of({"ids": ids}, rows.tokens.device)
