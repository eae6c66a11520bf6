"""Memorization scores from turn-over dropout (Liu et al., equation 6)."""

import logging
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.user_network import taken_by
from turnover.common.device import Precision
from turnover.core.attachment import untrained
from turnover.core.evaluation import BATCH, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.errors import RunFailed
from turnover.estimators.leakage import judge

log = logging.getLogger("turnover")


def score(
    model: nn.Module,
    x: Any,
    y: Any,
    ids: Any = None,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> pd.DataFrame:
    """Memorization score of every example by a trained network with turn-over dropout attached.

    score(z) = loss(flipped(z), z) - loss(own(z), z), cross-entropy in nats: how much worse the part of the network
    that never saw z does on z than the part that was trained on it.

    Args:
        x: inputs, ready for the network.  # [n, ...]
        y: class numbers the network was trained on.  # int64 [n]
        ids: the ids used in training; None: positions 0 .. n-1.  # [n]

    Returns:
        A row for every example, index "id": score, own_loss, flipped_loss, own_prediction, flipped_prediction, label.
        `attrs["leakage"]` tells whether the scores can be trusted. A warning tells of ids that were never seen under
        `own` in training, and of training outside of it.
    """
    device, dtype = taken_by(model)
    examples = user_examples(x, y, ids, device=device, dtype=dtype)
    refuse_unsuited(model, examples)
    if why := untrained(model, examples.ids):
        log.warning("%s", why)
    table = score_examples(model, examples, batch_size=batch_size, precision=precision)
    table.attrs["leakage"] = judge(model, examples, table, batch_size=batch_size, precision=precision).as_dict()
    return table


def score_examples(
    model: nn.Module, examples: Examples, *, batch_size: int = BATCH, precision: Precision = "float32"
) -> pd.DataFrame:
    """The table of `score`, without the verdict, for examples that are on the model's device already."""
    own_part, flipped_part = evaluate(
        model, examples, (own_units, flipped_units), batch_size=batch_size, precision=precision
    )
    columns: dict[str, Tensor] = {
        "score": flipped_part.loss - own_part.loss,
        "own_loss": own_part.loss,
        "flipped_loss": flipped_part.loss,
        "own_prediction": own_part.prediction,
        "flipped_prediction": flipped_part.prediction,
        "label": examples.labels,
    }
    table = pd.DataFrame(
        {name: column.cpu().numpy() for name, column in columns.items()},
        index=pd.Index(examples.ids.long().cpu().numpy(), name="id"),
    )
    if not np.isfinite(table["score"].to_numpy()).all():
        raise RunFailed("some losses are NaN or infinite, so their examples have no score: has the network diverged?")
    return table
