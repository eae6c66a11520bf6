"""Losses and predictions of an example's sub-networks, for every example of a data set."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from turnover.common.device import Precision, autocast
from turnover.common.matmul import fast_products
from turnover.core.dropout import is_attached, subnetworks
from turnover.core.examples import Examples, put
from turnover.core.inputs import Batch, first, run
from turnover.core.losses import CLASSES, Loss
from turnover.core.masked import Subnetwork

# ids of a batch -> the sub-network each example is run through: one of the functions `*_units` below
Units = Callable[[Tensor], Subnetwork]

BATCH = 512  # examples of one pass; on a CPU larger ones fall out of its caches
FRESH = 1 << 40  # beyond every id of a run, which is a position in its data set: masks made of such ids are fresh


def own_units(ids: Tensor) -> Subnetwork:
    """Return the sub-network of the units that each example trains."""
    return Subnetwork(ids, flipped=False)


def flipped_units(ids: Tensor) -> Subnetwork:
    """Return the sub-network of the units that each example never trains."""
    return Subnetwork(ids, flipped=True)


def all_units(ids: Tensor) -> Subnetwork:
    """Return the full network, without mask or scale."""
    return Subnetwork(None)


def fresh_units(number: int) -> Units:
    """Return own sub-networks of ids that no example has, different for each example and each `number`."""
    return lambda ids: Subnetwork(ids + FRESH * (number + 1), flipped=False)


@dataclass(frozen=True)
class Outcome:
    """Loss and prediction of one kind of sub-network for every example."""

    loss: Tensor  # [n]
    right: Tensor  # whether the prediction is, or the share of it that is  # bool [n], float [n]
    prediction: Tensor  # `Loss.value`, of classes their numbers  # [n]

    @classmethod
    def of(cls, outputs: Tensor, labels: Tensor, loss: Loss = CLASSES) -> "Outcome":
        """Compute the outcome of outputs under labels.  # both [n, ...]"""
        return cls(loss(outputs, labels), loss.right(outputs, labels), loss.value(outputs, labels))


def evaluate(
    model: nn.Module,
    examples: Examples,
    units: Sequence[Units] = (all_units,),
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> list[Outcome]:
    """Compute the outcome of every example in each of the sub-networks; arguments as in `passes`.

    Returns:
        An outcome for each of `units`, in the order of `examples`.
    """
    values: list[Tensor] = []
    done = 0
    for y, outputs in passes(model, examples, units, batch_size=batch_size, precision=precision):
        of_batch = [value for batch in outputs for value in vars(Outcome.of(batch, y, examples.loss)).values()]
        done = put(values, of_batch, done, len(examples))
    return [Outcome(*of_units) for of_units in zip(*[iter(values)] * len(fields(Outcome)), strict=True)]


def full_logits(model: nn.Module, examples: Examples, *, batch_size: int = BATCH) -> Tensor:
    """Return the logits of the full network for every example, in evaluation mode.  # [n, classes]"""
    batches = passes(model, examples, (all_units,), batch_size=batch_size, precision="float32")
    return torch.cat([logits for _, (logits,) in batches])


@torch.no_grad()
def passes(
    model: nn.Module,
    examples: Examples,
    units: Sequence[Units],
    *,
    batch_size: int,
    precision: Precision,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield labels and logits in each of the sub-networks, batch by batch, in evaluation mode without gradients.

    All sub-networks share one pass: activations below the first mask are computed once. Results stay on the device.

    Args:
        model: with turn-over dropout attached, unless `all_units` is the only sub-network.
        units: any of `own_units`, `flipped_units`, `all_units`, `fresh_units(k)`.

    Yields:
        Labels  # int64 [batch], and for each of `units` logits of at least 32 bits  # [batch, classes].
    """
    positions = torch.arange(len(examples), device=examples.device)
    with evaluation_mode(model), fast_products(examples.device), autocast(examples.device, precision):
        evaluated = _shared if _can_share(model, examples, units) else _separate
        for x, y, ids in examples.batches(positions.split(batch_size)):
            logits = evaluated(model, x, [choose(ids) for choose in units])
            yield y, [output.float() if output.dtype.itemsize < 4 else output for output in logits]


def _separate(model: nn.Module, x: Batch, subnets: list[Subnetwork]) -> list[Tensor]:
    logits = []
    for subnetwork in subnets:
        with nullcontext() if subnetwork.ids is None else subnetworks(model, [subnetwork]):
            logits.append(run(model, x))
    return logits


def _shared(model: nn.Module, x: Batch, subnets: list[Subnetwork]) -> list[Tensor]:
    with subnetworks(model, subnets):
        logits = run(model, x)  # [subnetworks * batch, classes]
    return list(logits.unflatten(0, (len(subnets), len(first(x)))).unbind())


def _can_share(model: nn.Module, examples: Examples, units: Sequence[Units]) -> bool:
    """Return True if one pass with a repeated batch equals separate passes, on a few examples far apart.

    A network that depends on its batch dimension, such as one that remembers the batch size of its input, fails or
    mixes examples when the batch grows on the way, and is run once for each sub-network.
    """
    if len(units) == 1 or not is_attached(model):
        return False
    step = max(1, len(examples) // 3)
    x, _, ids = examples.batch(torch.arange(0, len(examples), step, device=examples.device)[:3])
    subnets = [choose(ids) for choose in units]
    with torch.autocast(ids.device.type, enabled=False):  # low precision would hide a difference
        expected = torch.stack(_separate(model, x, subnets))
        try:
            shared = torch.stack(_shared(model, x, subnets))
        except Exception:  # whatever a network raises when its batch grows on the way
            return False
    # Rounding differs with the batch size; mixing of examples is seen against the spread of the logits
    relative = {torch.float64: 1e-9, torch.float32: 1e-3}.get(expected.dtype, 0.05)
    return bool((shared - expected).abs().max() <= relative * (expected.max() - expected.min()))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode inside, and restore the mode of every module."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
