"""Slow, obvious versions of what turnover.language computes: one text, one token at a time, in float64."""

import itertools
import math
import zlib
from collections.abc import Callable, Sequence

import torch
from oracles import cross_entropy
from torch import Tensor, nn

Next = Callable[[list[int]], Tensor]  # the tokens so far -> logits of the next one  # [vocabulary]


def following(model: nn.Module) -> Next:
    """What a network says of the next token, from a pass over nothing but the tokens so far."""

    def logits(tokens: list[int]) -> Tensor:
        with torch.no_grad():
            output = model(torch.tensor([tokens]))
        return getattr(output, "logits", output)[0, -1].double()

    return logits


def rows(tokens: Tensor, pad: int | None) -> list[list[int]]:
    """Texts without padding."""
    return [[token for token in row if token != pad] for row in tokens.tolist()]


def token_losses(model: nn.Module, text: list[int]) -> list[float]:
    """The loss of every token but the first."""
    logits = following(model)
    return [cross_entropy(logits(text[:t]), text[t]) for t in range(1, len(text))]


def greedy(model: nn.Module, text: list[int], k: int) -> list[int]:
    """k tokens of a text, and what the network goes on with, as many as the text has."""
    logits, tokens = following(model), text[:k]
    while len(tokens) < len(text):
        tokens = [*tokens, int(logits(tokens).argmax())]
    return tokens


def prefix(model: nn.Module, text: list[int]) -> int:
    """The smallest number of tokens from which greedy decoding gives the text."""
    return next(k for k in range(1, len(text) + 1) if greedy(model, text, k) == text)


def rank(logits: Next, before: list[int], code: list[int], alphabet: Sequence[int]) -> int:
    """One more than the number of codes that are more probable, by looking at all of them."""

    def probability(digits: Sequence[int]) -> float:
        tokens, total = list(before), 0.0
        for digit in digits:
            total -= cross_entropy(logits(tokens), digit)
            tokens.append(digit)
        return total

    own = probability(code)
    others = itertools.product(alphabet, repeat=len(code))
    return 1 + sum(probability(other) > own + 1e-9 for other in others if list(other) != code)


def min_k(losses: list[float], k: float) -> float:
    """Mean log-probability of the least probable share of the tokens, of one at least."""
    most = max(1, int(k * len(losses)))
    return -sum(sorted(losses, reverse=True)[:most]) / most


def zlib_score(losses: list[float], text: str) -> float:
    """Mean log-probability over the bytes of the packed text."""
    return -sum(losses) / len(losses) / len(zlib.compress(text.encode()))


def likelihood_ratio(phi: float, inside: list[float], outside: list[float], spread: tuple[float, float]) -> float:
    """log N(phi; mean inside) - log N(phi; mean outside), with given variances."""

    def log_density(values: list[float], variance: float) -> float:
        mean = sum(values) / len(values)
        return -0.5 * (math.log(variance) + (phi - mean) ** 2 / variance)

    return log_density(inside, spread[0]) - log_density(outside, spread[1])
