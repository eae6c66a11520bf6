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


@dataclass(frozen=True)
class _Layer:
    """One linear layer of every network of the stack."""

    weight: Tensor  # transposed, which is faster  # [networks, inputs, outputs]
    bias: Tensor  # [networks, outputs]
    velocity: tuple[Tensor, Tensor] | None  # of weight and bias; None: no momentum

    @classmethod
    def of(cls, linears: Sequence[nn.Linear], momentum: float) -> "_Layer":
        weight = torch.stack([linear.weight.detach().t() for linear in linears])
        bias = torch.stack([linear.bias.detach() for linear in linears])
        return cls(weight, bias, (torch.zeros_like(weight), torch.zeros_like(bias)) if momentum else None)

    def step(self, inputs: Tensor, error: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        """Take one step of SGD, as torch.optim.SGD does.

        The gradient of a mean loss is inputsᵀ error / batch.  # [networks, batch, inputs], [networks, batch, outputs]
        """
        mean, inputs = 1 / inputs.shape[1], inputs.transpose(1, 2)
        if self.velocity is None:
            add_batched(self.weight, inputs, error, beta=1 - lr * weight_decay, alpha=-lr * mean)
            self.bias.mul_(1 - lr * weight_decay).sub_(error.sum(1), alpha=lr * mean)
            return
        weight, bias = self.velocity
        add_batched(weight, inputs, error, beta=momentum, alpha=mean)
        bias.mul_(momentum).add_(error.sum(1), alpha=mean)
        if weight_decay:
            weight.add_(self.weight, alpha=weight_decay)
            bias.add_(self.bias, alpha=weight_decay)
        self.weight.sub_(weight, alpha=lr)
        self.bias.sub_(bias, alpha=lr)


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
        learning_rate: epoch, counted from 1 -> learning rate.
        on_step: called after every step with the number of networks.

    Raises:
        RunFailed: weights became NaN or infinite; names the epoch. No network is changed.
    """
    # normalised once: every example is used in every epoch of every network
    inputs = examples.prepare(examples.inputs).flatten(1)  # [n, features]
    pairs = [[module for module in model.modules() if isinstance(module, nn.Linear)] for model in models]
    first, last = (_Layer.of([pair[position] for pair in pairs], momentum) for position in (0, 1))
    count, size = included.shape
    buffers: dict[int, _Buffers] = {}  # by the size of a batch: the last one of an epoch may be smaller
    for epoch in range(1, epochs + 1):
        lr = learning_rate(epoch)
        order = torch.stack([torch.randperm(size, generator=torch_generator(seed, "order", epoch)) for seed in seeds])
        index = included.gather(1, order.to(inputs.device))  # [networks, k]
        labels = examples.labels[index]
        for start in range(0, size, batch_size):
            batch = slice(start, min(start + batch_size, size))
            length = batch.stop - start
            if length not in buffers:
                buffers[length] = _Buffers.of(first, last, length)
            buffer = buffers[length]
            torch.index_select(inputs, 0, index[:, batch].flatten(), out=buffer.x.view(-1, inputs.shape[1]))
            _step(first, last, buffer, labels[:, batch], lr, momentum, weight_decay)
            on_step(count)
        # a sum is finite only if all of its terms are
        if not all(tensor.sum().isfinite() for layer in (first, last) for tensor in (layer.weight, layer.bias)):
            raise RunFailed(
                f"weights are no longer finite in epoch {epoch}, at learning rate {lr:g}: "
                "a smaller learning rate usually helps (optimizer.lr)"
            )
    with torch.no_grad():
        for number, pair in enumerate(pairs):
            for linear, layer in zip(pair, (first, last), strict=True):
                linear.weight.copy_(layer.weight[number].t())
                linear.bias.copy_(layer.bias[number])


@dataclass(frozen=True)
class _Buffers:
    """Memory for the results of a step, shared by all steps: fresh memory would be slow."""

    x: Tensor  # [networks, batch, features]
    hidden: Tensor  # [networks, batch, units]
    below: Tensor  # error of the hidden layer  # [networks, batch, units]
    logits: Tensor  # [networks, classes, batch]
    minus: Tensor  # -1  # [networks, 1, batch]

    @classmethod
    def of(cls, first: _Layer, last: _Layer, batch: int) -> "_Buffers":
        networks, features, units = first.weight.shape
        hidden, below = (first.weight.new_empty(networks, batch, units) for _ in range(2))
        logits = first.weight.new_empty(networks, last.weight.shape[2], batch)
        return cls(logits.new_empty(networks, batch, features), hidden, below, logits, -torch.ones_like(logits[:, :1]))


def _step(
    first: _Layer, last: _Layer, buffer: _Buffers, y: Tensor, lr: float, momentum: float, weight_decay: float
) -> None:
    """Run forward, backward by hand and update, from the inputs in `buffer.x`.  # y: int64 [networks, batch]"""
    x, hidden, below = buffer.x, buffer.hidden, buffer.below
    batched(x, first.weight, first.bias, hidden).relu_()
    # classes before batch: on a CPU a softmax over the middle dimension is much faster than one over ten columns
    torch.baddbmm(last.bias[:, :, None], last.weight.transpose(1, 2), hidden.transpose(1, 2), out=buffer.logits)
    error = buffer.logits.softmax(1).scatter_add_(1, y[:, None], buffer.minus)  # [networks, classes, batch]
    error = error.transpose(1, 2)  # [networks, batch, classes]
    torch.bmm(error, last.weight.transpose(1, 2), out=below)
    torch.ops.aten.threshold_backward.grad_input(below, hidden, 0, grad_input=below)  # 0 where the unit was off
    last.step(hidden, error, lr, momentum, weight_decay)
    first.step(x, below, lr, momentum, weight_decay)
