"""The training loop."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from turnover.common.device import Precision, autocast
from turnover.common.matmul import fast_products
from turnover.common.seeding import seeded, torch_generator
from turnover.common.signals import Stopped
from turnover.core.dropout import is_attached, own
from turnover.core.examples import Examples, put
from turnover.core.inputs import run
from turnover.errors import RunFailed
from turnover.training.methods.method import Method, Step


@dataclass(frozen=True)
class Epoch:
    """Results of one pass over the training examples, measured while the weights change."""

    number: int  # from 1
    lr: float  # at its first step
    losses: Tensor  # of every training example at its step, in the mean if it is repeated  # [examples]
    correct: Tensor  # whether it was right then, or to what share, by `Loss.right`  # bool or float [examples]


@dataclass(frozen=True)
class Partial:
    """State in the middle of an epoch, besides weights and optimizer, from which its next step resumes."""

    epoch: int
    losses: Tensor  # of the examples trained on so far, in the order of the epoch  # [done]
    correct: Tensor  # bool [done]
    random: list[Tensor]  # states of PyTorch's global generators: of the CPU, then of each CUDA device


class StoppedInEpoch(Stopped):
    """Stopped after a step that was not the last one of its epoch."""

    def __init__(self, partial: Partial) -> None:
        super().__init__(f"stopped in epoch {partial.epoch}")
        self.partial = partial


class Observer:
    """Base of observers of a training, which change nothing of it. Override what is needed; the rest does nothing.

    for epoch:
        for batch:
            with forward(epoch, len(batch)): logits = model(x)
            update(logits, labels, index)
            method.backward(step), optimizer.step()
        epoch_end(epoch)
    state_dict(), load_state_dict(state): around a stop in the middle of an epoch
    """

    def forward(self, epoch: int, batch: int) -> AbstractContextManager[None]:
        """Return a context for the forward pass of a mini-batch of this size."""
        return nullcontext()

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Observe a mini-batch between its forward and its backward pass, which stays possible.

        Args:
            logits: [batch, classes]
            labels: int64 [batch]
            index: positions of its examples in the training set.  # int64 [batch]
        """

    def epoch_end(self, epoch: Epoch) -> None:
        """Observe a whole epoch, after its last step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the observations of an epoch that is not complete."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore such a state."""


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of steps of one epoch; the last batch may be smaller than the others."""
    return -(-examples // batch_size)


def whole_epochs(done: int, steps: Sequence[int]) -> tuple[int, int]:
    """Return the whole epochs in the first `done` steps, and the steps since.  # steps: of each epoch"""
    ends = list(accumulate(steps, initial=0))
    epoch = bisect_right(ends, done) - 1
    return epoch, done - ends[epoch]


