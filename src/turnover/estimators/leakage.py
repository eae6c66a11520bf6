"""Mask leakage: detection of networks that learn labels from the masks instead of the images.

With a mask of its own for every example, a network whose image signal is weak at first can recognise an example by its
mask. Its own sub-networks then fit while flipped ones stay near chance, and the score says nothing. The swap probe sees
it directly: it runs the image of one example through the own sub-network of another, of a different label, and compares
how often it predicts the label of the mask with how often that of a bystander, an example that took no part.
"""

import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from turnover.checks.verify import batch_statistics
from turnover.common.device import Precision
from turnover.core.evaluation import BATCH, evaluate, own_units
from turnover.core.examples import Examples
from turnover.core.inputs import take

log = logging.getLogger("turnover")

Verdict = Literal["none", "partial leakage", "leakage", "flipped at chance", "no difference", "not fitted"]

PROBED = 2000  # examples at most; a share of them has a standard error of about 0.01


@dataclass(frozen=True)
class Swap:
    """Predictions of own sub-networks for the image of another example, as shares of swaps between different labels."""

    mask_accuracy: float  # the label of the example whose mask it is
    image_accuracy: float  # the label of the image
    bystander_accuracy: float  # the label of a third example, drawn like the first: the baseline of uninformative masks
    swaps: int

    @property
    def mask_tells(self) -> bool:
        """True if the label of the mask is predicted more often than a bystander's, by more than three standard errors.

        The standard error of the difference of two shares a and b is at most √((a + b) / swaps).
        """
        both = self.mask_accuracy + self.bystander_accuracy
        return self.mask_accuracy - self.bystander_accuracy > 3 * math.sqrt(both / max(self.swaps, 1))


