"""Slow, obvious versions of what the package computes fast; the tests compare the two."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
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


def thinned(
    model: nn.Sequential, x: Tensor, own: Sequence[Tensor], left: Sequence[Tensor], *, p: float, dropout: float
) -> Tensor:
    """Logits of one example, in a step that drops units of its own sub-network: unit after unit, after every ReLU.

    Args:
        x: [1, ...]
        own: the own mask of each hidden layer, bool.  # [units] a layer
        left: the units of it that the step does not drop, whether own or not, bool.  # [units] a layer
    """
    layers = iter(zip(own, left, strict=True))
    for module in model:
        x = module(x)
        if isinstance(module, nn.ReLU):
            mask, stays = next(layers)
            units = []
            for unit in range(x.shape[1]):
                factor = 1 / p if mask[unit] else 0.0
                factor *= 1 / (1 - dropout) if stays[unit] else 0.0
                units.append(x[:, unit] * factor)
            x = torch.stack(units, dim=1)
    return x


def cross_entropy(logits: Tensor, label: int) -> float:
    """-log softmax(logits)[label] of one example, from the definition."""
    values = logits.tolist()
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values)) - values[label]


def label_lead(logits: Tensor, label: int, true: int) -> float:
    """Log probability of a wrong label minus that of each other wrong class in turn, in the mean."""
    wrong = [c for c in range(len(logits)) if c not in (label, true)]
    return sum(cross_entropy(logits, c) - cross_entropy(logits, label) for c in wrong) / len(wrong)


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half."""
    a, b = values[positive][:, None], values[~positive][None, :]
    return float(np.mean((a > b) + (a == b) / 2))


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


def share_among(values: Sequence[float], among: Sequence[bool]) -> float:
    """Positive values of some examples, over those of all, one at a time; 0 if none is positive."""
    part = whole = 0.0
    for value, inside in zip(values, among, strict=True):
        if value > 0:
            whole += value
            part += value if inside else 0.0
    return part / whole if whole else 0.0


def cut_out_vgg(model: nn.Sequential, own: Sequence[Tensor], *, flipped: bool, p: float) -> nn.Sequential:
    """A chain of convolutions and one linear layer with the feature maps outside the sub-network really removed.

    Args:
        own: the own mask of each convolution's feature maps, bool.  # [maps] a convolution
    """
    keep = [~mask if flipped else mask for mask in own]
    scale = 1 / (1 - p) if flipped else 1 / p
    before: Tensor | None = None
    convolutions = iter(keep)
    layers: list[nn.Module] = []
    for module in model.modules():
        match module:
            case nn.Conv2d():
                kept = next(convolutions)
                weight = module.weight.detach()[kept]
                if before is not None:
                    weight = weight[:, before] * scale
                has_bias = module.bias is not None
                maps, before_maps = weight.shape[:2]
                [stride, _] = module.stride
                small = nn.Conv2d(before_maps, maps, 3, stride, padding=1, bias=has_bias, dtype=weight.dtype)
                small.weight.data = weight
                if module.bias is not None and small.bias is not None:
                    small.bias.data = module.bias.detach()[kept]
                before = kept
                layers += [small, nn.ReLU()]
            case nn.MaxPool2d():
                layers.append(nn.MaxPool2d(2))
            case nn.Linear():
                assert before is not None
                pixels = module.in_features // len(before)  # of a feature map, one after another in a row
                weight = module.weight.detach()[:, before.repeat_interleave(pixels)] * scale
                head = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
                head.weight.data, head.bias.data = weight, module.bias.detach()
                layers += [nn.Flatten(), head]
    return nn.Sequential(*layers)


def layer_norm(row: Tensor, norm: nn.LayerNorm) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias of one token.  # [channels]"""
    centred = row - row.mean()
    return centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias


