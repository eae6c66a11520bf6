"""The training loop."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.device import Precision, autocast
from turnover.dropout import is_attached, own
from turnover.errors import RunFailed
from turnover.examples import Examples
from turnover.seeding import seeded, torch_generator


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training examples yields, measured while the weights move."""

    number: int  # from 1
    lr: float
    loss: float  # mean cross-entropy in nats
    accuracy: float


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Steps of one epoch; the last batch may be smaller than the others."""
    return -(-examples // batch_size)


def train(
    model: nn.Module,
    examples: Examples,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[int], float],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    first_epoch: int = 1,
    precision: Precision = "float32",
    on_step: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train `model` by mini-batches, yielding after each epoch from `first_epoch` to `epochs`.

    With turn-over dropout attached, every example trains its own sub-network. The order of an epoch depends on
    (seed, epoch) alone, so a run that starts again at epoch k goes on as if it had never stopped.

    Args:
        learning_rate: epoch, counted from 1 -> learning rate.
        on_step: called after every step, for a progress bar.

    Raises:
        RunFailed: a loss is NaN or infinite; names epoch, step and learning rate.
    """
    turn_over = is_attached(model)
    for epoch in range(first_epoch, epochs + 1):
        model.train()
        lr = learning_rate(epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr
        order = torch.randperm(len(examples), generator=torch_generator(seed, "order", epoch)).to(examples.device)
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        with seeded(seed, "noise", epoch):  # what the network itself may draw, for example for ordinary dropout
            for index in order.split(batch_size):
                x, y, ids = examples.batch(index)
                optimizer.zero_grad()
                with own(model, ids) if turn_over else nullcontext(), autocast(examples.device, precision):
                    logits = model(x)  # [batch, classes]
                    loss = F.cross_entropy(logits, y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
                hits.append((logits.detach().argmax(dim=1) == y).sum())
                on_step()
        # numbers leave the device once an epoch, so that a GPU never waits for them
        per_step = torch.stack(losses).double().cpu()
        _refuse_non_finite(per_step, epoch, lr)
        sizes = torch.tensor([len(index) for index in order.split(batch_size)], dtype=torch.float64)
        yield Epoch(
            number=epoch,
            lr=lr,
            loss=float(per_step @ sizes / len(examples)),
            accuracy=float(torch.stack(hits).sum()) / len(examples),
        )


def _refuse_non_finite(per_step: Tensor, epoch: int, lr: float) -> None:
    bad = ~per_step.isfinite()
    if bad.any():
        step = int(bad.nonzero()[0])
        raise RunFailed(
            f"the loss became {per_step[step].item()} in epoch {epoch}, step {step + 1} of {len(per_step)}, "
            f"at learning rate {lr:g}: a smaller learning rate usually helps (optimizer.lr)"
        )
