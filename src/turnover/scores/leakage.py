"""Mask leakage: has the network learnt labels from the masks instead of the images?

With a mask of its own for every example, a network whose image signal is weak at first can recognise an example by its
mask. Its own sub-networks then fit while flipped ones stay near chance, and the score says nothing. The swap probe sees
it directly: it runs the image of one example through the own sub-network of another, of a different label.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from turnover.device import Precision
from turnover.evaluation import BATCH, evaluate, own
from turnover.examples import Examples

Verdict = Literal["none", "leakage", "flipped at chance", "not fitted"]

PROBED = 2000  # examples at most; a share of them has a standard error of about 0.01


@dataclass(frozen=True)
class Leakage:
    """Accuracy of own and flipped sub-networks on the training examples, the swap probe, and what they say together."""

    own_accuracy: float
    flipped_accuracy: float
    chance: float  # accuracy of always guessing the most frequent label
    mask_accuracy: float  # swapped images: share predicted to have the label of the example whose mask it is
    image_accuracy: float  # swapped images: share predicted to have the label of the image
    verdict: Verdict

    def message(self) -> str:
        """One sentence for a person."""
        numbers = (
            f"own {self.own_accuracy:.3f}, flipped {self.flipped_accuracy:.3f}, chance {self.chance:.3f}; image of "
            f"another example: label of the mask {self.mask_accuracy:.3f}, of the image {self.image_accuracy:.3f}"
        )
        match self.verdict:
            case "none":
                return f"no sign of mask leakage ({numbers})"
            case "not fitted":
                return f"NOT FITTED ({numbers}): own accuracy is at chance; train longer before trusting any score"
            case "leakage":
                return (
                    f"MASK LEAKAGE ({numbers}): the network reads labels from the masks rather than from the images, "
                    "so the scores rank nothing: mask fewer layers"
                )
            case "flipped at chance":
                return (
                    f"FLIPPED AT CHANCE ({numbers}): unless the labels are random, flipped sub-networks do not work "
                    "and the scores rank nothing: mask fewer layers, share no masks or train longer"
                )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for tables and json."""
        return asdict(self) | {"message": self.message()}


def leakage(
    own_accuracy: float,
    flipped_accuracy: float,
    chance: float,
    examples: int,
    *,
    mask_accuracy: float,
    image_accuracy: float,
) -> Leakage:
    """The verdict.

    not fitted: own accuracy is not above chance by more than three standard errors, 3 √(c (1 - c) / examples), with c
    the share of the most frequent label. leakage: given the image of another example, own sub-networks predict the
    label of the mask more often than that of the image. flipped at chance: flipped accuracy is not above chance, in the
    same sense. `none` is no proof: masks may tell a little.
    """
    bound = chance + 3 * math.sqrt(chance * (1 - chance) / examples)
    verdict: Verdict = "none"
    if own_accuracy <= bound:
        verdict = "not fitted"
    elif mask_accuracy > image_accuracy:
        verdict = "leakage"
    elif flipped_accuracy <= bound:
        verdict = "flipped at chance"
    return Leakage(own_accuracy, flipped_accuracy, chance, mask_accuracy, image_accuracy, verdict)


def judge(
    model: nn.Module,
    examples: Examples,
    table: pd.DataFrame,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> Leakage:
    """The verdict on a network and the score table of the examples that it was trained on."""
    mask_accuracy, image_accuracy = swap_probe(model, examples, batch_size=batch_size, precision=precision)
    return leakage(
        own_accuracy=float((table["own_prediction"] == table["label"]).mean()),
        flipped_accuracy=float((table["flipped_prediction"] == table["label"]).mean()),
        chance=float(table["label"].value_counts(normalize=True).max()),
        examples=len(table),
        mask_accuracy=mask_accuracy,
        image_accuracy=image_accuracy,
    )


def swap_probe(
    model: nn.Module, examples: Examples, *, batch_size: int = BATCH, precision: Precision = "float32"
) -> tuple[float, float]:
    """How often own sub-networks, given the image of an example of another label, predict the mask's and the image's.

    If masks say nothing of labels, the first share is that of any wrong class; if they say all, it is own accuracy.
    Over at most `PROBED` examples. Both 0 if all labels are equal.
    """
    some = examples.select(_spread(len(examples), PROBED, examples.device))
    partner = _partners(some.labels)
    other = some.labels[partner]
    swapped = Examples(some.inputs[partner], some.labels, some.ids, some.prepare)
    [outcome] = evaluate(model, swapped, (own,), batch_size=batch_size, precision=precision)
    differ = other != some.labels
    if not differ.any():
        return 0.0, 0.0
    shares = [(outcome.prediction == label)[differ].double().mean() for label in (some.labels, other)]
    return float(shares[0]), float(shares[1])


def _spread(n: int, most: int, device: torch.device) -> Tensor:
    """At most so many positions, evenly spread."""
    return torch.arange(n, device=device)[:: -(-n // most)]


def _partners(labels: Tensor) -> Tensor:
    """For every example another one, each once; of another label unless more than half of all labels are equal."""
    order = labels.argsort(stable=True)
    shift = int(labels.bincount().max())
    partner = torch.empty_like(order)
    partner[order] = order.roll(shift)
    return partner
