"""Tensors and arrays of a user as examples; whatever is wrong with them is told with what to do about it."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from turnover.errors import RefusedInput
from turnover.examples import Examples
from turnover.untouched import untouched

_NAMED = 5  # positions or ids that a message names


def user_examples(x: Any, y: Any, ids: Any, *, device: torch.device, dtype: torch.dtype) -> Examples:
    """Tensors or arrays of a user as examples; inputs that are floats get the network's dtype.

    Raises:
        RefusedInput: lengths differ, x is no array of finite numbers, labels are no class numbers from 0, an id occurs
            twice.
    """
    inputs, labels = _inputs(x, device, dtype), _labels(y, device)
    if len(inputs) != len(labels):
        raise RefusedInput(
            f"x and y must be of one length: x has {len(inputs)} rows and y {len(labels)}; "
            "give one class number for each row of x"
        )
    if ids is None:
        positions = torch.arange(len(inputs), device=device)
    else:
        positions = _tensor("ids", ids, device)
        if positions.shape != labels.shape:
            raise RefusedInput(
                f"ids must be of one length with x: x has {len(inputs)} rows, ids has shape {tuple(positions.shape)}; "
                "leave ids out to number the examples by their position"
            )
        kinds, counts = positions.unique(return_counts=True)
        if len(kinds) < len(positions):
            raise RefusedInput(
                f"ids must differ, or examples would share their masks and their rows: {_some(kinds[counts > 1])} "
                "come more than once; leave ids out to number the examples by their position"
            )
    return Examples(inputs, labels, positions)


def refuse_unsuited(
    model: nn.Module, examples: Examples, sizes: Collection[int] = (), batch_size: int | None = None
) -> None:
    """Refuse a network that cannot take the inputs, gives no logits, or none for some label; found by a few examples.

    Args:
        sizes: how many examples it will be trained on, each time it is: then it must work in training mode too, down to
            the smallest batch that there will be.
        batch_size: of that training.

    Raises:
        RefusedInput: says which, and what to do.
    """
    logits, told = _logits(model, examples, min(2, len(examples)), training=False)
    shape = tuple(logits.shape)
    if batch_size is not None:
        smallest = min(_last_batch(size, batch_size) for size in sizes)
        try:
            trained, _ = _logits(model, examples, smallest, training=True)
        except RefusedInput as error:
            if smallest > 1 or not isinstance(error.__cause__, Exception):
                raise
            try:
                _logits(model, examples, min(2, len(examples)), training=True)
            except RefusedInput:
                raise error from None  # not for its size
            better = next((b for b in range(batch_size + 1, 2 * batch_size + 2) if _no_single(sizes, b)), None)
            instead = f"set batch_size={better}" if better else "use nn.GroupNorm or nn.LayerNorm instead"
            raise RefusedInput(
                f"batch_size = {batch_size} leaves a last batch of one example, as networks are trained on "
                f"{' or '.join(map(str, sizes))}, and this network cannot take one ({error.__cause__}): {instead}"
            ) from error.__cause__
        if trained.shape[1:] != logits.shape[1:]:
            raise RefusedInput(
                f"the network gives {tuple(trained.shape)} in training mode and {shape} in evaluation mode: it must "
                "give logits [batch, classes] in both"
            )
    if len(shape) != 2 or shape[0] != min(2, len(examples)) or shape[1] < 2:
        raise RefusedInput(
            f"the network must give logits [batch, classes] with two classes or more, one row for each row of x; "
            f"for {told} it gives {shape}"
        )
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise RefusedInput(
            f"the network must give logits, before any softmax; for {told} it gives rows that sum to 1: leave its last "
            "softmax out, the loss takes it"
        )
    highest = int(examples.labels.max())
    if highest >= shape[1]:
        raise RefusedInput(
            f"y holds class {highest}, but the network gives {shape[1]} logits, of classes 0 to {shape[1] - 1}: "
            f"let its last layer give {highest + 1}, or number the classes from 0 on without gaps: "
            "classes, y = numpy.unique(y, return_inverse=True)"
        )


def _logits(model: nn.Module, examples: Examples, count: int, *, training: bool) -> tuple[Tensor, str]:
    """What the network makes of the first examples, and what they are; nothing of it is changed."""
    few = examples.select(torch.arange(count, device=examples.device))
    told = f"x[:{count}] of shape {tuple(few.inputs.shape)}, {few.inputs.dtype}"
    mode = "training" if training else "evaluation"
    inputs = few.prepare(few.inputs)
    try:
        with untouched(model), torch.no_grad():
            logits: Any = model.train(training)(inputs)
    except Exception as error:  # whatever a network raises
        whole = "" if few.inputs.is_floating_point() else "; if it needs floats, give x.astype('float32')"
        raise RefusedInput(
            f"the network cannot take {told}{' in training mode' * training}: {type(error).__name__}: {error}{whole}"
        ) from error
    if not isinstance(logits, Tensor):
        part = ".logits" if hasattr(logits, "logits") else "['logits']" if isinstance(logits, Mapping) else "[0]"
        name = type(model).__name__
        raise RefusedInput(
            f"in {mode} mode the network gives a {type(logits).__name__}, not logits alone: make it give them, "
            f"class Logits({name}): def forward(self, x): output = super().forward(x); "
            f"return output if isinstance(output, torch.Tensor) else output{part}"
        )
    return logits, told


def _last_batch(size: int, batch_size: int) -> int:
    return size % batch_size or min(size, batch_size)


def _no_single(sizes: Collection[int], batch_size: int) -> bool:
    return all(_last_batch(size, batch_size) > 1 for size in sizes)


def _inputs(x: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    if isinstance(x, pd.DataFrame | pd.Series):
        raise RefusedInput(
            f"x is a {type(x).__name__}: give its numbers as an array, x.to_numpy(dtype='float32'), "
            "after turning columns of text into numbers"
        )
    if isinstance(x, Dataset | DataLoader):
        raise RefusedInput(
            f"x is a {type(x).__name__}: give all of its inputs as one tensor, and y as another: "
            "x = torch.stack([each for each, _ in dataset]), y = torch.tensor([label for _, label in dataset])"
        )
    inputs = _tensor("x", x, device)
    if inputs.dim() == 0:
        raise RefusedInput("x must hold a row for each example, got a single number")
    if inputs.dtype.is_complex:
        raise RefusedInput(f"x must hold real numbers, got {inputs.dtype}: give torch.view_as_real(x), for example")
    if inputs.is_floating_point():
        finite = inputs.isfinite()
        if not finite.all():
            rows = (~finite).flatten(1).any(1) if inputs.dim() > 1 else ~finite
            raise RefusedInput(
                f"x has {int((~finite).sum())} values that are NaN or infinite, in {int(rows.sum())} rows, the first "
                f"of them {_some(rows.nonzero()[:, 0])}: remove these rows from x and y, or fill them in"
            )
        inputs = inputs.to(dtype)
    return inputs


def _labels(y: Any, device: torch.device) -> Tensor:
    number_them = "number the classes: classes, y = numpy.unique(y, return_inverse=True)"
    if isinstance(y, pd.DataFrame):
        raise RefusedInput("y is a DataFrame: give the column of class numbers alone, y['label'].to_numpy()")
    if not isinstance(y, Tensor):
        y = np.asarray(y)
        if y.dtype.kind not in "biuf":  # strings, objects, dates
            raise RefusedInput(
                f"y must hold class numbers, integers from 0; it holds {y.ravel()[:3].tolist()} ({y.dtype}): "
                + number_them
            )
    labels = _tensor("y", y, device)
    if labels.dim() != 1:
        one_hot = ": for one-hot rows give y.argmax(1)" if labels.dim() == 2 and labels.shape[1] > 1 else ""
        column = ": give y.ravel()" if labels.dim() == 2 and labels.shape[1] == 1 else ""
        raise RefusedInput(f"y must be of one dimension, [n], got shape {tuple(labels.shape)}{one_hot or column}")
    if labels.is_floating_point() or labels.dtype in (torch.bool, torch.complex64, torch.complex128):
        whole = labels.dtype == torch.bool or bool((labels == labels.round()).all())
        raise RefusedInput(
            f"y must hold class numbers, integers from 0; its dtype is {labels.dtype}: "
            + (
                "give y.astype('int64')"
                if whole
                else "targets that are no classes have no cross-entropy, " + number_them
            )
        )
    labels = labels.long()
    if len(labels) and int(labels.min()) < 0:
        raise RefusedInput(f"y must hold class numbers, integers from 0; it holds {int(labels.min())}: {number_them}")
    return labels


def _tensor(name: str, values: Any, device: torch.device) -> Tensor:
    try:
        if not isinstance(values, Tensor):
            values = np.require(values, requirements="W")  # a copy only of what cannot be written to, as pandas gives
        return torch.as_tensor(values, device=device)
    except (TypeError, ValueError) as error:
        raise RefusedInput(
            f"{name} must be an array or tensor of numbers, got {type(values).__name__}: {error}"
        ) from None


def _some(values: Tensor) -> str:
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(str(value) for value in values[:_NAMED].tolist()) + more
