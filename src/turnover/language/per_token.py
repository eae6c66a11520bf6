"""The loss of every token of a text, and whether it is the most probable one."""

from typing import Any

import torch
from torch import Tensor, nn

from turnover.checks.user_network import taken_by
from turnover.core.losses import token_losses
from turnover.errors import RunFailed
from turnover.language.network import logits_by_batch, vocabulary_of
from turnover.language.sequences import Sequences, sequences


def losses(model: nn.Module, tokens: Any, pad: int | None = None, *, batch_size: int | None = None) -> Tensor:
    """Compute the cross-entropy of every token given those before it, by the full network in evaluation mode.

    Args:
        model: a causal language model, tokens [n, T] -> logits [n, T, vocabulary], or an output that has them as
            `.logits`, as models of transformers do.
        tokens: token numbers, texts in rows.  # int64 [n, T]
        pad: the number that rows are padded with, before or behind the text; None: with none. It counts nowhere, so
            it must not be a token of the text too: take -1.
        batch_size: texts at once; None: as many as have a million logits, or more on a GPU. No number depends on it.

    Returns:
        Nats, in column t the loss of token t + 1; NaN for padding and for a text's first token.  # [n, T - 1]
    """
    rows = sequences(tokens, pad, taken_by(model)[0])
    found, _ = measured(model, rows, batch_size)
    result = found.new_full((len(rows), rows.width - 1), torch.nan)
    text, position = rows.counted[:, 1:].nonzero(as_tuple=True)
    result[text, rows.start[text] + position] = found[text, position]
    return result


def measured(model: nn.Module, rows: Sequences, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the loss of every token but a text's first, and whether it is the most probable one.

    Returns:
        Losses, NaN in padding, and bool, False there.  # [n, longest - 1] each

    Raises:
        RefusedInput: as `vocabulary_of`.
        RunFailed: a loss is NaN or infinite.
    """
    vocabulary = vocabulary_of(model, rows)
    found: Tensor | None = None
    right = torch.zeros_like(rows.targets, dtype=torch.bool)
    for index, logits, following in logits_by_batch(model, rows, batch_size, vocabulary):
        found = logits.new_full(right.shape, torch.nan) if found is None else found
        found[index, : following.shape[1]] = token_losses(logits, following)
        right[index, : following.shape[1]] = logits.argmax(2) == following
    assert found is not None
    if not found[rows.counted[:, 1:]].isfinite().all():
        raise RunFailed("some losses are NaN or infinite: has the network diverged?")
    return found.where(rows.counted[:, 1:], torch.nan), right