def attention(tokens: Tensor, layer: nn.Module) -> Tensor:
    """Multi-head self-attention of one example, one query of one head at a time.  # [tokens, channels]"""
    count, channels = tokens.shape
    width = channels // int(layer.heads)  # type: ignore[arg-type]
    queries, keys, values = (tokens @ layer.qkv.weight.T).split(channels, dim=1)  # type: ignore[operator, union-attr]
    mixed = torch.zeros_like(tokens)
    for head in range(channels // width):
        part = slice(head * width, (head + 1) * width)
        for query in range(count):
            weights = [math.exp(float(queries[query, part] @ key) / math.sqrt(width)) for key in keys[:, part]]
            for weight, value in zip(weights, values[:, part], strict=True):
                mixed[query, part] += weight / sum(weights) * value
    return mixed @ layer.proj.weight.T + layer.proj.bias  # type: ignore[operator, union-attr]


def masked_cct(model: nn.Module, image: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Logits of a compact transformer for one image, every channel multiplied by its own factor by hand.

    Args:
        model: read for its weights only; no forward pass of it or of its parts is run.
        image: [channels, height, width]
        factors: of each convolution's feature maps, then of each block's hidden channels.  # [channels] a layer
    """
    remaining = iter(factors)
    maps = image[None]
    for convolution, _, _ in model.tokenizer.conv_layers:  # type: ignore[union-attr]
        maps = F.conv2d(maps, convolution.weight, padding=1).clamp(min=0)
        maps = torch.stack([plane * factor for plane, factor in zip(maps[0], next(remaining), strict=True)])[None]
        maps = F.max_pool2d(maps, kernel_size=3, stride=2, padding=1)
    classifier: Any = model.classifier
    tokens = torch.stack([maps[0, :, row, column] for row in range(maps.shape[2]) for column in range(maps.shape[3])])
    tokens = tokens + classifier.positional_emb[0]
    for block in classifier.blocks:
        normed = torch.stack([layer_norm(token, block.pre_norm) for token in tokens])
        tokens = tokens + attention(normed, block.self_attn)
        tokens = torch.stack([layer_norm(token, block.norm1) for token in tokens])
        factor = next(remaining)
        rows = []
        for token in tokens:
            hidden = (block.linear1.weight @ token + block.linear1.bias).clamp(min=0) * factor
            rows.append(token + block.linear2.weight @ hidden + block.linear2.bias)
        tokens = torch.stack(rows)
    tokens = torch.stack([layer_norm(token, classifier.norm) for token in tokens])
    weights = [math.exp(float(classifier.attention_pool.weight[0] @ token)) for token in tokens]  # its bias cancels
    pooled = sum(weight / sum(weights) * token for weight, token in zip(weights, tokens, strict=True))
    assert next(remaining, None) is None
    logits: Tensor = classifier.fc.weight @ pooled + classifier.fc.bias
    return logits


def lowest_and_highest(
    rows: Sequence[tuple[int, int, float, float]], count: int, *, balanced: bool
) -> tuple[list[int], list[int]]:
    """Ids of the `count` easiest and most difficult of (id, label, score, loss), by taking the best one left.

    A negative score counts as 0; equal ones go by loss, then by id. Balanced: the classes take turns, in their order,
    as long as they last.
    """

    def taken(sign: int) -> list[int]:
        left, turn = list(rows), 0
        chosen: list[int] = []
        classes = sorted({row[1] for row in rows})
        while len(chosen) < count:
            allowed = [row for row in left if not balanced or row[1] == classes[turn % len(classes)]]
            turn += 1
            if allowed:
                best = min(allowed, key=lambda row: (sign * max(row[2], 0.0), sign * row[3], sign * row[0]))
                left.remove(best)
                chosen.append(best[0])
        return chosen

    return taken(1), taken(-1)


def example_gradients(
    model: nn.Module, x: Tensor, y: Tensor, inside: Callable[[int], AbstractContextManager[None]] | None = None
) -> dict[str, Tensor]:
    """The gradient of every example's loss by plain autograd, one at a time.  # by parameter: [examples, numbers]"""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    rows: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for i in range(len(x)):
        with inside(i) if inside else nullcontext():
            loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for (name, parameter), part in zip(parameters.items(), found, strict=True):
            rows[name].append((torch.zeros_like(parameter) if part is None else part).flatten())
    return {name: torch.stack(each) for name, each in rows.items()}


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two vectors; 0 if one of them is 0."""
    lengths = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / lengths if lengths else 0.0


def mean_cosine(vectors: Tensor) -> float:
    """Equation 3: over all ordered pairs of different vectors."""
    n = len(vectors)
    pairs = [cosine(vectors[i], vectors[j]) for i in range(n) for j in range(n) if i != j]
    return sum(pairs) / len(pairs)


def contribution(v: Tensor, g: Tensor) -> float:
    """Equation 4: the projection of v on g; 0 if g is 0."""
    length = math.sqrt(float(g @ g))
    return float(v @ g) / length if length else 0.0


def adamw(
    weight: Tensor, gradient: Tensor, state: dict[str, Any], lr: float, betas: Sequence[float], eps: float, decay: float
) -> None:
    """One step of AdamW on one parameter, as Loshchilov and Hutter (2019) write it. `state` is empty before the first.

    The parameter shrinks by lr decay; then it goes by lr m / (sqrt(v) + eps), with means m and v of gradients and of
    their squares, each divided by what it would be of ones.
    """
    step = state["step"] = state.get("step", 0) + 1
    state["m"] = betas[0] * state.get("m", 0.0) + (1 - betas[0]) * gradient
    state["v"] = betas[1] * state.get("v", 0.0) + (1 - betas[1]) * gradient**2
    m, v = state["m"] / (1 - betas[0] ** step), state["v"] / (1 - betas[1] ** step)
    weight.copy_(weight - lr * decay * weight - lr * m / (v.sqrt() + eps))


def smoothed(logits: Tensor, label: int, smoothing: float) -> Tensor:
    """Cross-entropy of one example to a target of 1 - smoothing for its label, and smoothing shared by all classes.

    Args:
        logits: [classes]
    """
    classes = len(logits)
    log_p = logits - logits.exp().sum().log()
    target = [smoothing / classes + (1 - smoothing) * (number == label) for number in range(classes)]
    return -torch.stack([share * term for share, term in zip(target, log_p, strict=True)]).sum()


def example_loss(kind: str, outputs: list[float], y: list[float]) -> float:
    """The loss of one example from its definition, in plain numbers; outputs and y as one list each."""
    match kind:
        case "class":
            return cross_entropy(torch.tensor(outputs, dtype=torch.float64), int(y[0]))
        case "soft":
            terms = [share * cross_entropy(torch.tensor(outputs, dtype=torch.float64), i) for i, share in enumerate(y)]
            return math.fsum(terms)
        case "binary" | "multilabel":  # log(1 + exp(-z)), z the log odds of what is true, by the larger of both terms
            signed = [z if label else -z for z, label in zip(outputs, y, strict=True)]
            return math.fsum(max(-z, 0.0) + math.log1p(math.exp(-abs(z))) for z in signed) / len(signed)
        case "squared":
            return math.fsum((a - b) ** 2 for a, b in zip(outputs, y, strict=True)) / len(y)
    raise ValueError(kind)


def is_right(kind: str, outputs: list[float], y: list[float]) -> bool:
    """Whether one example is right, by its definition."""
    match kind:
        case "class":
            return max(range(len(outputs)), key=outputs.__getitem__) == y[0]
        case "soft":
            return max(range(len(outputs)), key=outputs.__getitem__) == max(range(len(y)), key=y.__getitem__)
        case "binary" | "multilabel":
            return all((z > 0) == bool(label) for z, label in zip(outputs, y, strict=True))
    return False


def with_square(image: np.ndarray, side: int, brightest: int) -> np.ndarray:
    """An image with its last `side` rows and columns bright, pixel by pixel.  # [channels, height, width]"""
    result = image.copy()
    channels, height, width = image.shape
    for c in range(channels):
        for row in range(height - side, height):
            for column in range(width - side, width):
                result[c, row, column] = brightest
    return result


def geometric_counts(total: int, classes: int, ratio: float) -> list[float]:
    """Sizes of classes, not yet whole, each smaller by one factor than the one before, the last `ratio` times."""
    factor = ratio ** (1 / (classes - 1))
    last = total / sum(factor**power for power in range(classes))
    return [last * factor ** (classes - 1 - number) for number in range(classes)]


def memorization_mass(right: np.ndarray, included: np.ndarray) -> np.ndarray:
    """Share of the networks right about an example that were trained on it, minus that of the others.  # [n]"""
    result = []
    for example in range(right.shape[1]):
        with_it = [right[network, example] for network in range(len(right)) if included[network, example]]
        without = [right[network, example] for network in range(len(right)) if not included[network, example]]
        result.append(sum(with_it) / len(with_it) - sum(without) / len(without))
    return np.array(result)


def kept(rows: list[tuple[int, int, float, float]], count: int, *, hardest: bool) -> set[int]:
    """Ids of so many examples: of every class the next one by score, loss and id, one class after another.

    Args:
        rows: id, label, score, flipped loss.
    """
    by_class = {
        label: sorted(
            (row for row in rows if row[1] == label), key=lambda row: (max(row[2], 0), row[3], row[0]), reverse=hardest
        )
        for label in sorted({row[1] for row in rows})
    }
    chosen: list[int] = []
    while len(chosen) < count:
        for waiting in by_class.values():
            if waiting and len(chosen) < count:
                chosen.append(waiting.pop(0)[0])
    return set(chosen)


def before_passing(path: dict[int, tuple[float, ...]], fit: float) -> float:
    """The second number of a path by epochs, where its first one has risen as far as it does without passing `fit`."""
    highest, result = -1.0, None
    for _, (now, value, *_) in sorted(path.items()):
        if result is not None and now > fit:
            break
        if now > highest:
            highest, result = now, value
    assert result is not None
    return result


def after_passing(path: dict[int, tuple[float, ...]], fit: float) -> float:
    """The second number of a path by epochs, where its first one passes `fit`; where it never does, at its highest."""
    highest, result = -1.0, None
    for _, (now, value, *_) in sorted(path.items()):
        if now > fit:
            return value
        if now > highest:
            highest, result = now, value
    assert result is not None
    return result
