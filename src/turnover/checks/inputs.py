"""Conversion of tensors and arrays to examples, and checks that they suit each other and the network."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from turnover.checks.arrays import ids_of, inputs_of
from turnover.checks.missing import Given, some
from turnover.checks.targets import refuse_outputs, targets_of
from turnover.common.untouched import untouched
from turnover.core.examples import Examples
from turnover.core.losses import CLASSES, Loss
from turnover.errors import RefusedInput


def user_examples(
    x: Any, y: Any, ids: Any, *, device: torch.device, dtype: torch.dtype, loss: Loss = CLASSES
) -> Examples:
    """Convert tensors or arrays to examples; inputs that are floats get the network's dtype.

    Raises:
        RefusedInput: lengths differ, x is no array of finite numbers, labels are not what the loss takes, a label or
            an id is missing, an id occurs twice.
    """
    given = {"x": x, "y": y} if ids is None else {"x": x, "y": y, "ids": ids}
    inputs, labels = _batch(given, device, dtype, loss)
    if ids is None:
        return Examples(inputs, labels, torch.arange(len(inputs), device=device), loss=loss)
    positions = ids_of(given, device)
    kinds, counts = positions.unique(return_counts=True)
    if len(kinds) < len(positions):
        raise RefusedInput(
            f"ids must differ, or examples would share their masks and their rows: {some(kinds[counts > 1])} "
            "come more than once; leave ids out to number the examples by their position"
        )
    return Examples(inputs, labels, positions, loss=loss)


def user_batch(
    x: Any, y: Any, *, device: torch.device, dtype: torch.dtype, loss: Loss = CLASSES
) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of a batch, as in `user_examples`; values on a GPU are not checked, it would wait.

    Raises:
        RefusedInput: as `user_examples`, or there are no examples.
    """
    given = [value for value in (x, y) if isinstance(value, Tensor) and value.device.type != "cpu"]
    if len(given) == 2 and y.shape[:1] == x.shape[:1] and (loss is not CLASSES or _whole(y)):
        inputs, labels = x.to(dtype) if x.is_floating_point() else x, y.long() if loss is CLASSES else y
    else:
        inputs, labels = _batch({"x": x, "y": y}, device, dtype, loss)
    if not len(inputs):
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
    logits, sample = _logits(model, examples, min(2, len(examples)), training=False)
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
    refuse_outputs(model, examples, logits, sample)


def _logits(model: nn.Module, examples: Examples, count: int, *, training: bool) -> tuple[Tensor, str]:
    """Return the logits of the first examples and a description of these; the network is not changed."""
    few = examples.select(torch.arange(count, device=examples.device))
    sample = f"x[:{count}] of shape {tuple(few.inputs.shape)}, {few.inputs.dtype}"
    mode = "training" if training else "evaluation"
    inputs = few.prepare(few.inputs)
    try:
        with untouched(model, quiet=False), torch.no_grad():
            logits: Any = model.train(training)(inputs)
    except Exception as error:  # whatever a network raises
        whole = "" if few.inputs.is_floating_point() else "; if it needs floats, give x.astype('float32')"
        raise RefusedInput(
            f"the network cannot take {sample}{' in training mode' * training}: {type(error).__name__}: {error}{whole}"
        ) from error
    if not isinstance(logits, Tensor):
        access = ".logits" if hasattr(logits, "logits") else "['logits']" if isinstance(logits, Mapping) else "[0]"
        name = type(model).__name__
        raise RefusedInput(
            f"in {mode} mode the network gives a {type(logits).__name__}, not logits alone: make it give them, "
            f"class Logits({name}): def forward(self, x): output = super().forward(x); "
            f"return output if isinstance(output, torch.Tensor) else output{access}"
        )
    return logits, sample


def _whole(y: Tensor) -> bool:
    return y.dim() == 1 and not (y.is_floating_point() or y.dtype == torch.bool)


def _last_batch(size: int, batch_size: int) -> int:
    return size % batch_size or min(size, batch_size)


def _no_single(sizes: Collection[int], batch_size: int) -> bool:
    return all(_last_batch(size, batch_size) > 1 for size in sizes)


def _batch(given: Given, device: torch.device, dtype: torch.dtype, loss: Loss) -> tuple[Tensor, Tensor]:
    inputs, labels = inputs_of(given, device, dtype), targets_of(given, device, dtype, loss)
    if len(inputs) != len(labels):
        raise RefusedInput(
            f"x and y must be of one length: x has {len(inputs)} rows and y {len(labels)}; "
            f"give one {'class number' if loss is CLASSES else 'target'} for each row of x"
        )
    return inputs, labels
