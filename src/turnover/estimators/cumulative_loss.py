"""The loss of an example over all of training (cumulative sample loss, Ravikumar et al., 2025)."""

from torch import Tensor

from turnover.estimators.inputs import history


def cumulative_loss(losses: Tensor) -> Tensor:
    """Mean of an example's loss over all epochs: it ranks as their sum does, and runs of any length compare.

    Args:
        losses: of each example in each epoch, in nats.  # [epochs, n]

    Returns:
        Mean loss in nats; high: memorized or difficult.  # [n]

    Raises:
        RefusedInput: losses are not [epochs, n] with at least one epoch.
    """
    return history("losses", losses).mean(dim=0)
