"""Confident learning: labels that out-of-sample predictions contradict (Northcutt et al., 2021; cleanlab)."""

import numpy as np

from turnover.errors import RefusedInput

_ROUNDING = 1e-3  # how far a sum of probabilities in float32 or from a softmax in half precision may be from 1


def confident_learning(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1 - cleanlab's label quality: the normalised margin of probabilities adjusted for each class's confidence.

    Threshold t_k is the mean probability of class k among the examples labelled k. Adjusted probabilities are
    p_k - t_k + max t, over their sum a; the score is (1 - a(label) + max a(other class)) / 2.

    A class that no label names has no threshold; cleanlab takes 2, more than any probability. So that class is never
    the best other one if there is a third, and scores rank as they do among the other classes, but all are pressed
    towards 1/2: compare their ranks, not their values, with those of other labels.

    Args:
        probabilities: predicted for each example by a network that was not trained on it.  # float [n, classes]
        labels: class numbers.  # integers [n]

    Returns:
        Scores from 0 to 1; high: the label is likely wrong.  # float64 [n]

    Raises:
        RefusedInput: shapes differ, there are less than two classes, labels are no class numbers, or a row of
            probabilities does not sum to 1.
    """
    from cleanlab.rank import get_label_quality_scores  # takes more than a second, and few need it

    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check(probabilities, labels)
    quality: np.ndarray = get_label_quality_scores(
        labels.astype(np.int64), probabilities, method="normalized_margin", adjust_pred_probs=True
    )
    return 1 - quality


def _check(probabilities: np.ndarray, labels: np.ndarray) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or labels.shape != probabilities.shape[:1]:
        raise RefusedInput(
            "probabilities must be [n, classes] with two classes or more and labels [n]; "
            f"got {probabilities.shape} and {labels.shape}"
        )
    classes = probabilities.shape[1]
    if labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < classes)).all():
        raise RefusedInput(f"labels must be class numbers, integers from 0 to {classes - 1}")
    if not (probabilities >= 0).all() or not (abs(probabilities.sum(axis=1) - 1) <= _ROUNDING).all():  # nor NaN
        raise RefusedInput("probabilities of each example must be at least 0 and sum to 1")
