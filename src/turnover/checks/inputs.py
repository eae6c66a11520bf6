"""Conversion of tensors and arrays to examples, and checks that they suit each other and the network."""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from turnover.checks.arguments import arguments_of
from turnover.checks.arrays import ids_of, inputs_of, names_of
from turnover.checks.missing import Given as Arguments
from turnover.checks.missing import are_arguments, some
from turnover.checks.streams import read_once
from turnover.checks.targets import Sigmoids, refuse_outputs, targets_of
from turnover.common.untouched import untouched
from turnover.core.examples import Examples
from turnover.core.inputs import Batch, Stream, first, run, take
from turnover.core.losses import CLASSES, Given, Loss
from turnover.errors import RefusedInput


def user_examples(
    x: Any, y: Any, ids: Any, *, device: torch.device, dtype: torch.dtype, loss: Loss = CLASSES
) -> Examples:
    """Convert tensors or arrays to examples; inputs that are floats get the network's dtype.

    Raises:
        RefusedInput: lengths differ, x is no array of finite numbers, labels are not what the loss takes, a label or
            an id is missing, an id occurs twice.
    """
    if isinstance(x, Examples):  # of callers within the package, who checked them
        return replace(x, inputs=x.inputs.to(device), labels=x.labels.to(device), ids=x.ids.to(device))
    if isinstance(x, Dataset | DataLoader):
        if y is not None:
            raise RefusedInput(f"x is a {type(x).__name__}, whose items hold y too: leave y out, y = None")
        x, y, own_ids = read_once(x, device, dtype)
        if ids is not None and own_ids is not None:
            raise RefusedInput("ids are given, and by the items of the data set too: leave one out, ids = None")
        ids = own_ids if ids is None else ids
    elif y is None:
        raise RefusedInput("y is missing: give a label for each row of x; or as x a data set whose items are (x, y)")
    given = {"x": x, "y": y} if ids is None else {"x": x, "y": y, "ids": ids}
    inputs, labels = _batch(given, device, dtype, loss)
    if ids is None:
        return Examples(inputs, labels, torch.arange(len(labels), device=device), loss=loss)
    positions = ids_of(given, device)
    names = names_of(ids)
    kinds, counts = np.unique(positions.cpu() if names is None else names, return_counts=True)
    if len(kinds) < len(positions):
        raise RefusedInput(
            f"ids must differ, or examples would share their masks and their rows: {some(kinds[counts > 1])} "
            "come more than once; leave ids out to number the examples by their position"
        )
    return Examples(inputs, labels, positions, loss=loss, names=names)


def user_batch(
    x: Any, y: Any, *, device: torch.device, dtype: torch.dtype, loss: Loss = CLASSES
) -> tuple[Batch, Tensor]:
    """Return inputs and labels of a batch, as in `user_examples`; values on a GPU are not checked, it would wait.

    Raises:
        RefusedInput: as `user_examples`, or there are no examples.
    """
    given = [value for value in (x, y) if isinstance(value, Tensor) and value.device.type != "cpu"]
    if len(given) == 2 and y.shape[:1] == x.shape[:1] and (loss is not CLASSES or _whole(y)):
        inputs, labels = x.to(dtype) if x.is_floating_point() else x, y.long() if loss is CLASSES else y
    else:
        inputs, labels = _batch({"x": x, "y": y}, device, dtype, loss)
    if not len(labels):
        raise RefusedInput("x and y have no rows: at least one example is needed")
    return inputs, labels


def refuse_unsuited(
    model: nn.Module, examples: Examples, sizes: Collection[int] = (), batch_size: int | None = None
) -> None:
    """Refuse a network that cannot take the inputs, gives no logits, or none for some label, by a few examples.

    Args:
        sizes: how many examples it will be trained on, each time it is: then it must work in training mode too, down to
            the smallest batch that there will be.
        batch_size: of that training.

    Raises:
        RefusedInput: says which, and what to do.
    """
    with Sigmoids() if examples.loss.name in ("binary", "multilabel") else nullcontext() as sigmoids:
        logits, sample = logits_of(model, examples, min(2, len(examples)), training=False)
    shape = tuple(logits.shape)
    _refuse_squeezed(model, examples, logits)
    if batch_size is not None:
        smallest = min(_last_batch(size, batch_size) for size in sizes)
        try:
            trained, _ = logits_of(model, examples, smallest, training=True)
        except RefusedInput as error:
            if smallest > 1 or not isinstance(error.__cause__, Exception):
                raise
            try:
                logits_of(model, examples, min(2, len(examples)), training=True)
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
    refuse_outputs(model, examples, logits, sample, of_sigmoid=sigmoids is not None and sigmoids.gave(logits))
    if batch_size is not None and isinstance(examples.loss, Given):
        _refuse_detached(examples.loss, logits, examples.labels[: len(logits)])


