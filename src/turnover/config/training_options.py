"""Schemas of how a network is trained: augmentation, optimizer, learning rate, and what a step minimises."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from turnover.common.text import suggestion
from turnover.config.options import Count, Group, Positive, PositiveFloat, Share, TablePath


class NoAugmentation(Group):
    name: Literal["none"]


class CropAugmentation(Group):
    name: Literal["crop"]  # every image of a batch is moved by up to `pad` pixels in both directions
    pad: Positive  # black pixels around an image, out of which a window of its size is cut at random
    flip: bool  # half of the images are mirrored left to right


def image_transform(name: object = None, **arguments: Any) -> Any:
    """Return the transform of torchvision.transforms.v2 of this name, made with these arguments.

    Raises:
        ValueError: there is none, or it has no such arguments.
    """
    from torchvision.transforms import v2  # imports PyTorch, for such runs alone

    kinds = {key: kind for key, kind in vars(v2).items() if isinstance(kind, type) and issubclass(kind, v2.Transform)}
    del kinds["Transform"]
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"{name!r} is no transform of torchvision.transforms.v2; {suggestion(str(name), [*kinds])}")
    try:
        return kinds[name](**arguments)
    except Exception as error:  # whatever a constructor does with arguments that it does not expect
        raise ValueError(f"{name}: {error}") from None


class TorchvisionAugmentation(Group):
    name: Literal["torchvision"]  # every image goes through transforms of torchvision.transforms.v2, one after another
    transforms: Annotated[list[dict[str, Any]], Field(min_length=1)]  # name and arguments of each

    @field_validator("transforms")
    @classmethod
    def _there(cls, transforms: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for fields in transforms:
            image_transform(**fields)
        return transforms


AugmentationConfig = Annotated[NoAugmentation | CropAugmentation | TorchvisionAugmentation, Field(discriminator="name")]


class Optimizer(Group):
    lr: PositiveFloat  # learning rate before any schedule
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # 0: none
    decay: Literal["all", "weights"]  # which parameters decay: all, or all but biases and others of one dimension


class SGDConfig(Optimizer):
    name: Literal["sgd"]
    momentum: Share  # PyTorch's, without dampening; 0: none


class AdamWConfig(Optimizer):
    name: Literal["adamw"]  # with weight decay apart from the gradient (Loshchilov and Hutter, 2019)
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]  # of the means of gradients and of their squares
    eps: PositiveFloat  # added to the root of the mean square


OptimizerConfig = Annotated[SGDConfig | AdamWConfig, Field(discriminator="name")]


class WarmedUp(Group):
    warmup: Count  # first steps, in which the rate rises linearly: in step s it is s / (warmup + 1) of what it would be


class ConstantSchedule(WarmedUp):
    name: Literal["constant"]


class MultistepSchedule(Group):
    name: Literal["multistep"]
    milestones: Annotated[list[Positive], Field(min_length=1)]  # the rate falls after this many whole epochs
    gamma: PositiveFloat  # the rate is multiplied by this at every milestone

    warmup: ClassVar[int] = 0

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: list[int]) -> list[int]:
        if any(a > b for a, b in pairwise(milestones)):
            raise ValueError("milestones must not fall, each at least as large as the one before it")
        return milestones


class FallingSchedule(WarmedUp):
    by: Literal["epoch", "step"]  # a new rate each epoch, or each step; by step it falls from the end of the warm-up on


class CosineSchedule(FallingSchedule):
    name: Literal["cosine"]


class LinearSchedule(FallingSchedule):
    name: Literal["linear"]


ScheduleConfig = Annotated[
    ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule, Field(discriminator="name")
]


class Rule(Group):
    networks: ClassVar[int] = 1  # that it trains


class PlainMethod(Rule):
    name: Literal["plain"]  # the mean cross-entropy of a batch


class LabelSmoothing(Rule):
    name: Literal["label_smoothing"]  # cross-entropy to targets that are not quite certain (Szegedy et al., 2016)
    smoothing: Annotated[float, Field(gt=0, lt=1)]  # share of a target that all classes have alike, its label too


class GeneralizedCrossEntropy(Rule):
    name: Literal["gce"]  # generalized cross-entropy, (1 - p^q) / q of a label's probability (Zhang and Sabuncu, 2018)
    q: Annotated[float, Field(gt=0, le=1)]  # 1: mean absolute error; towards 0: cross-entropy


class RobustLogLoss(Rule):
    name: Literal["rll"]  # robust log loss, whose sum over all labels is constant (Patel and Sastry, 2021)
    alpha: PositiveFloat  # added to every probability in a logarithm


class EarlyLearning(Rule):
    # early-learning regularisation: cross-entropy + strength log (1 - t · p), t the mean of past p (Liu et al., 2020)
    name: Literal["elr"]
    strength: PositiveFloat  # weight of the second term
    momentum: Share  # of the running mean t of an example's probabilities p


class Selection(Rule):
    share: Annotated[float, Field(gt=0, lt=1)]  # of a batch that is left out in the end; that of the wrong labels
    ramp: Positive  # epochs in which it grows to that, linearly


class SmallLoss(Selection):
    name: Literal["small_loss"]  # the examples of a batch with the smallest losses


class CoTeaching(Selection):
    name: Literal["co_teaching"]  # two networks, each on those with small losses in the other (Han et al., 2018)

    networks: ClassVar[int] = 2


class Reweight(Rule):
    name: Literal["reweight"]  # an example weighs 1 + strength (1 - 2 r), with r from 0 to 1 the rank of its score
    path: TablePath  # a parquet or csv file with columns id and score, as the scores.parquet of a run
    strength: Annotated[float, Field(ge=-1, le=1)]  # above 0: low scores weigh more; below 0: high ones


class Clipping(Rule):
    name: Literal["clipping"]  # the gradient of each example is cut to a length
    norm: PositiveFloat  # the length, at most

    noise: ClassVar[float] = 0.0


class PrivateSGD(Rule):
    # clipping and noise (Abadi et al., 2016), in shuffled batches: the epsilon of an accountant, which assumes batches
    # drawn by Poisson sampling, does not hold
    name: Literal["dp_sgd"]
    norm: PositiveFloat  # of the gradient of an example, at most
    noise: PositiveFloat  # standard deviation of what is added to the sum of a batch, in units of norm


class Adversarial(Rule):
    radius: PositiveFloat  # largest change of an input's values, as the network takes them
    size: PositiveFloat  # change in one step of the attack
    steps: Positive  # of the attack


class PGD(Adversarial):
    name: Literal["pgd"]  # inputs changed so that their loss is high (Madry et al., 2018)


class Trades(Adversarial):
    name: Literal["trades"]  # cross-entropy + beta times what changed inputs change of the output (Zhang et al., 2019)
    beta: PositiveFloat  # weight of the second term


MethodConfig = Annotated[
    PlainMethod
    | LabelSmoothing
    | GeneralizedCrossEntropy
    | RobustLogLoss
    | EarlyLearning
    | SmallLoss
    | CoTeaching
    | Reweight
    | Clipping
    | PrivateSGD
    | PGD
    | Trades,
    Field(discriminator="name"),
]