@dataclass(frozen=True)
class Leakage:
    """Accuracy of own and flipped sub-networks on the training examples, the swap probe, and the verdict on them."""

    own_accuracy: float
    flipped_accuracy: float
    chance: float  # accuracy of always guessing the most frequent label
    swap: Swap
    verdict: Verdict
    batch_statistics: tuple[str, ...] = ()  # modules that normalised by those of a batch in training, mixing examples

    @property
    def leak(self) -> float:
        """How much masks tell, to compare networks."""
        return self.swap.mask_accuracy - self.swap.image_accuracy

    def message(self) -> str:
        """Return the verdict as a sentence."""
        numbers = (
            f"own {self.own_accuracy:.3f}, flipped {self.flipped_accuracy:.3f}, chance {self.chance:.3f}; image of "
            f"another example: label of the mask {self.swap.mask_accuracy:.3f}, of the image "
            f"{self.swap.image_accuracy:.3f}, of a bystander {self.swap.bystander_accuracy:.3f}"
        )
        if self.batch_statistics:
            numbers += (
                f"; {len(self.batch_statistics)} layers normalise by the statistics of a batch, through which flipped "
                "units learn a little of every example"
            )
        match self.verdict:
            case "none":
                return f"no sign of mask leakage ({numbers})"
            case "not fitted":
                return (
                    f"NOT FITTED ({numbers}): own accuracy is at chance; train longer, or at another learning rate, "
                    "before trusting any score"
                )
            case "no difference":
                return (
                    f"NO DIFFERENCE ({numbers}): own sub-networks are not right more often than flipped ones, so the "
                    "scores are noise: train longer, every example inside turnover.own with its permanent id"
                )
            case "leakage":
                return (
                    f"MASK LEAKAGE ({numbers}): the network reads labels from the masks rather than from the images, "
                    "so the scores rank nothing: mask fewer layers"
                )
            case "partial leakage":
                return (
                    f"PARTIAL MASK LEAKAGE ({numbers}): the masks tell something of the labels, and scores measure it "
                    "along with memorization: mask fewer layers, or train on more examples"
                )
            case "flipped at chance":
                return (
                    f"FLIPPED AT CHANCE ({numbers}): unless the labels are random, flipped sub-networks do not work "
                    "and the scores rank nothing: mask fewer layers, share no masks or train longer"
                )

    def warn(self) -> None:
        """Log the verdict, as a warning if scores cannot be trusted."""
        log.log(logging.DEBUG if self.verdict == "none" else logging.WARNING, "%s", self.message())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for tables and json."""
        values = asdict(self)
        swap = values.pop("swap")
        return values | swap | {"message": self.message()}


def leakage(
    own_accuracy: float,
    flipped_accuracy: float,
    chance: float,
    examples: int,
    swap: Swap,
    *,
    flipped_alone: int = 0,
    batch_statistics: tuple[str, ...] = (),
) -> Leakage:
    """Return the verdict on accuracies and a swap probe.

    not fitted: own accuracy is not above chance by more than three standard errors, 3 √(c (1 - c) / examples), with c
    the share of the most frequent label. no difference: on some examples only the flipped sub-network is right, and on
    fewer than three standard errors more, √(all of these), only the own one. leakage: given the image of another
    example, own sub-networks predict the label of the mask more often than that of the image. flipped at chance:
    flipped accuracy is not above chance, in the same sense. partial leakage: they predict it more often than a
    bystander's (`Swap.mask_tells`). `none` is no proof: masks may leak less than the probe can detect.
    """
    bound = chance + 3 * math.sqrt(chance * (1 - chance) / examples)
    own_alone = round((own_accuracy - flipped_accuracy) * examples) + flipped_alone
    verdict: Verdict = "none"
    if own_accuracy <= bound:
        verdict = "not fitted"
    elif flipped_alone and own_alone - flipped_alone <= 3 * math.sqrt(own_alone + flipped_alone):
        verdict = "no difference"
    elif swap.mask_accuracy > swap.image_accuracy:
        verdict = "leakage"
    elif flipped_accuracy <= bound:
        verdict = "flipped at chance"
    elif swap.mask_tells:
        verdict = "partial leakage"
    return Leakage(own_accuracy, flipped_accuracy, chance, swap, verdict, batch_statistics)


def judge(
    model: nn.Module,
    examples: Examples,
    table: pd.DataFrame,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> Leakage:
    """Return the verdict on a network and the score table of the examples that it was trained on.

    Only for a loss that `predicts_classes`: what is compared are classes.
    """
    loss = examples.loss
    own_right, flipped_right = (
        loss.predicted(table[f"{kind}_{loss.word}"]) == table["label"] for kind in ("own", "flipped")
    )
    return leakage(
        own_accuracy=float(own_right.mean()),
        flipped_accuracy=float(flipped_right.mean()),
        chance=float(table["label"].value_counts(normalize=True).max()),
        examples=len(table),
        swap=swap_probe(model, examples, batch_size=batch_size, precision=precision),
        flipped_alone=int((flipped_right & ~own_right).sum()),
        batch_statistics=batch_statistics(model),
    )


def swap_probe(
    model: nn.Module, examples: Examples, *, batch_size: int = BATCH, precision: Precision = "float32"
) -> Swap:
    """Measure what own sub-networks predict for the images of other examples, over at most `PROBED` examples.

    Example i's own sub-network is given the image of example a(i), and e(i) stands by; a and e are two fixed random
    permutations. Counted are the i whose label and whose bystander's label both differ from that of the image. Masks
    without information on labels cannot distinguish i from e(i), so both labels are predicted equally often. (Of two
    classes the bystander's label is always that of the mask, and so partial leakage is not detected.)
    """
    some = examples.select(_spread(len(examples), PROBED, examples.device))
    # drawn on the CPU, so that every device swaps alike
    generator = torch.Generator().manual_seed(0)
    image, bystander = (torch.randperm(len(some), generator=generator).to(some.device) for _ in range(2))
    swapped = replace(some, inputs=take(some.inputs, image))
    [outcome] = evaluate(model, swapped, (own_units,), batch_size=batch_size, precision=precision)
    labels, predicted = some.loss.label(some.labels), some.loss.predicted(outcome.prediction)
    of_image, of_bystander = labels[image], labels[bystander]
    counted = (of_image != labels) & (of_image != of_bystander)
    if not counted.any():
        return Swap(0.0, 0.0, 0.0, 0)
    mask_accuracy, image_accuracy, bystander_accuracy = (
        float((predicted == label)[counted].double().mean()) for label in (labels, of_image, of_bystander)
    )
    return Swap(mask_accuracy, image_accuracy, bystander_accuracy, int(counted.sum()))


def _spread(n: int, most: int, device: torch.device) -> Tensor:
    """Return at most `most` positions, evenly spread."""
    return torch.arange(n, device=device)[:: -(-n // most)]
