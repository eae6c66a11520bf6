"""What held-out predictions know: how often they are right, and how many labels they say are wrong."""

from dataclasses import dataclass

import numpy as np

from turnover.audit.wrong_share import WrongShare, wrong_share

_ERRORS = 3  # standard errors that are to lie between an accuracy and chance
_SKILL = 0.1  # share of the way from chance to 1, below which a ranking is worth nothing
_SURE = 0.6  # below which errors of the predictions cannot be told from wrong labels


@dataclass(frozen=True)
class Knowledge:
    """How often held-out predictions are the given labels, and how many of these are wrong by them."""

    accuracy: float
    chance: float  # share of the most frequent label, about which a constant is right
    examples: int
    wrong: WrongShare

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Knowledge":
        """Return that of predictions.  # float [n, classes], int64 [n]"""
        right = float((probabilities.argmax(1) == labels).mean())
        most = float(np.bincount(labels).max() / len(labels))
        return cls(right, most, len(labels), wrong_share(probabilities, labels))

    @property
    def any(self) -> bool:
        """False if the predictions are hardly better than a constant."""
        error = (self.chance * (1 - self.chance) / self.examples) ** 0.5
        above = self.accuracy - self.chance
        return above > max(_ERRORS * error, _SKILL * (1 - self.chance))

    def sentence(self) -> str:
        """Return it as text."""
        if self.accuracy - self.chance < _SURE * (1 - self.chance):
            wrong = "How many labels are wrong cannot be said from predictions that are so often wrong themselves."
        else:
            wrong = self.wrong.sentence(self.examples)
        return (
            f"Of examples that were not trained on, {100 * self.accuracy:.0f} % are predicted as they are labelled; "
            f"naming the most frequent class of all would be right of {100 * self.chance:.0f} %. {wrong}"
        )
