"""Scores of one training run, one example at a time in plain Python, from their definitions."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def forgetting_events(correct: Sequence[bool]) -> int:
    """Walks along one example's epochs; as many as there are epochs if it was never learnt."""
    if True not in correct:
        return len(correct)
    events, before = 0, False
    for now in correct:
        if before and not now:
            events += 1
        before = now
    return events


def earliest_epoch(holds: Sequence[bool]) -> int:
    """The first t, counted from 1, such that it holds in all epochs from t on; one after the last if there is none."""
    for t in range(1, len(holds) + 1):
        if all(holds[t - 1 :]):
            return t
    return len(holds) + 1


def second_split_forgetting(correct: Sequence[bool]) -> int:
    return len(correct) + 1 - earliest_epoch([not each for each in correct])


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(each - max(logits)) for each in logits]
    return [each / math.fsum(powers) for each in powers]


def margin(logits: Sequence[float], label: int) -> float:
    return logits[label] - max(each for j, each in enumerate(logits) if j != label)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def el2n(logits: Sequence[float], label: int) -> float:
    return math.sqrt(sum((p - (j == label)) ** 2 for j, p in enumerate(softmax(logits))))


def unconfidence(logits: Sequence[float], label: int) -> float:
    """The probabilities of all other classes."""
    return math.fsum(p for j, p in enumerate(softmax(logits)) if j != label)


def grand(model: nn.Module, x: Tensor, label: int) -> float:
    """From the gradient itself.  # x: [...]"""
    loss = -model(x[None])[0].log_softmax(0)[label]
    parts = torch.autograd.grad(loss, [each for each in model.parameters() if each.requires_grad])
    return math.sqrt(math.fsum(float(number) ** 2 for part in parts for number in part.flatten()))


def variance_of_gradients(
    checkpoints: Sequence[Callable[[Tensor], Tensor]], x: Sequence[Tensor], labels: Sequence[int], of: str = "logit"
) -> list[float]:
    """Unstandardised: every gradient of every example is kept, then each pixel is gone through."""
    found = []
    for each, label in zip(x, labels, strict=True):
        gradients = []
        for network in checkpoints:
            one = each.clone().requires_grad_()
            logits = network(one[None])[0]
            [gradient] = torch.autograd.grad((logits.softmax(0) if of == "probability" else logits)[label], [one])
            if gradient.dim() == 3:  # channels, height, width
                gradient = torch.stack([*gradient]).sum(0) / len(gradient)
            gradients.append(gradient.flatten().tolist())
        pixels = []
        for of_pixel in zip(*gradients, strict=True):
            middle = mean(of_pixel)
            pixels.append(math.sqrt(mean([(s - middle) ** 2 for s in of_pixel])))
        found.append(mean(pixels))
    return found


def standardised(values: Sequence[float], labels: Sequence[int]) -> list[float]:
    """Each value among those of its label."""
    found = []
    for value, label in zip(values, labels, strict=True):
        same = [other for other, its in zip(values, labels, strict=True) if its == label]
        deviation = 0.0 if len(set(same)) == 1 else math.sqrt(mean([(other - mean(same)) ** 2 for other in same]))
        found.append((value - mean(same)) / deviation if deviation else 0.0)
    return found


def confident_learning(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> list[float]:
    """Thresholds, then the normalised margin of adjusted probabilities; 2 is the threshold of a class without label."""
    thresholds = []
    for k in range(len(probabilities[0])):
        own = [row[k] for row, label in zip(probabilities, labels, strict=True) if label == k]
        thresholds.append(max(mean(own), 2e-6) if own else 2.0)
    found = []
    for row, label in zip(probabilities, labels, strict=True):
        shifted = [p - t + max(thresholds) for p, t in zip(row, thresholds, strict=True)]
        found.append((1 - margin([each / sum(shifted) for each in shifted], label)) / 2)
    return found
