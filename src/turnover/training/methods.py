"""What a training step minimises for each of its examples, by the config group `method` and the weights of classes.

What is observed of an example, and every score, is the plain cross-entropy of its given label under all of them.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from turnover.config.run import Training
from turnover.config.training_options import LabelSmoothing
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS

Objective = Callable[[Tensor, Tensor], Tensor]  # logits [batch, classes], labels [batch] -> [batch]


def objective(config: Training, examples: Examples) -> Objective | None:
    """Return what is minimised, in the mean over a batch; None: the loss of the examples.

    Of token sequences the mean over all tokens of a batch, as language models are trained; class weights are balanced
    by the labels of all examples.
    """
    if examples.loss is TOKENS:
        return mean_over_tokens
    if config.minimises_cross_entropy:
        return None
    smoothing = config.method.smoothing if isinstance(config.method, LabelSmoothing) else 0.0
    weights = balanced_weights(examples.labels) if config.class_weights == "balanced" else None

    def minimised(logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)  # [batch]
        return losses if weights is None else losses * weights[labels].to(losses.dtype)

    return minimised


def mean_over_tokens(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return losses whose mean over a batch is the mean over its tokens.  # int64 [batch, tokens] -> [batch]"""
    counts = TOKENS.label(tokens)  # [batch]
    return TOKENS(logits, tokens) * counts / counts.to(logits.dtype).mean()


def balanced_weights(labels: Tensor) -> Tensor:
    """Return n / (classes n_c) of every class, with n_c of n examples and so many classes that occur.

    Their mean over the examples is 1. Whatever else is in its batch, an example has the same weight, unlike in
    PyTorch's weighted mean.  # int64 [n] -> float64 [classes]
    """
    counts = labels.bincount().double()
    return len(labels) / (counts.clamp(min=1) * (counts > 0).sum())
