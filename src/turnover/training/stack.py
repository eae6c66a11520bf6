"""Training of many small networks at once: their weights are stacked, so that a step is a few large matrix products.

A network with one hidden layer of a few hundred units is too small to keep a machine busy. A stack of them is trained
by batched products, whose updates go straight into the weights: no gradient is ever stored. Every network draws its own
batches and ends up as `turnover.training.loop.train` would leave it, up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from turnover.common.matmul import add_batched, batched
from turnover.common.seeding import torch_generator
from turnover.core.examples import Examples
from turnover.errors import RunFailed

STACK = 16  # networks at once: fewer take longer to start their operations, more fall out of a CPU's caches


def stackable(model: nn.Module) -> bool:
    """Return True if `train_stack` can train a network: [Flatten,] Linear, ReLU, Linear, with biases, none frozen."""
    kinds = [type(module) for module in model] if type(model) is nn.Sequential else []
    # neither frozen nor tied, nor made of others as by spectral_norm
    trained = [name.rpartition(".")[2] for name, parameter in model.named_parameters() if parameter.requires_grad]
    return (
        kinds[-3:] == [nn.Linear, nn.ReLU, nn.Linear]
        and kinds[:-3] in ([], [nn.Flatten])
        and trained == ["weight", "bias", "weight", "bias"]
    )


def train_stack(
    models: Sequence[nn.Module],
    examples: Examples,
    included: Tensor,
    seeds: Sequence[int],
    learning_rate: Callable[[int], float],
    *,
    epochs: int,
    batch_size: int,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    on_step: Callable[[int], object] = lambda steps: None,
) -> None:
    """Train each of some networks on its own part of the examples, all at once, by SGD on the mean cross-entropy.

    Args:
        models: `stackable`, of equal shape; their weights are changed.
        included: the positions each network is trained on, as many for every one.  # int64 [networks, k]
        seeds: of the order of examples, one a network, as in `train`.
        learning_rate: step, counted from 0 over all epochs -> learning rate.
        on_step: called after every step with the number of networks.

    Raises:
        RunFailed: weights became NaN or infinite; names the epoch. No network is changed.
    """
    # normalised once: every example is used in every epoch of every network
    inputs = examples.prepare(examples.inputs).flatten(1)  # [n, features]
    parameters = [[p.detach() if p.dim() == 2 else p.detach()[None] for p in model.parameters()] for model in models]
    stacked = [torch.stack(of_networks) for of_networks in zip(*parameters, strict=True)]
    weights = torch.cat([tensor.flatten() for tensor in stacked])
    layers = _views(weights, stacked)
    velocity = torch.zeros_like(weights) if momentum else None
    moved = layers if velocity is None else _views(velocity, stacked)
    count, size = included.shape
    buffers: dict[int, _Buffers] = {}  # by the size of a batch: the last one of an epoch may be smaller
    step = 0
    for epoch in range(1, epochs + 1):
        order = torch.stack([torch.randperm(size, generator=torch_generator(seed, "order", epoch)) for seed in seeds])
        index = included.gather(1, order.to(inputs.device))  # [networks, k]
        labels = examples.labels[index]
        for start in range(0, size, batch_size):
            batch = slice(start, min(start + batch_size, size))
            length = batch.stop - start
            if length not in buffers:
                buffers[length] = _Buffers.of(layers, length)
            buffer = buffers[length]
            torch.index_select(inputs, 0, index[:, batch].flatten(), out=buffer.x.view(-1, inputs.shape[1]))
            lr = learning_rate(step)
            # a step of SGD as torch.optim.SGD takes it
            if velocity is None:
                _add_gradients(layers, buffer, labels[:, batch], moved, keep=1 - lr * weight_decay, scale=-lr)
            else:
                _add_gradients(layers, buffer, labels[:, batch], moved, keep=momentum, scale=1)
                if weight_decay:
                    velocity.add_(weights, alpha=weight_decay)
                weights.sub_(velocity, alpha=lr)
            on_step(count)
            step += 1
        if not weights.sum().isfinite():  # a sum is finite only if all of its terms are
            raise RunFailed(
                f"weights are no longer finite in epoch {epoch}, at learning rate {lr:g}: "
                "a smaller learning rate usually helps (optimizer.lr)"
            )
    for own, networks in zip(zip(*parameters, strict=True), layers, strict=True):
        for parameter, trained in zip(own, networks, strict=True):
            parameter.copy_(trained)


def _views(flat: Tensor, shapes: Sequence[Tensor]) -> list[Tensor]:
    """Return parts of a tensor, in the shapes of others."""
    parts = flat.split([tensor.numel() for tensor in shapes])
    return [part.view_as(tensor) for part, tensor in zip(parts, shapes, strict=True)]


@dataclass(frozen=True)
class _Buffers:
    """Memory for the results of a step, shared by all steps: fresh memory would be slow."""

    x: Tensor  # [networks, batch, features]
    hidden: Tensor  # [networks, batch, units]
    below: Tensor  # error of the hidden layer  # [networks, batch, units]
    logits: Tensor  # [networks, classes, batch]
    ones: Tensor  # [networks, 1, batch]

    @classmethod
    def of(cls, layers: Sequence[Tensor], batch: int) -> "_Buffers":
        networks, units, features = layers[0].shape
        new = layers[0].new_empty
        hidden, below = new(networks, batch, units), new(networks, batch, units)
        logits, ones = new(networks, layers[3].shape[2], batch), new(networks, 1, batch).fill_(1)
        return cls(new(networks, batch, features), hidden, below, logits, ones)


def _add_gradients(
    layers: Sequence[Tensor], buffer: _Buffers, y: Tensor, sums: Sequence[Tensor], *, keep: float, scale: float
) -> None:
    """Set sums = keep sums + scale gradient of the mean loss, from the inputs in `buffer.x`; backward by hand.

    Args:
        layers: weight and bias of the first and the last layer.  # [networks, outputs, inputs], [networks, 1, outputs]
        y: int64 [networks, batch]
        sums: of their shapes; may be these tensors themselves.
    """
    (first, first_bias, last, last_bias), x, hidden, below = layers, buffer.x, buffer.hidden, buffer.below
    batched(x, first, first_bias, hidden).relu_()
    # classes before batch: on a CPU a softmax over the middle dimension is much faster than one over ten columns
    torch.baddbmm(last_bias.mT, last, hidden.mT, out=buffer.logits)
    error = buffer.logits.softmax(1).scatter_add_(1, y[:, None], -buffer.ones)  # [networks, classes, batch]
    torch.bmm(error.mT, last, out=below)
    torch.ops.aten.threshold_backward.grad_input(below, hidden, 0, grad_input=below)  # 0 where the unit was off
    mean, ones = scale / x.shape[1], buffer.ones
    factors = ((below.mT, x), (ones, below), (error, hidden), (ones, error.mT))  # sums over the batch
    for total, (a, b) in zip(sums, factors, strict=True):
        add_batched(total, a, b, beta=keep, alpha=mean)
