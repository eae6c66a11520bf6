"""How soon an example is forgotten while the network trains on others: second-split forgetting (Maini et al., 2022)."""

from torch import Tensor

from turnover.estimators.inputs import correctness, last_epoch


def second_split_forgetting(correct: Tensor) -> Tensor:
    """epochs + 1 - SSFT, the second-split forgetting time turned round so that what is forgotten soon scores high.

    SSFT = min {t : wrong in all epochs t, t + 1, ..., epochs}, counted from 1; epochs + 1 if an example is correct in
    the last epoch and so is never forgotten. Maini et al. train until the whole first split is learnt; what is not
    learnt here counts as forgotten in epoch 1 (`in_accuracy` of a run tells how much was learnt).

    Args:
        correct: whether each example of the first split was classified correctly in each epoch of the training on
            the second split that follows.  # bool [epochs, n]

    Returns:
        From 0, never forgotten, to `epochs`, wrong from the first epoch on.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    correct = correctness(correct)
    return len(correct) - last_epoch(correct)  # SSFT is the epoch after the last correct one
