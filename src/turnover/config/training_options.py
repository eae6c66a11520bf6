"""Schemas of how a network is trained: augmentation, optimizer, learning rate, and what a step minimises."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from turnover.common.text import suggestion
from turnover.config.options import Count, Group, Positive, PositiveFloat, Share


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


class PlainMethod(Group):
    name: Literal["plain"]  # the mean cross-entropy of a batch


class LabelSmoothing(Group):
    name: Literal["label_smoothing"]  # cross-entropy to targets that are not quite certain (Szegedy et al., 2016)
    smoothing: Annotated[float, Field(gt=0, lt=1)]  # share of a target that all classes have alike, its label too


MethodConfig = Annotated[PlainMethod | LabelSmoothing, Field(discriminator="name")]
