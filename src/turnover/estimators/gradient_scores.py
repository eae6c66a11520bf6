"""Scores from gradients: their length, GraNd (Paul et al., 2021), and how they vary, VoG (Agarwal et al., 2022)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from turnover.core.evaluation import evaluation_mode
from turnover.core.examples import Examples
from turnover.core.inputs import run
from turnover.errors import RefusedInput
from turnover.estimators.logit_scores import unconfidence
from turnover.gradients.per_example import gradients


def grand(model: nn.Module, examples: Examples, *, batch_size: int = 256) -> Tensor:
    """Compute ‖∂ loss / ∂ parameters‖₂ of each example, by the full network in evaluation mode.

    Exact, over all parameters that are trained; turn-over dropout, if attached, masks nothing. Paul et al. average it
    over networks early in training; here it is that of one network. Parameters, their `grad` and the modes of all
    modules stay as they are.

    Returns:
        Lengths in nats per unit of length; high: difficult. In float32, or float64 for a network in float64.  # [n]

    Raises:
        TurnOverError: the network mixes the examples of a batch.
    """
    checked: set[int] = set()  # the first batch of each size is compared with autograd
    loose: set[str] = set()
    norms = []
    with evaluation_mode(model), torch.enable_grad():
        for x, y, _ in examples.batches(torch.arange(len(examples), device=examples.device).split(batch_size)):
            batch_gradients = gradients(model, x, y, check=len(y) not in checked, loose=loose, loss=examples.loss)
            checked.add(len(y))
            norms.append(batch_gradients.squared_norms().sqrt())
    return torch.cat(norms).to(torch.promote_types(next(model.parameters()).dtype, torch.float32))


def window(epochs: int, which: Literal["all", "early", "late"]) -> range:
    """Return the epochs, from 1, whose gradients are compared: all, or a third, two at least if there are as many."""
    count = epochs if which == "all" else min(epochs, max(2, math.ceil(epochs / 3)))
    return range(epochs - count + 1, epochs + 1) if which == "late" else range(1, count + 1)


class GradientVariance:
    """VoG of n examples, from one network at several checkpoints of its training.

    S_t is the gradient of the label's logit, or of its probability, with respect to the prepared input at checkpoint t
    of K, and μ its mean over checkpoints, by pixel. Of images, inputs of [channels, height, width], it is first
    averaged over channels, as in the authors' code. Only sums are kept, two numbers of float32 for each pixel of each
    example.

    The authors' programs (github.com/chirag126/VOG) differ: those for ImageNet and CIFAR-10 take the logit, over three
    early, middle or late ones of nine snapshots, and keep the first three and last three of 350 epochs; that for the
    toy data takes the probability, over the first, middle or last five of fifteen epochs, or all.
    """

    def __init__(self, n: int, of: Literal["logit", "probability"] = "logit") -> None:
        self._n = n
        self._of = of
        self._checkpoints = 0
        self._mean: Tensor | None = None  # μ  # [n, ...]
        self._squares: Tensor | None = None  # Σ_t (S_t - μ)²  # [n, ...]

    def update(self, model: nn.Module, examples: Examples, batch_size: int = 512) -> None:
        """Add a checkpoint: the full network in evaluation mode, on the same n examples in the same order each time.

        Parameters, their `grad` and the modes of all modules stay as they are. After an error in the middle only a
        saved state is of use.

        Raises:
            RefusedInput: examples are not n, or their prepared inputs are of another shape than before or no floats.
        """
        means, squares = self._sums(examples)
        count = self._checkpoints + 1
        batches = [tensor.split(batch_size) for tensor in (torch.arange(self._n, device=means.device), means, squares)]
        with evaluation_mode(model):
            # Welford's update: a difference of large sums of squares would lose what changes little
            for index, mean, square in zip(*batches, strict=True):
                x, y, _ = examples.batch(index)
                gradient = _by_pixel(self._of_label(model, x, y).float())
                change = gradient - mean
                mean.add_(change / count)
                square.addcmul_(change, gradient - mean)
        self._checkpoints = count

    def score(self, labels: Tensor) -> Tensor:
        """Return the mean over pixels of √(1/K Σ_t (S_t - μ)²), standardised within each class.

        (v - mean of the class) / standard deviation of the class, both over the n examples; 0 in a class in which it
        is 0, such as one of a single example.

        Args:
            labels: class numbers, on the device of the examples.  # int64 [n]

        Returns:
            Standard deviations from the mean of the class; high: difficult.  # float32 [n]

        Raises:
            RefusedInput: there is no checkpoint yet, or labels are not n.
        """
        if self._squares is None:
            raise RefusedInput("no checkpoint has been added, so gradients have no variance yet")
        if labels.shape != (self._n,):
            raise RefusedInput(f"labels must be [{self._n}], one for each example, got {tuple(labels.shape)}")
        by_pixel = (self._squares / self._checkpoints).sqrt()
        return standardised(by_pixel.reshape(self._n, -1).mean(dim=1), labels)

    def state(self) -> dict[str, Tensor | int]:
        """Return a copy of everything, as plain tensors and integers."""
        state: dict[str, Tensor | int] = {"n": self._n, "checkpoints": self._checkpoints}
        if self._mean is not None and self._squares is not None:
            state |= {"mean": self._mean.clone(), "squares": self._squares.clone()}
        return state

    def load(self, state: dict[str, Tensor | int]) -> None:
        """Go on from a copy of such a state, bit for bit; from whichever device it was saved.

        Raises:
            RefusedInput: the state is that of another number of examples.
        """
        if state["n"] != self._n:
            raise RefusedInput(f"the saved gradients are of {state['n']} examples, not of {self._n}")
        mean, squares = state.get("mean"), state.get("squares")
        self._checkpoints = int(state["checkpoints"])
        self._mean = mean.clone() if isinstance(mean, Tensor) else None
        self._squares = squares.clone() if isinstance(squares, Tensor) else None

    def _sums(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Return mean and squares on the examples' device, made at the first checkpoint."""
        if len(examples) != self._n:
            raise RefusedInput(f"the gradients of {self._n} examples are followed, got {len(examples)}")
        sample, _, _ = examples.batch(torch.arange(1, device=examples.device))
        if not isinstance(sample, Tensor) or not sample.is_floating_point():
            got = sample.dtype if isinstance(sample, Tensor) else type(sample).__name__
            raise RefusedInput(f"the variance of gradients needs inputs with a gradient, a tensor of floats; got {got}")
        shape = (self._n, *_by_pixel(sample).shape[1:])
        if self._mean is None or self._squares is None:
            self._mean, self._squares = (torch.zeros(shape, device=examples.device) for _ in range(2))
        if self._mean.shape != shape:
            raise RefusedInput(f"pixels had shape {tuple(self._mean.shape)} at earlier checkpoints, now {shape}")
        self._mean, self._squares = self._mean.to(examples.device), self._squares.to(examples.device)
        return self._mean, self._squares

    def _of_label(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of the label's logit or probability with respect to the input.  # as x"""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = run(model, x)
            # of 1 - p, so that p near 1 costs no precision; no example has a part in the logits of another
            of_each = logits.gather(1, y[:, None]) if self._of == "logit" else -unconfidence(logits, y)
            [gradient] = torch.autograd.grad(of_each.sum(), [x])
        return gradient


def standardised(values: Tensor, labels: Tensor) -> Tensor:
    """Return (value - mean) / standard deviation among the values of the same label; 0 where that deviation is 0.

    Args:
        values: float32  # [n]
        labels: any integers, without limit.  # int64 [n]

    Returns:
        float32 [n]
    """
    # the index of each label's first occurrence among all sorted labels: a number below n, computed without waiting for
    # the device to count the classes
    group = torch.searchsorted(labels.sort().values, labels)
    # sums of equal float32 numbers are exact in float64, so the deviation of equal values is 0 and not rounding noise
    values = values.float().double()

    def mean(x: Tensor) -> Tensor:
        """Return the mean of each example's class."""
        sums, counts = (torch.zeros_like(x).index_add(0, group, terms) for terms in (x, torch.ones_like(x)))
        return (sums / counts)[group]

    centred = values - mean(values)
    deviation = mean(centred.square()).sqrt()
    return torch.where(deviation > 0, centred / deviation, 0).float()


def _by_pixel(gradient: Tensor) -> Tensor:
    """Average images over channels; return other inputs unchanged.  # [batch, channels, height, width] or any other"""
    return gradient.mean(1) if gradient.dim() == 4 else gradient