def _refuse_squeezed(model: nn.Module, examples: Examples, logits: Tensor) -> None:
    """Refuse a network that gives another shape for one example than for each of two, as .squeeze() makes it."""
    try:
        alone, _ = logits_of(model, examples, 1, training=False) if len(examples) > 1 else (logits, "")
    except RefusedInput:  # as it is never given one
        return
    if not alone.dim() or alone.dim() != logits.dim():
        raise RefusedInput(
            f"the network gives outputs of shape {tuple(alone.shape)} for one example alone: it must give a row for "
            "each, [1, ...], so in the place of .squeeze() write .squeeze(1), or .flatten(1)"
        )


@torch.enable_grad()
def _refuse_detached(loss: Given, outputs: Tensor, y: Tensor) -> None:
    """Refuse a loss that no gradient can pass."""
    wide = outputs.float() if outputs.dtype.itemsize < 4 else outputs
    try:
        losses, why = loss(wide.detach().requires_grad_(), y), ""
    except RuntimeError as error:  # as .numpy() of what has a gradient raises
        losses, why = wide.detach(), f" ({error})"
    if not losses.requires_grad:
        raise RefusedInput(
            f"loss = {loss.name} gives losses without gradients{why}, by which nothing can be trained: compute them "
            "from outputs by functions of PyTorch, without .detach(), .item(), .numpy(), torch.tensor or torch.no_grad"
        )


@torch.no_grad()
def logits_of(model: nn.Module, examples: Examples, count: int, *, training: bool) -> tuple[Tensor, str]:
    """Return the logits of the first examples and a description of these; the network is not changed."""
    positions = torch.arange(count, device=examples.device)
    inputs, _, _ = examples.batch(positions)
    given = inputs if isinstance(examples.inputs, Stream) else take(examples.inputs, positions)
    sample = f"x[:{count}] of {_described(given)}"
    mode = "training" if training else "evaluation"
    try:
        with untouched(model, quiet=False), torch.no_grad():
            logits: Any = run(model.train(training), inputs)
    except Exception as error:  # whatever a network raises
        whole = ""
        if isinstance(given, dict):
            whole = (
                "; a dict gives arguments of forward by their names: rename its keys, or give one tensor, "
                f"x[{next(iter(given))!r}] for example"
            )
        elif isinstance(given, Tensor) and not given.is_floating_point():
            whole = "; if it needs floats, give x.astype('float32')"
        raise RefusedInput(
            f"the network cannot take {sample}{' in training mode' * training}: {type(error).__name__}: {error}{whole}"
        ) from error
    if not isinstance(logits, Tensor):
        access = "['logits']" if isinstance(logits, Mapping) else "[0]"
        name = type(model).__name__
        raise RefusedInput(
            f"in {mode} mode the network gives a {type(logits).__name__}, not logits alone: make it give them, "
            f"class Logits({name}): def forward(self, *x, **named): output = super().forward(*x, **named); "
            f"return output if isinstance(output, torch.Tensor) else output{access}"
        )
    return logits, sample


def _described(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f"shape {tuple(inputs.shape)}, {inputs.dtype}"
    named = inputs.items() if isinstance(inputs, dict) else enumerate(inputs)
    return ", ".join(f"[{name!r}] of shape {tuple(part.shape)}, {part.dtype}" for name, part in named)


def _whole(y: Tensor) -> bool:
    return y.dim() == 1 and not (y.is_floating_point() or y.dtype == torch.bool)


def _last_batch(size: int, batch_size: int) -> int:
    return size % batch_size or min(size, batch_size)


def _no_single(sizes: Collection[int], batch_size: int) -> bool:
    return all(_last_batch(size, batch_size) > 1 for size in sizes)


def _batch(given: Arguments, device: torch.device, dtype: torch.dtype, loss: Loss) -> tuple[Any, Tensor]:
    x, y = given["x"], given["y"]
    if isinstance(x, Stream):
        inputs: Any = x
    elif are_arguments(x, len(y) if hasattr(y, "__len__") else 0):
        inputs = arguments_of(x, device, dtype)
    else:
        inputs = inputs_of(given, device, dtype)
    labels = targets_of(given, device, dtype, loss)
    rows = len(inputs if isinstance(inputs, Stream) else first(inputs))
    if rows != len(labels):
        raise RefusedInput(
            f"x and y must be of one length: x has {rows} rows and y {len(labels)}; "
            f"give one {'class number' if loss is CLASSES else 'target'} for each row of x"
        )
    return inputs, labels


def refuse_logits(logits: Tensor, y: Tensor) -> None:
    """Refuse logits of another shape than [batch, classes], and class numbers beyond them."""
    if logits.dim() != 2 or len(logits) != len(y):
        raise RefusedInput(
            f"the network must give logits [batch, classes], one row for each row of x; for {len(y)} rows it gives "
            f"{tuple(logits.shape)}"
        )
    if y.device.type == "cpu" and (highest := int(y.max())) >= logits.shape[1]:  # a GPU would wait, and fails by itself
        raise RefusedInput(
            f"y holds class {highest}, but the network gives {logits.shape[1]} logits, of classes 0 to "
            f"{logits.shape[1] - 1}: give the class numbers that it was trained on"
        )
