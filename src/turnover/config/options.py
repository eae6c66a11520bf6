"""Schemas of all config groups: unknown fields, wrong types and impossible values are refused.

The defaults live in `conf/`, never here: a run's config is complete, and so is the `config.yaml` stored with it.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from turnover.config.datasets import DATASETS, DatasetInfo

Count = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _there(path: str) -> str:
    if not Path(path).is_file() or Path(path).suffix not in (".parquet", ".csv"):
        raise ValueError("must be a parquet or csv file that is there")
    return path


TablePath = Annotated[str, AfterValidator(_there)]


class Group(BaseModel):
    """Base of every config group: unknown fields, wrong types and later changes are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DatasetConfig(Group):
    name: Literal["mnist", "fashion_mnist", "cifar10", "digits"]
    limit: Positive | None  # class-balanced subset of this many training examples; null: all
    test_limit: Positive | None  # the same for the test examples
    include_test: bool  # train on the test examples too, to score both splits on one scale; then nothing is tested
    normalization: Literal["standard", "unit"]  # mean 0 and variance 1 over the training set, or the range [0, 1]
    seed: Seed  # of the subset

    @property
    def info(self) -> DatasetInfo:
        """Names and sizes of the data set."""
        return DATASETS[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input: channels, height and width."""
        return self.info.shape

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.info.classes


class CorruptionConfig(Group):
    count: Count  # how many training labels are replaced
    seed: Seed  # of the choice; its own, so that runs of several seeds see the same labels
    # random: by a uniformly random class, which may be the true one; symmetric: by one of the other classes; pair: by
    # the next class, the last one by the first, which is class-dependent noise; file: by those of a file
    # copies: by one of the other classes, and the example is repeated in an epoch; canaries: the same with images of
    # noise; trigger: by the first class, with a bright square in the image. Labels stay with input_noise, which is
    # added to images, and with imbalance, where the classes of dataset.limit examples get rarer and rarer
    kind: Literal["random", "symmetric", "pair", "file", "copies", "canaries", "trigger", "input_noise", "imbalance"]
    path: str | None  # of labels, for kind = file: csv with columns id and label, or npy; others keep their label
    # of what is done, of one chosen example after another in turn: copies in an epoch, pixels along a trigger, standard
    # deviation of noise as a share of the brightest pixel; of imbalance one, the most frequent class over the rarest
    sizes: list[PositiveFloat]

    @field_validator("path")
    @classmethod
    def _there(cls, path: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("kind") == "file":
            if path is None or not Path(path).is_file() or Path(path).suffix not in (".csv", ".npy"):
                raise ValueError("must be a csv or npy file that is there")
        elif path is not None:
            raise ValueError("is for labels of a file: set corruption=file")
        return path

    @field_validator("sizes")
    @classmethod
    def _suits(cls, sizes: list[float], others: ValidationInfo) -> list[float]:
        kind = others.data.get("kind")
        sized = kind in ("copies", "canaries", "trigger", "input_noise", "imbalance")
        if sized != bool(sizes) or (kind == "imbalance" and len(sizes) > 1):
            raise ValueError("must be one for imbalance, some for copies, canaries, trigger and input_noise, else none")
        if kind in ("copies", "canaries", "trigger") and not all(size.is_integer() for size in sizes):
            raise ValueError("must be whole numbers")
        return sizes

    @property
    def what(self) -> str:
        """Name of the examples that it counts."""
        return {"input_noise": "noisy images", "canaries": "canaries"}.get(self.kind, "wrong labels")


class MLPConfig(Group):
    name: Literal["mlp"]
    hidden: Annotated[list[Positive], Field(min_length=1)]  # units of each hidden layer
    dropout: Share  # ordinary dropout after every hidden layer; 0: none


class VGG11Config(Group):
    name: Literal["vgg11"]
    width: Positive  # feature maps of the first convolution; the paper's network has 64
    bias: bool  # whether convolutions have biases
    dropout: Share  # ordinary dropout of what the linear layer reads; 0: none
    channels_last: bool  # memory layout; faster on CPUs and GPUs, equal up to rounding


class CvTConfig(Group):
    name: Literal["cvt"]
    dim: Positive  # channels of a token
    depth: Positive  # transformer blocks
    heads: Positive  # of the attention; must divide dim
    mlp_ratio: Positive  # hidden units of a block's MLP for each channel
    convolutions: Positive  # of the tokenizer, each followed by a max-pool that halves the image
    dropout: Share  # ordinary dropout of tokens, of hidden units and of what every block adds; 0: none
    channels_last: bool  # memory layout; faster on CPUs and GPUs, equal up to rounding

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} must divide dim = {self.dim}")
        return self


class ConvConfig(Group):
    name: Literal["conv"]
    width: Positive  # feature maps of the first of three convolutions; each has twice as many as the one before
    dropout: Share  # ordinary dropout of what the linear layer reads; 0: none
    channels_last: bool  # memory layout; faster on CPUs and GPUs, equal up to rounding


class GPTConfig(Group):
    name: Literal["gpt"]  # of text alone
    layers: Positive  # transformer blocks
    dim: Positive  # channels of a token
    heads: Positive  # of the attention; must divide dim
    mlp_ratio: Positive  # hidden units of a block's MLP for each channel

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} must divide dim = {self.dim}")
        return self


ModelConfig = Annotated[MLPConfig | VGG11Config | CvTConfig | ConvConfig | GPTConfig, Field(discriminator="name")]


class TurnoverOff(Group):
    name: Literal["off"]

    groups: ClassVar[None] = None
    layers: ClassVar[None] = None
    plain_epochs: ClassVar[int] = 0


def _resolved(share: float) -> float:
    if not 2**-16 <= share <= 1 - 2**-16:
        raise ValueError("must lie between 0 and 1, at least 2^-16 away from both")
    return share


ShareOfUnits = Annotated[float, Field(gt=0, lt=1), AfterValidator(_resolved)]


class TurnoverConfig(Group):
    groups: Positive | None  # examples share this many masks; null: a mask of its own for every example
    layers: list[str] | None  # names of modules whose activations are masked; null: every hidden activation
    plain_epochs: Count  # epochs in which the full network trains, before turn-over dropout starts
    # share of its own units that an example does not train in one step, drawn anew, as ordinary dropout does; 0: none
    dropout: Share


class AllLayersConfig(TurnoverConfig):
    name: Literal["all_layers"]
    p: ShareOfUnits  # share of the units that an example trains
    balance: Literal["bernoulli", "exact"]  # every unit by itself, or exactly a share p of a layer's units


class ExampleTiedConfig(TurnoverConfig):
    name: Literal["example_tied"]  # beside its own units an example trains shared ones (Maini et al., 2023)
    shared: ShareOfUnits  # share of the units that every example trains; flipped sub-networks are of these alone
    p: ShareOfUnits  # share of the other units that an example trains


class AccuracyTracking(Group):
    name: Literal["accuracy"]
    every: Positive  # evaluate after every k-th epoch, and always before the first and after the last
    examples: Positive | None  # at most this many training examples are evaluated, class-balanced; null: all
    fresh_masks: Positive  # masks of never-trained ids over which fresh-mask accuracy is averaged
    steps: list[Positive]  # evaluate after these steps too, counted over all epochs
    keep: list[Positive]  # weights after these epochs stay in the run's folder, for probes


class GradientTracking(Group):
    name: Literal["gradients"]  # as accuracy, and what the gradients of single examples have in common
    every: Positive  # epochs; the updates of every such epoch, of the first and of the last are watched
    examples: Positive | None  # at most this many training examples, class-balanced; null: all
    fresh_masks: Positive  # masks of never-trained ids over which fresh-mask accuracy is averaged
    steps: list[Positive]  # evaluate after these steps too, counted over all epochs
    keep: list[Positive]  # weights after these epochs stay in the run's folder, for probes
    backend: Literal["exact", "backpack"]  # formulas; or BackPACK, a slow reference (Dangel et al., 2020)
    layers: bool  # mean cosines for every parameter too


class NoLogger(Group):
    name: Literal["none"]


class WandbLogger(Group):
    name: Literal["wandb"]
    mode: Literal["offline", "online"]  # kept beside the run, to be synced later; or sent while it runs
    project: str  # of wandb
    entity: str | None  # user or team of wandb; null: your default
    checkpoints: Literal["reference", "upload"]  # path and checksum of a checkpoint; or the file itself
