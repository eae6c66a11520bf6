"""Mask leakage: has the network learnt labels from the masks instead of the images?

With a mask of its own for every example, a network whose image signal is weak at first can recognise an example by its
mask. Its own sub-networks then fit while flipped ones stay at chance, and the score says nothing.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["none", "leakage", "not fitted"]


@dataclass(frozen=True)
class Leakage:
    """Accuracy of own and flipped sub-networks on the training examples, and what they say together."""

    own_accuracy: float
    flipped_accuracy: float
    chance: float  # accuracy of always guessing the most frequent label
    verdict: Verdict

    def message(self) -> str:
        """One sentence for a person."""
        numbers = f"own {self.own_accuracy:.3f}, flipped {self.flipped_accuracy:.3f}, chance {self.chance:.3f}"
        match self.verdict:
            case "none":
                return f"no sign of mask leakage ({numbers})"
            case "not fitted":
                return f"NOT FITTED ({numbers}): own accuracy is at chance; train longer before trusting any score"
            case "leakage":
                return (
                    f"MASK LEAKAGE ({numbers}): flipped sub-networks are at chance while own ones are above it. Unless "
                    "the labels are random, the network reads them from the masks and the scores rank nothing: mask "
                    "fewer layers or train longer"
                )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for tables and json."""
        return asdict(self) | {"message": self.message()}


def leakage(own_accuracy: float, flipped_accuracy: float, chance: float, examples: int) -> Leakage:
    """The verdict: `leakage` if flipped accuracy is not above chance while own accuracy is.

    Above chance means by more than three standard errors, 3 sqrt(c (1 - c) / examples), with c the share of the most
    frequent label. `none` is no proof: scores can rank nothing while flipped sub-networks are a little above chance.
    """
    bound = chance + 3 * math.sqrt(chance * (1 - chance) / examples)
    verdict: Verdict = "none"
    if own_accuracy <= bound:
        verdict = "not fitted"
    elif flipped_accuracy <= bound:
        verdict = "leakage"
    return Leakage(own_accuracy, flipped_accuracy, chance, verdict)
