"""Learning rates of all epochs, against PyTorch's schedulers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from turnover.config.options import ConstantSchedule, CosineSchedule, LinearSchedule, MultistepSchedule
from turnover.training.fit import learning_rate

Schedule = ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule


def rates(schedule: Schedule, lr: float, epochs: int) -> list[float]:
    return [learning_rate(schedule, lr, epoch, epochs) for epoch in range(1, epochs + 1)]


def theirs(schedule: Schedule, lr: float, epochs: int) -> list[float]:
    """The rates that PyTorch trains with, stepping its scheduler after every epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    scheduler: lr_scheduler.LRScheduler
    match schedule:
        case ConstantSchedule():
            scheduler = lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case MultistepSchedule():
            scheduler = lr_scheduler.MultiStepLR(optimizer, schedule.milestones, schedule.gamma)
        case CosineSchedule():
            scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        case LinearSchedule():
            scheduler = lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs)
    found = []
    for _ in range(epochs):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


constants = st.just(ConstantSchedule(name="constant"))
cosines = st.just(CosineSchedule(name="cosine"))
linears = st.just(LinearSchedule(name="linear"))
multisteps = st.builds(
    lambda milestones, gamma: MultistepSchedule(name="multistep", milestones=sorted(milestones), gamma=gamma),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),  # two may fall on one epoch
    st.floats(0.05, 2.0),
)


@given(constants | multisteps | cosines | linears, st.floats(1e-4, 10.0), st.integers(1, 50))
def test_rates_are_those_of_pytorch(schedule: Schedule, lr: float, epochs: int) -> None:
    assert rates(schedule, lr, epochs) == pytest.approx(theirs(schedule, lr, epochs), rel=1e-9, abs=1e-12 * lr)
