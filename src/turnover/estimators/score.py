"""Memorization scores from turn-over dropout (Liu et al., equation 6), and averages of score tables."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype
from torch import Tensor, nn

from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.user_network import taken_by
from turnover.common.device import Precision
from turnover.core.attachment import untrained
from turnover.core.evaluation import BATCH, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.core.losses import loss_of
from turnover.errors import RunFailed
from turnover.estimators.first_token import verdict_on

log = logging.getLogger("turnover")


def score(
    model: nn.Module,
    x: Any,
    y: Any = None,
    ids: Any = None,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
    loss: str | Callable[[Tensor, Tensor], Tensor] = "class",
) -> pd.DataFrame:
    """Compute the memorization score of every example by a trained network with turn-over dropout attached.

    score(z) = loss(flipped(z), z) - loss(own(z), z), of classes cross-entropy in nats: how much worse the part of
    the network that never saw z does on z than the part that was trained on it.

    Args:
        x: inputs, ready for the network: a tensor or array; a tuple or dict of them, the arguments of its forward pass;
            or a data set of PyTorch (or a DataLoader, for its data set, collate_fn and workers) whose items are (x, y),
            (x, y, id), or dicts with "labels", which is read batch by batch: y is left out.  # [n, ...]
        y: class numbers the network was trained on.  # int64 [n]; or what `loss` takes.  # [n, ...]
        ids: the ids used in training, or names, whose `turnover.core.names.numbers` were; None: positions.  # [n]
        loss: of an example, the one that the network was trained with. class: cross-entropy of logits [n, classes];
            soft: the same for a probability of each class as y [n, classes]; binary: of one logit [n] or [n, 1] for y
            of 0 and 1; multilabel: its mean over labels [n, labels]; squared: mean over outputs of (output - y)²;
            tokens: mean over tokens of the cross-entropy of logits [n, tokens, classes], y the token to be predicted at
            each position, -100 where none is, int64 [n, tokens]; or a function (outputs, y) -> loss [n].

    Returns:
        A row for every example, index "id": score, own_loss, flipped_loss, own_prediction, flipped_prediction, label.
        In the place of predictions: own_probability (of y = 1) for binary, own_right (share of labels) for multilabel,
        own_accuracy (share of tokens) for tokens, own_value for others that give one number an example; the label of
        soft is the most probable class, of tokens how many count, and of several numbers an example there is none.
        `attrs["leakage"]` is the verdict on whether to trust them, None for losses without classes or tokens. Warnings
        report such a verdict, ids that were never seen under `own` in training, and training outside of it.
    """
    device, dtype = taken_by(model)
    examples = user_examples(x, y, ids, device=device, dtype=dtype, loss=loss_of(loss))
    refuse_unsuited(model, examples)
    if why := untrained(model, examples.ids):
        log.warning("%s", why)
    table = score_examples(model, examples, batch_size=batch_size, precision=precision)
    verdict = verdict_on(model, examples, table, batch_size=batch_size, precision=precision)
    if verdict is not None:
        verdict.warn()
    table.attrs["leakage"] = None if verdict is None else verdict.as_dict()
    return table


def score_examples(
    model: nn.Module, examples: Examples, *, batch_size: int = BATCH, precision: Precision = "float32"
) -> pd.DataFrame:
    """Return the table of `score`, without the verdict, for examples that are on the model's device already."""
    own_part, flipped_part = evaluate(
        model, examples, (own_units, flipped_units), batch_size=batch_size, precision=precision
    )
    word = examples.loss.word
    columns: dict[str, Tensor] = {
        "score": flipped_part.loss - own_part.loss,
        "own_loss": own_part.loss,
        "flipped_loss": flipped_part.loss,
        f"own_{word}": own_part.prediction,
        f"flipped_{word}": flipped_part.prediction,
        "label": examples.loss.label(examples.labels),
    }
    table = pd.DataFrame(
        {name: column.cpu().numpy() for name, column in columns.items() if column.dim() == 1},
        index=pd.Index(examples.index, name="id"),
    )
    if not np.isfinite(table["score"].to_numpy()).all():
        raise RunFailed("some losses are NaN or infinite, so their examples have no score: has the network diverged?")
    return table


def average(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return means of scores and losses, and most frequent predictions (the smallest class wins a tie).

    Args:
        tables: score tables with equal index "id" in equal order; columns that are neither floats nor predictions
            (label, true_label, corrupted) must agree, and those that not all tables have are left out.

    Raises:
        ValueError: no table, other examples, or labels that differ.
    """
    if not tables:
        raise ValueError("there is no score table to average")
    first = tables[0]
    result = first[[name for name in first.columns if all(name in table for table in tables)]].copy()
    result.attrs = {}
    for name in result.columns:
        column = pd.concat([table[name] for table in tables], axis=1)
        if any(not table.index.equals(first.index) for table in tables):
            raise ValueError("score tables hold different examples, so they cannot be averaged")
        if is_float_dtype(first[name]) and name != "label":
            result[name] = column.mean(axis=1)
        elif name.endswith("prediction"):
            result[name] = _most_frequent(column.to_numpy())
        elif not column.eq(first[name], axis=0).all(axis=None):
            raise ValueError(f"score tables disagree about column {name!r}, so they cannot be averaged")
    return result


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """Return the most frequent value of each row, the smallest of equally frequent ones.  # [rows, seeds] -> [rows]"""
    rising = np.sort(values, axis=1)
    times = np.stack([(values == column[:, None]).sum(1) for column in rising.T], axis=1)
    return rising[np.arange(len(values)), times.argmax(axis=1)]
