"""Tokens to be predicted, targets of loss='tokens', and logits of a network that suit them."""

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from turnover.checks.missing import Given, as_code, remove, some
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS, UNCOUNTED
from turnover.errors import RefusedInput

_NEXT = "y = torch.as_tensor(y); y = torch.cat([y[:, 1:], torch.full_like(y[:, :1], -100)], 1)"


def tokens_to_predict(given: Given, y: Tensor) -> Tensor:
    """Return the token to be predicted at each position, or `UNCOUNTED`.  # int64 [n, tokens]

    Raises:
        RefusedInput: they are no token numbers, or a row has none that counts.
    """
    code = as_code("y", given["y"])
    if y.dim() != 2:
        raise RefusedInput(
            f"y must hold the token to be predicted at each position for loss='tokens', [n, tokens], got shape "
            f"{tuple(y.shape)}: of tokens [n, tokens] it is y = tokens; {_NEXT}"
        )
    if y.dtype == torch.bool or y.is_floating_point() or y.is_complex():
        integers = "y.long()" if isinstance(given["y"], Tensor) else f"{code}.astype('int64')"
        raise RefusedInput(f"y must hold token numbers for loss='tokens', its dtype is {y.dtype}: give y = {integers}")
    y = y.long()
    if (bad := (y < 0) & (y != UNCOUNTED)).any():
        raise RefusedInput(
            f"y holds {int(y[bad][0])} in rows {some(bad.any(1).nonzero()[:, 0])}: token numbers are not negative, and "
            f"a position that is not to count has {UNCOUNTED}: y[y < 0] = {UNCOUNTED}"
        )
    if (empty := TOKENS.label(y) == 0).any():
        keep = f"(torch.as_tensor({code}) != {UNCOUNTED}).any(1).cpu().numpy()"
        raise RefusedInput(
            f"y has no token to be predicted in rows {some(empty.nonzero()[:, 0])}, so they have no loss: "
            f"{remove(given, keep)}"
        )
    return y


def refuse_no_logits_of_tokens(examples: Examples, logits: Tensor, sample: str) -> None:
    """Refuse outputs for the first examples that are no logits of each token, and targets that are the inputs.

    Raises:
        RefusedInput: says what to do.
    """
    shape = tuple(logits.shape)
    y = examples.labels[: shape[0] if shape else 0]
    if logits.dim() != 3 or shape[:2] != tuple(y.shape):
        raise RefusedInput(
            f"the network must give logits [n, tokens, vocabulary] for {y.shape[1]} tokens to be predicted; for "
            f"{sample} it gives {shape}: let its last layer give a logit of each token, at every position"
        )
    highest = int(examples.labels.max())
    if highest >= shape[2]:
        raise RefusedInput(
            f"token {highest} is to be predicted, but the network gives {shape[2]} logits, of tokens 0 to "
            f"{shape[2] - 1}: let its last layer give {highest + 1}, or use the tokenizer that it was made for"
        )
    inputs, _, _ = examples.batch(torch.arange(len(y), device=examples.device))
    counted = y != UNCOUNTED
    for part in tree_leaves(inputs):
        if part.shape != y.shape or part.is_floating_point() or (part != y)[counted].any():
            continue
        following = torch.cat([part[:, 1:], y[:, -1:]], 1)
        if (following != y)[counted].any():
            raise RefusedInput(
                "y holds the tokens of x themselves, which a network would be asked to copy: loss='tokens' takes the "
                f"next token of each position (labels of transformers' models are not shifted): {_NEXT}"
            )
