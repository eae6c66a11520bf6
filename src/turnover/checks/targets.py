"""Targets y as the loss of an example takes them, and outputs of a network that suit them."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from turnover.checks.arrays import array_of, labels_of, tensor_of
from turnover.checks.missing import Given as Arguments
from turnover.checks.missing import as_code, refuse_masked, remove, some
from turnover.checks.tokens import refuse_no_logits_of_tokens, tokens_to_predict
from turnover.core.examples import Examples
from turnover.core.losses import CLASSES, TOKENS, Given, Loss
from turnover.errors import RefusedInput

_ROUNDING = 1e-3  # how far the sum of probabilities may be from 1


def targets_of(given: Arguments, device: torch.device, dtype: torch.dtype, loss: Loss) -> Tensor:
    """Return y as a tensor: class numbers, or floats of 32 bits or more, as the loss takes them.  # [n, ...]

    Raises:
        RefusedInput: y is not what the loss takes.
    """
    if loss is CLASSES:
        return labels_of(given, device)
    y, code, wide = given["y"], as_code("y", given["y"]), torch.promote_types(dtype, torch.float32)
    refuse_masked("y", y, partial(remove, given))
    targets = tensor_of("y", array_of("y", y), device)
    if loss is TOKENS:
        return tokens_to_predict(given, targets)
    if targets.dim() == 0 or targets.is_complex():
        raise RefusedInput(f"y must hold real numbers, a row for each example; got {targets.dtype}: give y.real")
    if targets.is_floating_point():
        lowered = f".to({wide})" if targets.isfinite().all() else ""
        targets = targets.to(wide)
        finite = targets.isfinite().reshape(len(targets), -1).all(1)
        if not finite.all():
            keep = f"torch.as_tensor({code}){lowered}.isfinite().reshape(len(y), -1).all(1).cpu().numpy()"
            raise RefusedInput(
                f"y has values that are NaN or infinite, in rows {some((~finite).nonzero()[:, 0])}: "
                f"{remove(given, keep)}"
            )
    elif isinstance(loss, Given):
        return targets  # of a function, integers as they are
    targets = targets.to(wide)
    if loss.name in ("binary", "squared") and targets.shape[1:] == (1,):
        targets = targets[:, 0]
    match loss.name:
        case "soft":
            _refuse_no_probabilities(targets, code)
        case "binary" | "multilabel":
            _refuse_not_binary(targets, loss.name, code)
    return targets


def _refuse_no_probabilities(y: Tensor, code: str) -> None:
    if y.dim() != 2 or y.shape[1] < 2:
        raise RefusedInput(
            f"y must hold a probability of each class for loss='soft', [n, classes], got shape {tuple(y.shape)}: "
            "for class numbers leave loss out"
        )
    if bool((y < 0).any()) or bool(((y.double().sum(1) - 1).abs() > _ROUNDING).any()):
        raise RefusedInput(
            "y must hold probabilities for loss='soft', at least 0 and with the sum 1 in each row: if they are shares "
            f"or counts, y = {code} / {code}.sum(1)[:, None]; for several labels of 0 and 1 at once, loss='multilabel'"
        )


def _refuse_not_binary(y: Tensor, name: str, code: str) -> None:
    dims = 1 if name == "binary" else 2
    if y.dim() != dims:
        other = "multilabel" if y.dim() == 2 else "binary"
        shape = "[n]" if name == "binary" else "[n, labels]"
        raise RefusedInput(
            f"y must be of shape {shape} for loss={name!r}, got {tuple(y.shape)}: give that, or loss={other!r}"
        )
    if not ((y == 0) | (y == 1)).all():
        values = y.unique()
        give = (
            f"give y = {code} == {values[1].item():g}"
            if len(values) == 2
            else "for more than two classes leave loss out, for numbers give loss='squared'"
        )
        raise RefusedInput(f"y must hold 0 and 1 alone for loss={name!r}; it holds {some(values)}: {give}")


class Sigmoids(TorchFunctionMode):
    """Holds what the sigmoids inside the context give."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[Tensor] = []  # held, so that nothing else takes their place in memory

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, torch.Tensor.sigmoid, torch.special.expit):
            self._given.append(output)
        return output

    def gave(self, outputs: Tensor) -> bool:
        """Return True if outputs are what a sigmoid gave, in another shape perhaps."""
        return any(outputs.untyped_storage().data_ptr() == one.untyped_storage().data_ptr() for one in self._given)


