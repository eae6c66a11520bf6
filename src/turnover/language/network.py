"""What a language model must do: take tokens, and give logits of the next one that no later token reaches."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from turnover.checks.inputs import logits_of
from turnover.checks.missing import some
from turnover.checks.tokens import refuse_no_logits_of_tokens
from turnover.common.matmul import fast_products
from turnover.core.evaluation import evaluation_mode
from turnover.core.examples import Examples
from turnover.core.inputs import run
from turnover.core.losses import TOKENS
from turnover.errors import RefusedInput, RunFailed
from turnover.language.sequences import Sequences

_LOGITS = {"cpu": 1 << 20}  # numbers at once, which stay in a processor's caches
_MORE = 1 << 25  # elsewhere


def vocabulary_of(model: nn.Module, rows: Sequences) -> int:
    """Return how many logits a network gives at each position.

    Raises:
        RefusedInput: it cannot take such tokens, gives no logits of each, or looks at tokens that come later.
        RunFailed: logits are NaN or infinite.
    """
    examples = rows.examples()
    try:
        logits, sample = logits_of(model, examples, min(2, len(rows)), training=False)
    except RefusedInput as error:
        raise _explained(model, rows, error) from error.__cause__
    if logits.dim() == 3 and bool((rows.tokens >= logits.shape[2]).any()):
        raise _too_high(rows, logits.shape[2])
    refuse_no_logits_of_tokens(examples, logits, sample)
    if not logits.isfinite().all():
        raise RunFailed("the network gives logits that are NaN or infinite: has it diverged?")
    changed = rows.tokens[:2, :-1].clone()
    changed[:, -1] = (changed[:, -1] + 1) % logits.shape[2]
    other, _ = logits_of(model, _inputs(changed), len(changed), training=False)
    difference = (other - logits)[:, :-1].abs()
    # sums may be taken in another order; what a later token tells is larger
    if difference.numel() and difference.max() > 1e-3 * (logits.max() - logits.min()):
        raise RefusedInput(
            "the network's logits depend on tokens that come later, so its losses would be too low: a causal language "
            "model is needed, with causal attention (is_causal=True, or is_decoder=True of transformers' encoders)"
        )
    return int(logits.shape[2])


def _too_high(rows: Sequences, vocabulary: int) -> RefusedInput:
    high = (rows.tokens >= vocabulary).any(1)
    return RefusedInput(
        f"tokens hold {int(rows.tokens.max())} in rows {some(high.nonzero()[:, 0])}, but the network has logits of "
        f"tokens 0 to {vocabulary - 1}: use the tokenizer that it was made for, or a larger embedding and last layer"
    )


def _inputs(tokens: Tensor) -> Examples:
    return Examples(tokens, torch.zeros_like(tokens), torch.arange(len(tokens), device=tokens.device), loss=TOKENS)


def _takes(model: nn.Module, tokens: Tensor) -> Tensor | None:
    try:
        return logits_of(model, _inputs(tokens), len(tokens), training=False)[0]
    except RefusedInput:
        return None


def _explained(model: nn.Module, rows: Sequences, error: RefusedInput) -> RefusedInput:
    """Return an error that says which tokens a network cannot take: too high ones, or too many in a row."""
    zeros = torch.zeros_like(rows.tokens[:2, :-1])
    logits = _takes(model, zeros)
    if logits is not None and logits.dim() == 3:
        return _too_high(rows, logits.shape[2])
    most, fails = 0, zeros.shape[1]
    while fails - most > 1:
        middle = (most + fails) // 2
        most, fails = (middle, fails) if _takes(model, zeros[:, :middle]) is not None else (most, middle)
    if not most:
        return error
    cut = f"[:, :{most + 1}]" if not rows.start.any() else f"[:, -{most + 1}:]"
    return RefusedInput(
        f"{int((rows.lengths > most + 1).sum())} of {len(rows)} texts are longer than {most + 1} tokens, of which the "
        f"network takes all but the last ({error.__cause__}): cut them, tokens = tokens{cut}"
    )


def rows_at_once(rows: Sequences, vocabulary: int) -> int:
    """Return how many texts are a batch."""
    numbers = _LOGITS.get(rows.tokens.device.type, _MORE)
    return max(1, numbers // (vocabulary * rows.tokens.shape[1]))


@torch.no_grad()
def logits_by_batch(
    model: nn.Module, rows: Sequences, batch_size: int | None, vocabulary: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield positions, logits and the next tokens, in evaluation mode; texts of about one length go together.

    Padding is behind the tokens and attention causal, so no attention mask is needed.
    # int64 [batch], [batch, tokens, vocabulary] of at least 32 bits, int64 [batch, tokens]
    """
    targets = rows.targets
    size = batch_size or rows_at_once(rows, vocabulary)
    with evaluation_mode(model), fast_products(rows.tokens.device):
        for index in rows.lengths.argsort(stable=True).split(size):
            longest = int(rows.lengths[index].max()) - 1
            logits = run(model, rows.tokens[index, :longest])
            yield index, logits.float() if logits.dtype.itemsize < 4 else logits, targets[index, :longest]
