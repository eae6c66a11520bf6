"""When an example is learnt for good: first-split learning time (Maini et al., 2022)."""

from torch import Tensor

from turnover.estimators.inputs import correctness, last_epoch


def first_learning_epoch(correct: Tensor) -> Tensor:
    """The earliest epoch from which on an example is always classified correctly.

    min {t : correct in all epochs t, t + 1, ..., epochs}, counted from 1; epochs + 1 if it is wrong in the last epoch.

    Args:
        correct: whether each example was classified correctly in each epoch.  # bool [epochs, n]

    Returns:
        Epochs from 1 to epochs + 1; high: difficult.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    return last_epoch(~correctness(correct)) + 1