def refuse_outputs(
    model: nn.Module, examples: Examples, outputs: Tensor, sample: str, *, of_sigmoid: bool = False
) -> None:
    """Refuse outputs for the first examples that the loss cannot take.  # [count, ...]

    Args:
        sample: what the network was given, in words.
        of_sigmoid: whether a sigmoid gave them.

    Raises:
        RefusedInput: says what to do.
    """
    loss, shape = examples.loss, tuple(outputs.shape)
    y = examples.labels[: shape[0] if shape else 0]
    match loss.name:
        case "class" | "soft":
            _refuse_no_logits(examples, outputs, sample)
        case "tokens":
            refuse_no_logits_of_tokens(examples, outputs, sample)
        case "binary" | "squared" if y.dim() == 1 and shape in ((len(y),), (len(y), 1)):
            pass
        case "binary" | "multilabel" | "squared" if shape != tuple(y.shape):
            raise RefusedInput(
                f"the network must give {'logits' * (loss.name != 'squared') or 'numbers'} of the shape of y, "
                f"{tuple(y.shape)}, for loss={loss.name!r}; for {sample} it gives {shape}: let its last layer give "
                f"{y.shape[1] if y.dim() > 1 else 1}"
            )
    last = list(model.modules())[-1]
    if (
        loss.name in ("binary", "multilabel")
        and (of_sigmoid or isinstance(last, nn.Sigmoid))
        and 0 <= outputs.min() <= outputs.max() <= 1
    ):
        raise RefusedInput(
            f"the network must give logits for loss={loss.name!r}, before any sigmoid: leave its last nn.Sigmoid out, "
            "or torch.sigmoid, the loss takes it"
        )
    if isinstance(loss, Given) and outputs.isfinite().all():
        _refuse_unsuited_loss(loss, outputs, _unlike(examples.labels)[: len(outputs)])


def _refuse_no_logits(examples: Examples, logits: Tensor, sample: str) -> None:
    shape, y = tuple(logits.shape), examples.labels
    if len(shape) != 2 or shape[0] != min(2, len(examples)) or shape[1] < 2:
        one = "; or, if it gives one number, loss='binary' for y of 0 and 1, loss='squared' for numbers"
        raise RefusedInput(
            f"the network must give logits [batch, classes] with two classes or more, one row for each row of x; "
            f"for {sample} it gives {shape}{one * (shape[1:] in ((), (1,)))}"
        )
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise RefusedInput(
            f"the network must give logits, before any softmax; for {sample} it gives rows that sum to 1: leave its "
            "last softmax out, the loss takes it"
        )
    if examples.loss is not CLASSES:
        if shape[1] != y.shape[1]:
            raise RefusedInput(
                f"y has {y.shape[1]} columns, but the network gives {shape[1]} logits: let its last layer give "
                f"{y.shape[1]}, or give y a column for each of its logits"
            )
        return
    highest = int(y.max())
    if highest >= shape[1]:
        raise RefusedInput(
            f"y holds class {highest}, but the network gives {shape[1]} logits, of classes 0 to {shape[1] - 1}: "
            f"let its last layer give {highest + 1}, or number the classes from 0 on without gaps: "
            "classes, y = numpy.unique(y, return_inverse=True)"
        )


def _unlike(y: Tensor) -> Tensor:
    """Return the first target and one that differs, if any does: those alike would hide that a loss mixes them."""
    others = (y != y[:1]).reshape(len(y), -1).any(1).nonzero()[:1, 0]
    return torch.cat([y[:1], y[others]]) if len(others) else y[:2]


def _refuse_unsuited_loss(loss: Loss, outputs: Tensor, y: Tensor) -> None:
    """Refuse a loss that is not finite, or in which examples take part in the losses of others."""
    wide = outputs.float() if outputs.dtype.itemsize < 4 else outputs
    try:
        losses: Any = loss(wide, y)
        alone = torch.cat([loss(wide[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    except RefusedInput:
        raise
    except Exception as error:  # whatever a function of the caller's raises
        raise RefusedInput(
            f"loss = {loss.name} cannot take outputs {tuple(outputs.shape)} and y {tuple(y.shape)}, {y.dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not losses.isfinite().all():
        raise RefusedInput(
            f"loss = {loss.name} is {losses.tolist()} for the first examples: it must be finite; of a logarithm or a "
            "root, clamp what it is taken of"
        )
    if not torch.allclose(losses, alone, rtol=1e-3, atol=1e-6):
        raise RefusedInput(
            f"loss = {loss.name} gives an example another loss in a batch than alone: it must compute each from its "
            "own row of outputs and y, without a mean or a norm over the batch"
        )
