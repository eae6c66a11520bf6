"""Losses of labels that may be wrong: label smoothing, generalized cross-entropy and robust log loss."""

import math

import torch.nn.functional as F
from torch import Tensor

from turnover.training.methods.method import Method, Step


class LabelSmoothing(Method):
    """Cross-entropy to targets that are not quite certain (Szegedy et al., 2016)."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing

    def losses(self, step: Step) -> Tensor:
        """Return cross-entropy to (1 - smoothing) of the label and smoothing of all classes alike.  # [batch]"""
        return F.cross_entropy(step.logits, step.y, reduction="none", label_smoothing=self.smoothing)


class GeneralizedCrossEntropy(Method):
    """(1 - p^q) / q of the probability p of the label (Zhang and Sabuncu, 2018)."""

    def __init__(self, q: float) -> None:
        self.q = q

    def losses(self, step: Step) -> Tensor:
        """Return the losses, from the cross-entropy -log p, as p^q has no gradient at 0.  # [batch]"""
        return -(-self.q * step.losses).expm1() / self.q


class RobustLogLoss(Method):
    """log (1 + a)/a - log (a + p) + mean of log (a + others) over the other classes (Patel and Sastry, 2021).

    Its sum over all labels is the same whatever the network says.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def losses(self, step: Step) -> Tensor:
        """Return the losses, 0 where the label has all probability.  # [batch]"""
        logs = (self.alpha + step.logits.softmax(1)).log()  # [batch, classes]
        label = logs.gather(1, step.y[:, None])[:, 0]
        others = (logs.sum(1) - label) / (logs.shape[1] - 1)
        return math.log1p(1 / self.alpha) - label + others
