"""Training of many small networks at once: their weights are stacked, so that a step is a few large matrix products.

A network with one hidden layer of a few hundred units is too small to keep a machine busy. A stack of them is trained
by batched products, whose updates go straight into the weights: no gradient is ever stored. The cores of a CPU divide
the networks among them. Every network draws its own batches and ends up as `turnover.training.loop.train` would leave
it, up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock

import torch
from torch import Tensor, nn

from turnover.common.matmul import add_batched, batched, one_a_core
from turnover.common.seeding import torch_generator
from turnover.core.examples import Examples
from turnover.errors import RunFailed

STACK = 16  # networks whose outcomes are kept together; more cores than that are not used
SHARE = 4  # networks at once on one core: fewer take longer to start their operations, more gain nothing


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

    weight: Tensor  # [networks, outputs, inputs]
    bias: Tensor  # [networks, outputs]
    velocity: tuple[Tensor, Tensor] | None  # of weight and bias; None: no momentum

    @classmethod
    def of(cls, linears: Sequence[nn.Linear], momentum: float) -> "_Layer":
        weight, bias = (
            torch.stack([getattr(linear, name).detach() for linear in linears]) for name in ("weight", "bias")
        )
        return cls(weight, bias, (torch.zeros_like(weight), torch.zeros_like(bias)) if momentum else None)

    def step(self, error: Tensor, inputs: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        """Take one step of SGD, as torch.optim.SGD does.

        The gradient of a mean loss is error @ inputs / batch.  # error: [networks, outputs, batch], inputs: [networks,
        batch, inputs]
        """
        mean = 1 / inputs.shape[1]
        if self.velocity is None:
            add_batched(self.weight, error, inputs, beta=1 - lr * weight_decay, alpha=-lr * mean)
            self.bias.mul_(1 - lr * weight_decay).sub_(error.sum(2), alpha=lr * mean)
            return
        weight, bias = self.velocity
        add_batched(weight, error, inputs, beta=momentum, alpha=mean)
        bias.mul_(momentum).add_(error.sum(2), alpha=mean)
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
        on_step: called after every step with the number of networks that took it, on a CPU perhaps in other threads,
            but never in two at once.

    Raises:
        RunFailed: weights became NaN or infinite; names the epoch. No network is changed.
    """
    # normalised once: every example is used in every epoch of every network
    inputs = examples.prepare(examples.inputs).flatten(1)  # [n, features]
    pairs = [[module for module in model.modules() if isinstance(module, nn.Linear)] for model in models]
    trained: dict[int, tuple[_Layer, _Layer]] = {}  # by the first network of a share
    reporting = Lock()

    def train_share(share: slice, over: Event) -> None:
        def report(steps: int) -> bool:
            with reporting:
                on_step(steps)
            return over.is_set()

        first, last = (_Layer.of([pair[position] for pair in pairs[share]], momentum) for position in (0, 1))
        rows, settings = included[share], (epochs, batch_size, momentum, weight_decay)
        _train(first, last, inputs, examples.labels, rows, seeds[share], learning_rate, *settings, report)
        trained[share.start] = first, last

    shares = _shares(len(models), examples.device)
    one_a_core(train_share, shares)
    with torch.no_grad():
        for share in shares:
            for number, pair in enumerate(pairs[share]):
                for linear, layer in zip(pair, trained[share.start], strict=True):
                    linear.weight.copy_(layer.weight[number])
                    linear.bias.copy_(layer.bias[number])


def _shares(count: int, device: torch.device) -> list[slice]:
    """Return shares of networks to train together: as many for every core, of almost equal size; on a GPU one."""
    if device.type != "cpu":
        return [slice(0, count)]
    cores = torch.get_num_threads()
    shares = min(count, cores * -(-count // (SHARE * cores)))
    return [slice(count * number // shares, count * (number + 1) // shares) for number in range(shares)]


def _train(
    first: _Layer,
    last: _Layer,
    inputs: Tensor,
    targets: Tensor,
    included: Tensor,
    seeds: Sequence[int],
    learning_rate: Callable[[int], float],
    epochs: int,
    batch_size: int,
    momentum: float,
    weight_decay: float,
    on_step: Callable[[int], bool],
) -> None:
    """Train a share, until `on_step` returns True.  # inputs: [n, features], targets: int64 [n]"""
    count, size = included.shape
    buffers: dict[int, _Buffers] = {}  # by the size of a batch: the last one of an epoch may be smaller
    for epoch in range(1, epochs + 1):
        lr = learning_rate(epoch)
        order = torch.stack([torch.randperm(size, generator=torch_generator(seed, "order", epoch)) for seed in seeds])
        index = included.gather(1, order.to(inputs.device))  # [networks, k]
        labels = targets[index]
        for start in range(0, size, batch_size):
            batch = slice(start, min(start + batch_size, size))
            length = batch.stop - start
            if length not in buffers:
                buffers[length] = _Buffers.of(first, last, length)
            buffer = buffers[length]
            torch.index_select(inputs, 0, index[:, batch].flatten(), out=buffer.x.view(-1, inputs.shape[1]))
            _step(first, last, buffer, labels[:, batch], lr, momentum, weight_decay)
            if on_step(count):
                return
        # a sum is finite only if all of its terms are
        if not all(tensor.sum().isfinite() for layer in (first, last) for tensor in (layer.weight, layer.bias)):
            raise RunFailed(
                f"weights are no longer finite in epoch {epoch}, at learning rate {lr:g}: "
                "a smaller learning rate usually helps (optimizer.lr)"
            )


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
        networks, units, features = first.weight.shape
        hidden, below = (first.weight.new_empty(networks, batch, units) for _ in range(2))
        logits = first.weight.new_empty(networks, last.weight.shape[1], batch)
        return cls(logits.new_empty(networks, batch, features), hidden, below, logits, -torch.ones_like(logits[:, :1]))


def _step(
    first: _Layer, last: _Layer, buffer: _Buffers, y: Tensor, lr: float, momentum: float, weight_decay: float
) -> None:
    """Run forward, backward by hand and update, from the inputs in `buffer.x`.  # y: int64 [networks, batch]"""
    x, hidden, below = buffer.x, buffer.hidden, buffer.below
    batched(x, first.weight, first.bias, hidden).relu_()
    # classes before batch: on a CPU a softmax over the middle dimension is much faster than one over ten columns
    torch.baddbmm(last.bias[:, :, None], last.weight, hidden.transpose(1, 2), out=buffer.logits)
    error = buffer.logits.softmax(1).scatter_add_(1, y[:, None], buffer.minus)  # [networks, classes, batch]
    torch.bmm(error.transpose(1, 2), last.weight, out=below)
    torch.ops.aten.threshold_backward.grad_input(below, hidden, 0, grad_input=below)  # 0 where the unit was off
    last.step(error, hidden, lr, momentum, weight_decay)
    first.step(below.transpose(1, 2), x, lr, momentum, weight_decay)
