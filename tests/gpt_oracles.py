"""A GPT by hand: one sequence at a time, attention by loops, sub-networks with their other units really removed."""

import math

import torch
from torch import Tensor

from turnover.models.gpt import GPT, Block


def logits(model: GPT, tokens: list[int], own: list[Tensor] | None = None, scale: float = 1.0) -> Tensor:
    """Logits of one sequence, computed from the weights alone.  # [n, vocabulary]

    Args:
        own: the units that are left in each block's MLP, bool, and what they are multiplied by; None: all.
    """
    x = [model.tokens.weight[token] + model.places.weight[place] for place, token in enumerate(tokens)]
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        attended = attention(block, [norm(block.norm1, token) for token in x])
        x = [token + block.out.weight @ mixed + block.out.bias for token, mixed in zip(x, attended, strict=True)]
        kept = torch.ones(len(block.up.bias), dtype=torch.bool) if own is None else own[number]
        up, down = block.up.weight[kept], block.down.weight[:, kept]  # the rows and columns of other units are gone
        x = [
            token + scale * down @ gelu(up @ norm(block.norm2, token) + block.up.bias[kept]) + block.down.bias
            for token in x
        ]
    return torch.stack([model.tokens.weight @ norm(model.norm, token) for token in x]).detach()


def attention(block: Block, x: list[Tensor]) -> list[Tensor]:
    """Means of the values of all tokens up to each, weighted by softmax of query times key, head by head."""
    dim = len(x[0])
    size = dim // block.heads
    projected = [block.qkv.weight @ token + block.qkv.bias for token in x]
    mixed = []
    for place in range(len(x)):
        heads = []
        for head in range(block.heads):
            query, key, value = (slice(part * dim + head * size, part * dim + (head + 1) * size) for part in range(3))
            scores = [
                (projected[place][query] @ projected[other][key]).item() / math.sqrt(size) for other in range(place + 1)
            ]
            weights = [math.exp(score - max(scores)) for score in scores]
            parts = [weight * projected[other][value] for other, weight in enumerate(weights)]
            heads.append(torch.stack(parts).sum(0) / sum(weights))
        mixed.append(torch.cat(heads))
    return mixed


def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm of one token."""
    deviation = x - x.sum() / len(x)
    return deviation / ((deviation * deviation).sum() / len(x) + layer.eps).sqrt() * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    """x Φ(x) of every number, by the error function of the standard library."""
    return torch.tensor([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x.tolist()], dtype=x.dtype)


def mean_loss(logits: Tensor, targets: list[int]) -> float:
    """Mean over tokens of -log p, by a loop."""
    losses = []
    for row, target in zip(logits.tolist(), targets, strict=True):
        top = max(row)
        losses.append(top + math.log(sum(math.exp(value - top) for value in row)) - row[target])
    return sum(losses) / len(losses)
