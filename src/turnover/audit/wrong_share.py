"""How many labels are wrong, from held-out predictions: the errors that the predictions do not know of.

A prediction that is often wrong is unsure; a wrong label is one about which the predictions are sure, and that is not
theirs. So probabilities are first made as sure as the labels allow, p^a / sum p^a, and then a share of the labels is
taken to be another class, each as likely. Exponent and share are those of the largest likelihood; the interval is where
the likelihood is not much smaller, whatever the exponent (profile likelihood).
"""

from typing import NamedTuple

import numpy as np

_EXPONENTS = np.geomspace(0.05, 20, 81)
_SHARES = np.concatenate([[0.0], np.geomspace(0.001, 0.6, 160)])
# of the log likelihood at the ends of the interval: twice what a 95 % interval has if the predictions are as they are
# taken to be, which they are not quite; so, true shares were inside on MNIST and digits
_BELOW = 3.84
_LEAST = 1e-20  # probability; a network that is too sure gives far smaller ones than it should
_BLOCK = 2_000_000  # numbers that are computed at once


class WrongShare(NamedTuple):
    """Share of the labels that are wrong, with its interval."""

    share: float
    low: float
    high: float

    def sentence(self, examples: int) -> str:
        """Return it as text, for so many examples."""
        if self.low == 0:
            most = f"{100 * self.high:.1f} %"
            counts = f"{examples * self.share:,.0f} of {examples:,} (0 to {examples * self.high:,.0f})"
            return f"About {100 * self.share:.1f} % of the labels are wrong (0 to {most}): {counts}."
        share, low, high = (f"{100 * value:.1f}" for value in self)
        count, least, most = (f"{examples * value:,.0f}" for value in self)
        return (
            f"About {share} % of the labels are wrong ({low} to {high} %): {count} of {examples:,} ({least} to {most})."
        )


def wrong_share(probabilities: np.ndarray, labels: np.ndarray) -> WrongShare:
    """Estimate the share of wrong labels from probabilities of what was not trained on the examples.

    Wrong labels are taken to be any other class as often as any; those that people confuse are partly taken for errors
    of the predictions, so that the share is too low.

    Args:
        probabilities: float [n, classes]
        labels: int64 [n]
    """
    others = probabilities.shape[1] - 1
    total = np.zeros((len(_EXPONENTS), len(_SHARES)))
    rows = max(1, _BLOCK // max(probabilities.shape[1], len(_SHARES)))
    for start in range(0, len(labels), rows):
        block = np.log(np.clip(probabilities[start : start + rows].astype(np.float64), _LEAST, 1))
        given = labels[start : start + rows, None]
        for number, exponent in enumerate(_EXPONENTS):
            powers = exponent * (block - block.max(1, keepdims=True))
            of_label = np.take_along_axis(powers, given, 1)[:, 0] - np.log(np.exp(powers).sum(1))
            right = np.exp(of_label)[:, None]  # [n, 1]
            total[number] += np.log((1 - _SHARES) * right + _SHARES * (1 - right) / others + _LEAST).sum(0)
    profile = total.max(0)
    likely = _SHARES[profile >= profile.max() - _BELOW]
    return WrongShare(*map(float, (_SHARES[profile.argmax()], likely.min(), likely.max())))
