"""What an estimator, and the choices of a training, need of losses and inputs, and refusals of those that lack it."""

from torch import Tensor

from turnover.config.estimators import (
    BLOCKS_OF_CLASSES,
    BlocksEstimator,
    ConfidentLearningEstimator,
    Estimator,
    OneRunEstimator,
    SecondSplitEstimator,
    SubsamplingEstimator,
    score_of,
)
from turnover.config.run import Training
from turnover.config.training_options import Adversarial, NoAugmentation
from turnover.core.evaluation import BATCH
from turnover.core.examples import Examples
from turnover.core.losses import CLASSES, TOKENS, Loss
from turnover.errors import RefusedInput

_RIGHT = "to know whether an example is right"
_SHARE = "to know whether an example is right, or which share of it"
_LOG_ODDS = "the probability of an example's label"
_NORMAL = "log odds of a label or losses of texts, which are about normal over networks"
_LOGITS = "class numbers and a logit of each class"
_NEEDS = {  # scores of one run, and of subsampling, that a loss alone does not give
    "forgetting": _RIGHT,
    "first_learning": _RIGHT,
    "aum": _LOG_ODDS,
    "confidence": _LOG_ODDS,
    "el2n": _LOG_ODDS,
    "vog": _LOGITS,
    "memorization": _SHARE,
    "inconsistency": _SHARE,
    "membership": _NORMAL,
}
_LOSS_ALONE = "estimator='turnover', 'blocks', 'cumulative_loss', 'final_loss' or 'grand', which need a loss alone"


def refuse_loss(estimator: Estimator, loss: Loss) -> None:
    """Refuse an estimator that has no meaning under such a loss.

    Raises:
        RefusedInput: says what it needs, and what does without.
    """
    name: str = estimator.name
    needs, instead = None, _LOSS_ALONE
    if isinstance(estimator, BlocksEstimator) and estimator.blocks < BLOCKS_OF_CLASSES and loss.of_classes:
        raise RefusedInput(
            f"blocks = {estimator.blocks}: at least {BLOCKS_OF_CLASSES} are needed, "
            "for mean and spread of log odds held out"
        )
    match estimator:
        case OneRunEstimator(scores=scores):
            suited = [score for score in scores if _has(loss, _NEEDS.get(score))]
            if missing := [score for score in scores if score not in suited]:
                name, needs = ", ".join(missing), _NEEDS[missing[0]]
                instead = f"estimator='one_run', options={{'scores': {suited}}}" if suited else _LOSS_ALONE
        case SubsamplingEstimator(score=score):
            needs, instead = _NEEDS.get(score), "estimator='subsampling', options={'score': 'memorization_loss'}"
        case SecondSplitEstimator():
            needs = _RIGHT
        case ConfidentLearningEstimator():
            needs = _LOG_ODDS
    if not _has(loss, needs):
        raise RefusedInput(
            f"estimator = {name!r} needs {needs}, which loss={loss.name!r} does not give: take {instead}"
        )


def refuse_training(config: Training, examples: Examples) -> None:
    """Refuse another objective than the loss unless labels are class numbers, and augmentation of what is no image.

    Raises:
        RefusedInput: says what to leave out.
    """
    if examples.loss is not CLASSES and not config.minimises_cross_entropy:
        raise RefusedInput(
            f"training: method and class_weights are of class numbers: leave them out of loss={examples.loss.name!r}"
        )
    inputs = examples.inputs
    if isinstance(config.method, Adversarial) and not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        raise RefusedInput(
            f"training: method={config.method.name!r} changes inputs by little: they must be one floating-point tensor "
            "in memory; leave it out"
        )
    images = isinstance(examples.inputs, Tensor) and examples.inputs.ndim == 4
    if not images and not isinstance(config.augmentation, NoAugmentation):
        raise RefusedInput("training: augmentation is of images [n, channels, height, width] in memory: leave it out")


def column_of(estimator: Estimator, loss: Loss) -> str:
    """Return the name of the estimate that is the score: of blocks the excess loss where there are no log odds."""
    if isinstance(estimator, BlocksEstimator) and not loss.of_classes:
        return "memorization_loss"
    return score_of(estimator)


def rows_at_once(config: Training, examples: Examples) -> int:
    """Return how many examples are evaluated at once: of token sequences, with many logits each, a training batch."""
    return min(BATCH, config.batch_size) if examples.loss is TOKENS else BATCH


def _has(loss: Loss, needs: str | None) -> bool:
    has = {
        None: True,
        _RIGHT: loss.tells_right,
        _SHARE: loss.tells_right or loss.tells_share,
        _LOG_ODDS: loss.of_classes,
        _NORMAL: loss.of_classes or loss is TOKENS,
        _LOGITS: loss is CLASSES,
    }
    return has[needs]
