"""Memorization scores of texts by turn-over dropout."""

import logging
from typing import Any

import pandas as pd
from torch import nn

from turnover.checks.user_network import taken_by
from turnover.common.device import Precision
from turnover.core.attachment import untrained
from turnover.estimators.first_token import first_token
from turnover.estimators.score import score_examples
from turnover.language.ids import identified
from turnover.language.network import rows_at_once, vocabulary_of
from turnover.language.sequences import sequences

log = logging.getLogger("turnover")


def score(
    model: nn.Module,
    tokens: Any,
    ids: Any,
    pad: int | None = None,
    *,
    batch_size: int | None = None,
    precision: Precision = "float32",
) -> pd.DataFrame:
    """Compute how much more each text costs the units that never trained on it than those that did, in nats a token.

    Args:
        model: a causal language model that was trained under `turnover.own`; otherwise as in
            `turnover.language.losses`, as are tokens, pad and batch_size.
        ids: of the rows, as they were in training; copies of a text share one, which is refused for different texts.
            A warning says how many texts have several.  # [n]

    Returns:
        A row for each id, index "id": score = flipped_loss - own_loss, own_loss, flipped_loss, own_accuracy,
        flipped_accuracy (shares of tokens that are the most probable ones), tokens (of the text, without padding),
        copies (rows with that id). `attrs["leakage"]` is the verdict on whether masks tell texts, by a probe of first
        tokens that are not read; warnings report it, and ids that were not trained on.
    """
    rows = sequences(tokens, pad, taken_by(model)[0])
    size = batch_size or rows_at_once(rows, vocabulary_of(model, rows))
    known = identified(rows, ids)
    examples = rows.select(known.first).examples(known.ids[known.first])
    if why := untrained(model, examples.ids):
        log.warning("%s", why)
    table = score_examples(model, examples, batch_size=size, precision=precision)
    verdict = first_token(model, examples, table, batch_size=size, precision=precision)
    verdict.warn()
    table = known.columns(table, rows.lengths)
    table.attrs["leakage"] = verdict.as_dict()
    return table
