"""Learning rate of each epoch, as a plain function of the epoch: nothing to store, nothing to restore."""

import math

from turnover.config.options import ConstantSchedule, CosineSchedule, MultistepSchedule


def learning_rate(
    schedule: ConstantSchedule | MultistepSchedule | CosineSchedule, lr: float, epoch: int, epochs: int
) -> float:
    """The rate of `epoch`, counted from 1, in a run of `epochs`.

    constant: lr. multistep: lr gammaᵏ, with k the number of milestones that lie before this epoch.
    cosine: lr (1 + cos(π (epoch - 1) / epochs)) / 2 (Loshchilov and Hutter, 2017, without restarts).
    """
    match schedule:
        case ConstantSchedule():
            return lr
        case MultistepSchedule(milestones=milestones, gamma=gamma):
            return lr * gamma ** sum(milestone < epoch for milestone in milestones)
        case CosineSchedule():
            return lr * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
