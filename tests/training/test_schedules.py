"""Learning rates of all steps, against PyTorch's schedulers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from turnover.config.training_options import ConstantSchedule, CosineSchedule, LinearSchedule, MultistepSchedule
from turnover.training.optim import learning_rate

Schedule = ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule


def falling(optimizer: torch.optim.Optimizer, schedule: Schedule, total: int) -> lr_scheduler.LRScheduler:
    """PyTorch's scheduler that goes through the whole schedule in so many steps of its own."""
    match schedule:
        case ConstantSchedule():
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case MultistepSchedule():
            return lr_scheduler.MultiStepLR(optimizer, schedule.milestones, schedule.gamma)
        case CosineSchedule():
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
        case LinearSchedule():
            return lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=total)


def stepped(optimizer: torch.optim.Optimizer, scheduler: lr_scheduler.LRScheduler, count: int) -> list[float]:
    """The rates that PyTorch trains with, stepping a scheduler so many times."""
    found = []
    for _ in range(count):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def sgd(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)


def rates(schedule: Schedule, lr: float, steps: int, epochs: int) -> list[float]:
    return [learning_rate(schedule, lr, step, steps, epochs) for step in range(steps * epochs)]


multisteps = st.builds(
    lambda milestones, gamma: MultistepSchedule(name="multistep", milestones=sorted(milestones), gamma=gamma),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),  # two may fall on one epoch
    st.floats(0.05, 2.0),
)


def schedules(by: str, warmup: int) -> list[Schedule]:
    constant = ConstantSchedule(name="constant", warmup=warmup)
    options = {"by": by, "warmup": warmup}
    cosine = CosineSchedule.model_validate({"name": "cosine", **options})
    return [constant, cosine, LinearSchedule.model_validate({"name": "linear", **options})]


@given(
    multisteps | st.sampled_from(schedules("epoch", 0)), st.floats(1e-4, 10.0), st.integers(1, 4), st.integers(1, 50)
)
def test_rates_by_epoch_are_those_of_pytorch(schedule: Schedule, lr: float, steps: int, epochs: int) -> None:
    optimizer = sgd(lr)
    theirs = stepped(optimizer, falling(optimizer, schedule, epochs), epochs)
    expected = [rate for rate in theirs for _ in range(steps)]
    assert rates(schedule, lr, steps, epochs) == pytest.approx(expected, rel=1e-9, abs=1e-12 * lr)


@given(st.integers(0, 2), st.integers(0, 30), st.floats(1e-4, 10.0), st.integers(1, 9), st.integers(1, 9))
def test_rates_by_step_after_a_warm_up_are_those_of_pytorch(
    kind: int, warmup: int, lr: float, steps: int, epochs: int
) -> None:
    total = steps * epochs
    warmup %= total
    schedule, optimizer = schedules("step", warmup)[kind], sgd(lr)
    scheduler = falling(optimizer, schedule, total - warmup)
    if warmup:
        optimizer = sgd(lr)
        rising = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup)
        scheduler = lr_scheduler.SequentialLR(
            optimizer, [rising, falling(optimizer, schedule, total - warmup)], [warmup]
        )
    expected = stepped(optimizer, scheduler, total)
    assert rates(schedule, lr, steps, epochs) == pytest.approx(expected, rel=1e-9, abs=1e-12 * lr)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("warmup", [1, 5, 40])
def test_a_warm_up_rises_to_the_rates_by_epoch(kind: int, warmup: int) -> None:
    without, found = (rates(schedules("epoch", number)[kind], 0.3, 4, 3) for number in (0, warmup))
    rising = [min(1.0, step / (warmup + 1)) for step in range(1, 13)]
    assert found == pytest.approx([rate * share for rate, share in zip(without, rising, strict=True)], rel=1e-12)


def test_rates_by_epoch_are_what_they_were_bit_for_bit() -> None:
    """Runs from before there were rates by step are made again with the same numbers."""
    _, cosine, linear = schedules("epoch", 0)
    for epochs in range(1, 40):
        for epoch in range(1, epochs + 1):
            step, angle = 3 * (epoch - 1) + epoch % 3, math.pi * (epoch - 1) / epochs
            assert learning_rate(cosine, 0.1, step, 3, epochs) == 0.1 * (1 + math.cos(angle)) / 2
            assert learning_rate(linear, 0.1, step, 3, epochs) == 0.1 * (1 - (epoch - 1) / epochs)
