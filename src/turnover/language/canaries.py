"""Exposure of canaries (Carlini et al., 2019): how far ahead of other codes a network ranks the one it was taught."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from turnover.checks.arrays import array_of, tensor_of
from turnover.checks.missing import some
from turnover.checks.user_network import taken_by
from turnover.common.seeding import torch_generator
from turnover.core.evaluation import evaluation_mode
from turnover.core.inputs import run
from turnover.errors import RefusedInput
from turnover.language.network import rows_at_once, vocabulary_of
from turnover.language.sequences import Sequences, sequences
from turnover.language.skew_normal import log_cdf

_MOST = 10**6  # codes whose exact rank is found
# nats within which two codes are as probable: above the rounding of sums of logits
_TIES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 0.05, torch.bfloat16: 0.2}


@torch.no_grad()
def exposure(
    model: nn.Module,
    before: Any,
    codes: Any,
    alphabet: Any,
    exact: bool = True,
    *,
    pad: int | None = None,
    samples: int = 500,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """Compute log2(codes) - log2(rank) of each canary: of all codes of its length, how few are more probable.

    Args:
        model: as in `turnover.language.losses`.
        before: the tokens before the code, padded with `pad` if their numbers differ.  # int64 [canaries, T]
        codes: the tokens of the true codes.  # int64 [canaries, digits]
        alphabet: the tokens that codes are made of, each digit one of them.  # int64 [letters]
        exact: rank the code among all others. The tree of codes is walked, and every beginning that is less probable
            than the whole true code dropped: with each digit the probability falls. Equally probable codes do not
            count as ahead. False: estimate the rank by a skew-normal distribution of the losses of random codes.
        samples, seed: of these random codes.

    Returns:
        Bits, float64: 0 if all other codes are more probable, log2(letters) digits if none is.  # [canaries]

    Raises:
        RefusedInput: codes are not of the alphabet, or too many for exact ranks.
    """
    device = taken_by(model)[0]
    if isinstance(alphabet, str):
        raise RefusedInput(
            f"alphabet = {alphabet!r}: give the numbers of its tokens; all that codes are made of are "
            "alphabet = codes.unique()"
        )
    rows = sequences(before, pad, device, name="before", least=1)
    codes, letters = (tensor_of(name, array_of(name, value), device) for name, value in
                      (("codes", codes), ("alphabet", alphabet)))  # fmt: skip
    _refuse_codes(rows, codes, letters)
    total = codes.shape[1] * math.log2(len(letters))
    if exact and total > math.log2(_MOST):
        raise RefusedInput(
            f"codes of {codes.shape[1]} digits of an alphabet of {len(letters)} are {len(letters) ** codes.shape[1]}, "
            f"more than {_MOST} to be ranked: sample them, exact=False"
        )
    walk = _Walk(model, rows, letters, batch_size, vocabulary_of(model, _with(rows, codes)))
    everyone = torch.arange(len(rows), device=device)
    own = walk.log_probability(everyone, codes)
    if exact:
        return total - (walk.ahead(codes, own) + 1).double().log2()
    draw = torch.randint(len(letters), (samples, codes.shape[1]), generator=torch_generator(seed, "codes"))
    others = letters[draw.to(device)].repeat(len(rows), 1)
    losses = -walk.log_probability(everyone.repeat_interleave(samples), others).unflatten(0, (len(rows), samples))
    return -log_cdf(-own, losses) / math.log(2)


def _refuse_codes(rows: Sequences, codes: Tensor, letters: Tensor) -> None:
    if letters.dim() != 1 or len(letters.unique()) < max(2, len(letters)) or letters.is_floating_point():
        raise RefusedInput(
            "alphabet must hold two or more different tokens as numbers, [letters]; all that codes are made of are "
            "alphabet = codes.unique()"
        )
    if codes.dim() != 2 or len(codes) != len(rows) or not codes.shape[1]:
        raise RefusedInput(
            f"codes must be [canaries, digits], one for each of {len(rows)} rows of before, got {tuple(codes.shape)}"
        )
    if (other := ~torch.isin(codes, letters)).any():
        raise RefusedInput(
            f"codes hold token {codes[other][0].item()} in rows {some(other.any(1).nonzero()[:, 0])}, which is not in "
            "the alphabet: each digit must be a token of its own, so let the tokenizer split digits, or give as "
            "alphabet all tokens that codes are made of, alphabet = codes.unique()"
        )


def _with(rows: Sequences, codes: Tensor) -> Sequences:
    """Return the rows, each followed by its code."""
    if not codes.shape[1]:
        return rows
    places = torch.arange(rows.tokens.shape[1] + codes.shape[1], device=codes.device) - rows.lengths[:, None]
    tokens = torch.cat([rows.tokens, torch.zeros_like(codes)], 1)
    inside = (places >= 0) & (places < codes.shape[1])
    tokens = tokens.where(~inside, codes.gather(1, places.clamp(0, codes.shape[1] - 1)))
    return replace(rows, tokens=tokens, lengths=rows.lengths + codes.shape[1])


class _Walk:
    """Probabilities of codes, each after the tokens before it."""

    def __init__(
        self, model: nn.Module, rows: Sequences, letters: Tensor, batch_size: int | None, vocabulary: int
    ) -> None:
        self.model, self.rows, self.letters = model, rows, letters
        self.batch_size, self.vocabulary = batch_size, vocabulary
        self.ties = 1e-5

    def log_probability(self, canary: Tensor, codes: Tensor) -> Tensor:
        """Return the log-probability of whole codes, in nats.  # [codes], [codes, digits] -> float64 [codes]"""
        parts = []
        for logits, _, digits in self._passes(canary, codes, 1):
            own = logits.log_softmax(2).gather(2, digits[:, :, None])[:, :, 0]
            parts.append(own.sum(1))
        return torch.cat(parts)

    def ahead(self, codes: Tensor, own: Tensor) -> Tensor:
        """Count the codes that are more probable than each true one.  # [canaries, digits] -> int64 [canaries]"""
        count = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
        canary, begun = torch.arange(len(codes), device=codes.device), codes[:, :0]
        reached = own.new_zeros(len(codes))
        for digit in range(codes.shape[1]):
            following = [logits[:, -1].log_softmax(1)[:, self.letters] for logits, *_ in self._passes(canary, begun, 0)]
            reached = reached[:, None] + torch.cat(following)  # [beginnings, letters]
            left = reached > own[canary][:, None] + self.ties
            if digit == codes.shape[1] - 1:  # but not itself, whatever rounding says
                is_own = (begun == codes[canary, :digit]).all(1)[:, None] & (self.letters == codes[canary, -1:])
                return count.index_add(0, canary, (left & ~is_own).sum(1))
            row, letter = left.nonzero(as_tuple=True)
            begun = torch.cat([begun[row], self.letters[letter, None]], 1)
            canary, reached = canary[row], reached[row, letter]
            if not len(canary):
                break
        return count

    def _passes(self, canary: Tensor, codes: Tensor, ends: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield logits in float64 of the last tokens before a code, and of its own but the last ones.

        # [batch, 1 + digits - ends, vocabulary]
        """
        digits = codes.shape[1]
        inputs = _with(self.rows.select(canary), codes)
        size = self.batch_size or rows_at_once(inputs, self.vocabulary)
        with evaluation_mode(self.model):
            for index in torch.arange(len(codes), device=codes.device).split(size):
                length = inputs.lengths[index]  # of everything, with the code
                logits = run(self.model, inputs.tokens[index, : int(length.max()) - ends])
                self.ties = _TIES.get(logits.dtype, self.ties)
                place = length[:, None] - 1 - digits + torch.arange(1 + digits - ends, device=codes.device)
                chosen = logits[torch.arange(len(index), device=codes.device)[:, None], place]
                yield chosen.double(), index, codes[index]
