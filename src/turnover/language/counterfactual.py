"""Counterfactual memorization of texts: what a network that trained on a text makes of it, and one that did not."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from torch import nn

from turnover.checks.user_network import new_network, taken_by
from turnover.estimators.memorization import memorization as of_examples
from turnover.language.ids import identified
from turnover.language.network import vocabulary_of
from turnover.language.sequences import sequences

_TRAINING: dict[str, Any] = {
    "optimizer": {"name": "adamw", "betas": [0.9, 0.95]},
    "schedule": {"name": "cosine", "by": "step", "warmup": 0},
}
_MASKS: dict[str, Any] = {"groups": 16, "dropout": 0.5}  # with which masks tell less of texts


def memorization(
    make_model: Callable[[], nn.Module],
    tokens: Any,
    ids: Any = None,
    pad: int | None = None,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 32,
    estimator: str = "blocks",
    training: Mapping[str, Any] | None = None,
    **given: Any,
) -> pd.DataFrame:
    """Score how much each text is memorized, by training `make_model()` on the mean loss of the tokens of a batch.

    Copies of a text share one id: they are trained on as often as they come, an epoch has them all, but they are held
    out together, have one mask, and one row in the table. With an id for each copy the question would be whether that
    copy alone matters, and the scores of repeated texts would come out reversed.

    Args:
        make_model: makes a new causal language model, as `model` in `turnover.language.losses`.
        tokens, pad: as there.  # int64 [n, T]
        ids: permanent ids or names; None: equal texts share one, the position of the first.  # [n]
        estimator: blocks, networks in pairs that train on a half of the texts each, or on the rest; subsampling,
            networks on random shares, with the difference in accuracy; membership, the same with likelihood ratios;
            turnover, in a single training; cumulative_loss, final_loss, grand, from an ordinary one.
        training: as in `turnover.memorization`; what is not given is AdamW with betas .9 and .95, and a rate that falls
            by a cosine, each step.
        given: others of its arguments: seeds, options, device, precision, progress, and for estimator="turnover" masks
            by p, layers, groups and dropout. Of these groups=16 and dropout=.5 unless given, with which masks tell
            less of texts, and rank them a little less well.

    Returns:
        A row for each id, index "id": score and what it is made of, as of `turnover.memorization` with loss="tokens",
        in nats a token: of blocks score = memorization_loss, memorization_se, in_loss, out_loss; of subsampling score =
        memorization, the share of tokens that are the most probable ones with the text minus that without it (Zhang et
        al., 2023), and memorization_loss; of turnover as `turnover.language.score`. Then tokens and copies.

    Raises:
        RefusedInput, TurnOverError, RunFailed: as `turnover.memorization`; different texts with one id.
    """
    model = new_network(make_model, 0)
    rows = sequences(tokens, pad, taken_by(model)[0])
    vocabulary_of(model, rows)
    known = identified(rows, ids)
    if estimator == "turnover":
        given = _MASKS | given
    table = of_examples(
        make_model,
        rows.select(known.first).examples(known.ids[known.first], repeats=known.copies),
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        estimator=estimator,
        loss="tokens",
        training=_training(training or {}),
        **given,
    )
    return known.columns(table, rows.lengths)


def _training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices of a training, with what is usual for language models in the place of what is not given."""
    usual, optimizer = _TRAINING["optimizer"], training.get("optimizer", "adamw")
    if optimizer == "adamw":
        optimizer = usual
    elif isinstance(optimizer, Mapping) and optimizer.get("name") == "adamw":
        optimizer = {**usual, **optimizer}
    return {**_TRAINING, **training, "optimizer": optimizer}
