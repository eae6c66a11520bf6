"""Area under the margin: how far the label's logit stays above the others in training (Pleiss et al., 2020)."""

from torch import Tensor

from turnover.estimators.inputs import history, own_and_others


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit of the label minus the largest other logit; negative if the prediction is wrong.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Margins in logits.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    own, others = own_and_others(logits, labels)
    return own - others.amax(dim=1)


def negative_aum(margins: Tensor) -> Tensor:
    """Minus the mean margin over all epochs, -AUM.

    Args:
        margins: of each example in each epoch, as `margin` gives them.  # [epochs, n]

    Returns:
        -AUM in logits; high: the network would rather give another label.  # [n]

    Raises:
        RefusedInput: margins are not [epochs, n] with at least one epoch.
    """
    return -history("margins", margins).mean(dim=0)
