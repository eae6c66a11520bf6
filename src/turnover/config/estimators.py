"""Every option of the config group `estimator`: the ways to give every training example a score.

In every score table a high score means that the example is memorized, difficult or wrongly labelled.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from turnover.config.options import Count, Group, Positive


class Score(NamedTuple):
    """A score of one ordinary training run: an option of `estimator` and a column of score tables."""

    column: str  # what its column holds; high: memorized, difficult or wrongly labelled
    source: str | None = None


SCORES = {
    "forgetting": Score(
        "times it went from right to wrong between epochs; all epochs if never right", "Toneva et al., 2019"
    ),
    "first_learning": Score(
        "first epoch from which on it is always right; epochs + 1 if it never is", "Maini et al., 2022"
    ),
    "aum": Score("minus the mean over epochs of its logit less the largest other one", "Pleiss et al., 2020"),
    "cumulative_loss": Score("mean loss over epochs, in nats", "Ravikumar et al., 2025"),
    "final_loss": Score("loss after the last epoch, in nats"),
    "confidence": Score("one minus the probability of its label after the last epoch"),
    "el2n": Score("length of softmax(logits) - onehot(label) after an early epoch", "Paul et al., 2021"),
    "grand": Score("length of the gradient of its loss after an early epoch", "Paul et al., 2021"),
    "learning": Score("loss after an early epoch minus loss after the last one, in nats"),
    "vog": Score(
        "variance over epochs of the gradient at its pixels, standardised within its class", "Agarwal et al., 2022"
    ),
}

AT_MOMENTS = ("el2n", "grand", "learning")  # scores that may be measured after several epochs of one training

if TYPE_CHECKING:
    OneRunScore = str
else:
    OneRunScore = Literal[tuple(SCORES)]


class NoEstimator(Group):
    name: Literal["none"]


class TurnoverEstimator(Group):
    name: Literal["turnover"]
    epochs: list[Positive]  # score all examples after these epochs too; after the last one always
    targets: Count  # test examples, class-balanced, on which the influence of every training example is measured


def _moments(value: object) -> object:
    # one check for both, so that a wrong value is reported once
    epochs = value if isinstance(value, list) else [value]
    whole = all(isinstance(epoch, int) and not isinstance(epoch, bool) and epoch >= 1 for epoch in epochs)
    if not epochs or not whole or any(a >= b for a, b in pairwise(epochs)):
        raise ValueError("must be an epoch, at least 1, or a list of such epochs, each later than the one before it")
    return value


Moments = Annotated[Positive | list[Positive], BeforeValidator(_moments)]  # an epoch, or several in their order


class OneRunEstimator(Group):
    name: Literal["one_run"]  # from one ordinary training run, while it runs
    scores: Annotated[list[OneRunScore], Field(min_length=1)]  # a column each; the first one is the score
    early: Moments  # the epoch after which el2n, grand and learning are measured; of several, a column each: el2n/3
    vog_of: Literal["logit", "probability"]  # what of the label it is whose gradient varies
    vog_epochs: Literal["all", "early", "late"]  # over which it varies: all of them, the first third, or the last third

    @field_validator("scores")
    @classmethod
    def _once(cls, scores: list[OneRunScore]) -> list[OneRunScore]:
        if len(set(scores)) < len(scores):
            raise ValueError("each must be named at most once")
        return scores

    @property
    def moments(self) -> list[int]:
        """Epochs after which el2n, grand and learning are measured."""
        return self.early if isinstance(self.early, list) else [self.early]

    def columns(self, score: str) -> dict[str, int | None]:
        """Return the columns of a score, each with the epoch after which it is measured; None: after the last one."""
        if score not in AT_MOMENTS:
            return {score: None}
        if isinstance(self.early, list):
            return {f"{score}/{epoch}": epoch for epoch in self.early}
        return {score: self.early}


class ExtractionEstimator(Group):
    name: Literal["extraction"]  # of an ordinary training on text: what is known by heart, and exposure of canaries
    epochs: list[Positive]  # measure all texts after these epochs too; after the last one always


class SecondSplitEstimator(Group):
    name: Literal["second_split"]  # train on one half, then on the other: when are examples of the first forgotten?
    epochs: Positive  # of the second training


class SubsamplingEstimator(Group):
    name: Literal["subsampling"]  # many networks, each trained on a random share of the examples
    models: Positive  # for each of the fractions
    fractions: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]  # of examples trained on
    score: Literal["memorization", "memorization_loss", "inconsistency", "membership"]  # which one is the score


class LeaveOneOutEstimator(Group):
    name: Literal["leave_one_out"]  # networks trained on all examples but one
    examples: Annotated[int, Field(ge=2)]  # so many are left out, half of them with wrong labels as far as they last
    seeds: Positive  # networks for each example that is left out


class ConfidentLearningEstimator(Group):
    name: Literal["confident_learning"]  # by predictions for examples that were not trained on (cross-validation)
    folds: Annotated[int, Field(ge=2)]  # so many networks, each trained on all folds but one


BLOCKS_OF_CLASSES = 6  # at least: mean and spread of the log odds of a label need three that were held out


class BlocksEstimator(Group):
    name: Literal["blocks"]  # many narrow networks in pairs, each trained on a random half of the examples or the rest
    blocks: Annotated[int, Field(ge=2, multiple_of=2)]  # networks; of images six or more


EnsembleEstimator = SubsamplingEstimator | LeaveOneOutEstimator | ConfidentLearningEstimator | BlocksEstimator
Estimator = Annotated[
    NoEstimator | TurnoverEstimator | OneRunEstimator | ExtractionEstimator | SecondSplitEstimator | EnsembleEstimator,
    Field(discriminator="name"),
]


EXTRACTED = {
    "loss": "loss of the full network, in nats a token",
    "accuracy": "share of its tokens that are the most probable ones after those before them (exact memorization)",
    "prefix": "smallest number of its tokens after which greedy decoding gives all the others",
    "strength": "one minus the share of it that is needed as a prefix (extraction strength)",
    "exposure": "of a canary: log2(codes) - log2(rank of its code), in bits",
    "exposure_sampled": "the same by a skew-normal distribution of the losses of 500 random codes",
}

# What estimators besides turn-over dropout write; high: memorized, difficult or wrongly labelled
ESTIMATES = {
    "blocks": "minus the mean log odds of its label over their shrunken spread, by blocks not trained on it",
    "memorization": "share of networks right about it, trained on it minus not trained on it; mean over fractions; "
    "of blocks: in_probability - out_probability",
    "memorization_se": "standard error of memorization, by a jackknife over pairs of blocks; without log odds, of "
    "memorization_loss",
    "out_probability": "probability that a block not trained on it is right, if log odds are normal",
    "in_probability": "the same of a block trained on it",
    "memorization_loss": "mean loss of networks not trained on it minus that of others, in nats; mean over fractions",
    "out_accuracy": "share of the networks not trained on it that are right about it",
    "in_loss": "mean loss of networks trained on it, in nats",
    "out_loss": "mean loss of networks not trained on it, in nats",
    "membership": "mean log likelihood ratio of networks trained on it minus the others, in nats",
    "inconsistency": "one minus the C-score: share of networks not trained on it that are wrong",
    "confident_learning": "one minus the label quality of out-of-sample predictions, by cleanlab",
    "second_split": "epochs of the second training since it was forgotten for good; 0: it never was",
    **{name: score.column for name, score in SCORES.items()},
    **EXTRACTED,
}


def score_of(estimator: Estimator) -> str:
    """Return the name of the estimate in the column `score` of a run with this estimator."""
    match estimator:
        case SubsamplingEstimator():
            return estimator.score
        case OneRunEstimator():
            return next(iter(estimator.columns(estimator.scores[0])))
        case ExtractionEstimator():
            return "strength"
        case _:
            return estimator.name