def train(
    model: nn.Module,
    examples: Examples,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[int], float],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    method: Method | None = None,
    first_epoch: int = 1,
    partial: Partial | None = None,
    plain_epochs: int = 0,
    precision: Precision = "float32",
    on_step: Callable[[], object] = lambda: None,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train `model` by mini-batches, yielding after each epoch from `first_epoch` to `epochs`.

    With turn-over dropout attached, every example trains its own sub-network. The order of an epoch, in which every
    example comes as often as it is repeated, depends on (seed, epoch) alone, so a run that starts again at epoch k goes
    on as if it had never stopped.

    Args:
        learning_rate: step, counted from 0 over all epochs -> learning rate.
        method: what a step minimises, and how; None: the mean loss of its examples, which is observed under every one.
        partial: where the first epoch was stopped; `model` and `optimizer` are as they were then.
        plain_epochs: number of first epochs that train the full network, turn-over dropout attached or not.
        on_step: called after every step, for a progress bar.
        observers: the weights are the same with and without them.
        stop: called after every step; True stops.

    Raises:
        StoppedInEpoch: `stop` returned True.
        RunFailed: a loss is NaN or infinite; names epoch, step and learning rate.
    """
    attached = is_attached(model)
    method = method or Method()
    steps = steps_per_epoch(visits(examples), batch_size)
    for epoch in range(first_epoch, epochs + 1):
        turn_over = attached and epoch > plain_epochs
        model.train()
        order = _order(examples, seed, epoch)
        values: list[Tensor] = []  # losses, and whether right
        done = 0
        with seeded(seed, "noise", epoch):  # random numbers of the network itself, for example of ordinary dropout
            if partial is not None:
                _set_random(partial.random)
                done = put(values, (partial.losses, partial.correct), 0, len(order))
            first, splits = (epoch - 1) * steps + done // batch_size, order[done:].split(batch_size)
            for step, (index, (x, y, ids)) in enumerate(zip(splits, examples.batches(splits), strict=True), first):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step)
                optimizer.zero_grad()
                with ExitStack() as around:  # left in the reverse order, the observers' contexts last
                    around.enter_context(fast_products(examples.device))
                    for observer in observers:
                        around.enter_context(observer.forward(epoch, len(index)))
                    around.enter_context(method.forward(model, len(index)))
                    inside = _inside(ids if turn_over else None, examples.device, precision)
                    around.enter_context(inside(model))
                    logits = run(model, x)  # [batch, classes]
                    wide = logits.float() if logits.dtype.itemsize < 4 else logits
                    loss = examples.loss(wide, y)  # [batch]
                for observer in observers:
                    observer.update(logits, y, index)
                method.backward(Step(model, x, y, index, epoch, learning_rate(step), wide, loss, inside))
                optimizer.step()
                done = put(values, (loss.detach(), examples.loss.right(logits.detach(), y)), done, len(order))
                on_step()
                if stop() and done < len(order):
                    losses, correct = (tensor[:done].clone() for tensor in values)
                    raise StoppedInEpoch(Partial(epoch, losses, correct, _random()))
        partial = None
        _refuse_non_finite(epoch, values[0], batch_size, learning_rate)
        by_example = (_by_example(tensor, order, examples.repeats) for tensor in values)
        result = Epoch(epoch, learning_rate((epoch - 1) * steps), *by_example)
        for observer in observers:
            observer.epoch_end(result)
        yield result


def visits(examples: Examples) -> int:
    """Return how many examples an epoch trains on, repeats counted."""
    return len(examples) if examples.repeats is None else int(examples.repeats.sum())


def _order(examples: Examples, seed: int, epoch: int) -> Tensor:
    """Return the positions of the examples of an epoch, in the order in which it trains on them.  # int64 [visits]"""
    drawn = torch.randperm(visits(examples), generator=torch_generator(seed, "order", epoch)).to(examples.device)
    if examples.repeats is None:
        return drawn
    return torch.arange(len(examples), device=examples.device).repeat_interleave(examples.repeats)[drawn]


def _by_example(values: Tensor, order: Tensor, repeats: Tensor | None) -> Tensor:
    """Return values in the order of the examples, means over their repeats.  # [visits] -> [examples]"""
    values = values[order.argsort(stable=True)]
    return values if repeats is None else torch.segment_reduce(values.float(), "mean", lengths=repeats)


def _inside(
    ids: Tensor | None, device: torch.device, precision: Precision
) -> Callable[[nn.Module], AbstractContextManager[None]]:
    """Return what runs each example through its own sub-network, or without ids the full one, in that precision."""

    @contextmanager
    def inside(model: nn.Module) -> Iterator[None]:
        with nullcontext() if ids is None else own(model, ids), autocast(device, precision):
            yield

    return inside


def _refuse_non_finite(epoch: int, losses: Tensor, batch_size: int, learning_rate: Callable[[int], float]) -> None:
    # numbers leave the device once an epoch, so that a GPU never waits for them
    bad = ~losses.isfinite()
    if bad.any():
        first = int(bad.nonzero()[0])
        step, steps = first // batch_size + 1, steps_per_epoch(len(losses), batch_size)
        lr = learning_rate((epoch - 1) * steps + step - 1)
        raise RunFailed(
            f"the loss became {losses[first].item()} in epoch {epoch}, step {step} of {steps}, "
            f"at learning rate {lr:g}: a smaller learning rate usually helps (optimizer.lr)"
        )


def _random() -> list[Tensor]:
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_random(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0].cpu())
    torch.cuda.set_rng_state_all([state.cpu() for state in states[1:]])
