"""Slow, obvious versions of what the package computes fast; the tests compare the two."""

import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

WORD = 2**64


def splitmix64(x: int) -> int:
    """Finaliser of SplitMix64 in plain integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


def key(seed: int, layer: int) -> int:
    """The number of a (seed, layer)."""
    gamma = 0x9E3779B97F4A7C15
    return splitmix64((splitmix64((seed * gamma + 1) % WORD) + (layer + 2) * gamma) % WORD)


def own_bit(seed: int, layer: int, id: int, unit: int, p: float, groups: int | None = None) -> bool:
    """One bit of one mask: the unit's 16 binary digits, most significant first, are a number below p."""
    gamma = 0x9E3779B97F4A7C15
    if groups is not None:
        id = (splitmix64((id * gamma + key(seed, -1)) % WORD) >> 1) % groups
    row = splitmix64((id * gamma + key(seed, layer)) % WORD)
    number = 0
    for plane in range(16):
        word = splitmix64((row + (unit // 64 + (plane << 32)) * gamma) % WORD)
        digit = word >> (unit % 64) & 1
        # the comparison keeps a unit where its digit is set and p's is the higher: a 1 counts as the smaller digit
        number = 2 * number + (1 - digit)
    return number < round(p * 2**16)


def cut_out(model: nn.Sequential, own: Sequence[Tensor], *, flipped: bool, p: float) -> nn.Sequential:
    """An MLP with the units outside the sub-network really removed, smaller matrices and all.

    Args:
        own: the own mask of each hidden layer, bool.  # [units] a layer
    """
    linears = [module for module in model if isinstance(module, nn.Linear)]
    keep = [~mask if flipped else mask for mask in own]
    scale = 1 / (1 - p) if flipped else 1 / p
    layers: list[nn.Module] = [nn.Flatten()]
    before: Tensor | None = None
    for number, linear in enumerate(linears):
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if before is not None:
            weight = weight[:, before] * scale
        if number < len(keep):
            weight, bias = weight[keep[number]], bias[keep[number]]
            before = keep[number]
        small = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        small.weight.data, small.bias.data = weight, bias
        layers += [small] + ([nn.ReLU()] if number < len(keep) else [])
    return nn.Sequential(*layers)


def cross_entropy(logits: Tensor, label: int) -> float:
    """-log softmax(logits)[label] of one example, from the definition."""
    values = logits.tolist()
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values)) - values[label]


def masked_resnet_block(x: Tensor, conv: nn.Conv2d, mask: Tensor, p: float) -> Tensor:
    """Convolution, ReLU, then every feature map multiplied by its own bit over p.  # x: [1, channels, h, w]"""
    out = F.relu(conv(x))
    for channel in range(out.shape[1]):
        out[:, channel] = out[:, channel] / p if mask[channel] else out[:, channel] * 0
    return out


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half."""
    pairs = [(a > b) + (a == b) / 2 for a in values[positive] for b in values[~positive]]
    return float(np.mean(pairs))


def skewness(values: np.ndarray) -> float:
    """Third standardised moment; 0 for equal values."""
    if len(set(values.tolist())) == 1:
        return 0.0
    mean = sum(values) / len(values)
    second, third = (sum((value - mean) ** power for value in values) / len(values) for power in (2, 3))
    return float(third / second**1.5)


def top_share(values: np.ndarray, tenths: int) -> float:
    """Share of all positive mass that the highest `tenths` tenths of the values hold, rounded up to whole values."""
    ranked = sorted((max(float(value), 0.0) for value in values), reverse=True)
    kept = -(-tenths * len(ranked) // 10)
    return math.fsum(ranked[:kept]) / math.fsum(ranked) if math.fsum(ranked) > 0 else 0.0
