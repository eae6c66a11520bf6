"""Training rules, one for each option of the config group `method`."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from turnover.common.seeding import stream
from turnover.config import training_options as options
from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS
from turnover.training.methods.adversarial import PGD, Trades, bounds
from turnover.training.methods.clipping import Clipping
from turnover.training.methods.elr import EarlyLearning
from turnover.training.methods.method import Method
from turnover.training.methods.reweight import Reweight, weights_by
from turnover.training.methods.robust import GeneralizedCrossEntropy, LabelSmoothing, RobustLogLoss
from turnover.training.methods.small_loss import CoTeaching, SmallLoss, masked_like
from turnover.training.methods.tokens import MeanOverTokens
from turnover.training.optim import build_optimizer


def build(
    config: Training,
    model: nn.Module,
    examples: Examples,
    make_model: Callable[[int], nn.Module] | None = None,
    seed: int | None = None,
) -> Method:
    """Return the training rule of a config for a network, and the examples that it is trained on.

    Args:
        make_model: seed -> another network, for rules that train two.
        seed: in place of that of the config, for one of several trainings of a run.

    Raises:
        RefusedInput: a file of scores does not suit the examples.
    """
    if examples.loss is TOKENS:
        return MeanOverTokens()
    method = _build(config, model, examples, make_model, config.seed if seed is None else seed)
    if config.class_weights == "balanced":
        method.weights = balanced_weights(examples.labels)
    return method


def _build(
    config: Training,
    model: nn.Module,
    examples: Examples,
    make_model: Callable[[int], nn.Module] | None,
    seed: int,
) -> Method:
    match config.method:
        case options.PlainMethod():
            return Method()
        case options.LabelSmoothing(smoothing=smoothing):
            return LabelSmoothing(smoothing)
        case options.GeneralizedCrossEntropy(q=q):
            return GeneralizedCrossEntropy(q)
        case options.RobustLogLoss(alpha=alpha):
            return RobustLogLoss(alpha)
        case options.EarlyLearning(strength=strength, momentum=momentum):
            return EarlyLearning(len(examples), strength, momentum)
        case options.CoTeaching(share=share, ramp=ramp):
            assert make_model is not None
            second = masked_like(make_model(stream(seed, "second")), model)
            return CoTeaching(share, ramp, second, build_optimizer(config.optimizer, second))
        case options.SmallLoss(share=share, ramp=ramp):
            return SmallLoss(share, ramp)
        case options.Reweight(path=path, strength=strength):
            return Reweight(weights_by(Path(path), examples, strength))
        case options.Clipping(norm=norm, noise=noise) | options.PrivateSGD(norm=norm, noise=noise):
            return Clipping(norm, noise)
        case options.Trades(radius=radius, size=size, steps=steps, beta=beta):
            return Trades(radius, size, steps, bounds(examples), beta)
        case options.PGD(radius=radius, size=size, steps=steps):
            return PGD(radius, size, steps, bounds(examples))


def balanced_weights(labels: Tensor) -> Tensor:
    """Return n / (classes n_c) of every class, with n_c of n examples and so many classes that occur.

    Their mean over the examples is 1. Whatever else is in its batch, an example has the same weight, unlike in
    PyTorch's weighted mean.  # int64 [n] -> float64 [classes]
    """
    counts = labels.bincount().double()
    return len(labels) / (counts.clamp(min=1) * (counts > 0).sum())
