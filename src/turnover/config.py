"""Typed schema of a run. Every bad value is refused here, before any work, naming the field and what is allowed.

The defaults live in `conf/`, never here: a run's config is complete, and so is the `config.yaml` stored with it.
"""

import difflib
import hashlib
import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from turnover.errors import RefusedInput
from turnover.facts import FACTS

Schema = TypeVar("Schema", bound=BaseModel)
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Group(BaseModel):
    """Base of every config group: unknown fields, wrong types and later changes are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DatasetConfig(Group):
    name: Literal["mnist", "fashion_mnist", "cifar10", "digits"]
    limit: Positive | None  # class-balanced subset of this many training examples; null: all
    normalization: Literal["standard", "unit"]  # mean 0 and variance 1 over the training set, or the range [0, 1]
    seed: Seed  # of the subset


class CorruptionConfig(Group):
    count: Count  # how many training labels are replaced by a uniformly random class
    seed: Seed  # of the choice; its own, so that runs of several seeds see the same labels


class MLPConfig(Group):
    name: Literal["mlp"]
    hidden: Annotated[list[Positive], Field(min_length=1)]  # units of each hidden layer


ModelConfig = MLPConfig


class OptimizerConfig(Group):
    name: Literal["sgd"]
    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ConstantSchedule(Group):
    name: Literal["constant"]


class MultistepSchedule(Group):
    name: Literal["multistep"]
    milestones: Annotated[list[Positive], Field(min_length=1)]  # the rate falls after this many whole epochs
    gamma: PositiveFloat

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: list[int]) -> list[int]:
        if any(a >= b for a, b in pairwise(milestones)):
            raise ValueError("milestones must rise, each larger than the one before it")
        return milestones


class CosineSchedule(Group):
    name: Literal["cosine"]


ScheduleConfig = Annotated[ConstantSchedule | MultistepSchedule | CosineSchedule, Field(discriminator="name")]


class TurnoverOff(Group):
    name: Literal["off"]


class TurnoverConfig(Group):
    name: Literal["all_layers"]
    p: Annotated[float, Field(gt=0, lt=1)]  # share of the units that an example trains
    groups: Positive | None  # examples share this many masks; null: a mask of its own for every example
    balance: Literal["bernoulli", "exact"]
    layers: list[str] | None  # names of modules whose activations are masked; null: every hidden activation

    @field_validator("p")
    @classmethod
    def _resolved(cls, p: float) -> float:
        if not 2**-16 <= p <= 1 - 2**-16:
            raise ValueError("must lie between 0 and 1, at least 2^-16 away from both")
        return p


class NoEstimator(Group):
    name: Literal["none"]


class TurnoverEstimator(Group):
    name: Literal["turnover"]
    epochs: list[Positive]  # score all examples after these epochs too; after the last one always


class TrackingConfig(Group):
    name: Literal["accuracy"]
    every: Positive  # evaluate after every k-th epoch, and always before the first and after the last
    examples: Positive | None  # at most this many training examples are evaluated, class-balanced; null: all
    fresh_masks: Positive  # masks of never-trained ids over which fresh-mask accuracy is averaged


class NoLogger(Group):
    name: Literal["none"]


class WandbLogger(Group):
    name: Literal["wandb"]
    mode: Literal["offline", "online"]
    project: str
    entity: str | None


class RunConfig(Group):
    """Everything that decides one run. `science()` is the part that decides its numbers."""

    seed: Seed  # of initial weights, order of examples and masks
    epochs: Positive
    batch_size: Positive
    precision: Literal["float32", "bfloat16"]
    dataset: DatasetConfig
    corruption: CorruptionConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    turnover: Annotated[TurnoverOff | TurnoverConfig, Field(discriminator="name")]
    estimator: Annotated[NoEstimator | TurnoverEstimator, Field(discriminator="name")]
    tracking: TrackingConfig
    # not science
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]
    experiment: str | None  # the name under which runs are grouped
    scale: Literal["smoke", "laptop", "paper"]

    @property
    def train_size(self) -> int:
        """Number of training examples of this run."""
        return self.dataset.limit or FACTS[self.dataset.name].train

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        name, full = self.dataset.name, FACTS[self.dataset.name].train
        at_most = [
            ("dataset.limit", self.dataset.limit, full, f"the {full} training examples of {name}"),
            ("corruption.count", self.corruption.count, self.train_size, "the training examples of this run"),
        ]
        wrong = []
        if isinstance(self.estimator, TurnoverEstimator):
            last = max(self.estimator.epochs, default=0)
            at_most.append(("estimator.epochs", last, self.epochs, "the number of epochs"))
            if isinstance(self.turnover, TurnoverOff):
                wrong.append("estimator=turnover needs turn-over dropout: set turnover=all_layers")
        for field, value, bound, meaning in at_most:
            if value is not None and value > bound:
                wrong.append(f"{field} = {value} is too large: at most {bound}, {meaning}")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    def science(self) -> dict[str, Any]:
        """The fields that decide the numbers, as plain data; equal science means the same run."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in NOT_SCIENCE}


NOT_SCIENCE = ("device", "logger", "experiment", "scale")

STAGE_VERSION = 1  # raise by hand when the same science would give other numbers than before


def identity(config: RunConfig) -> str:
    """Ten hexadecimal digits that name the run: a hash of its science and of the code's stage version."""
    text = json.dumps({"stage": STAGE_VERSION, "science": config.science()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def parse(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """`values` as a `schema`, or RefusedInput that lists every wrong field, its value and what is allowed."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = [_explain(schema, item) for item in error.errors(include_url=False)]
        raise RefusedInput("\n".join(lines)) from None


def _explain(schema: type[BaseModel], item: Any) -> str:
    # The discriminator's value stands in the location of a union's member; a reader does not know it as a field.
    tags = {"constant", "multistep", "cosine", "off", "all_layers", "none", "turnover", "wandb"}
    path = [str(part) for depth, part in enumerate(item["loc"]) if not (depth == 1 and part in tags)]
    field, value = ".".join(path), item["input"]
    match item["type"]:
        case "extra_forbidden":
            return f"{field} = {value!r}: there is no such field; {_nearest(schema, field)}"
        case "missing":
            return f"{field}: a value is required"
        case "string_pattern_mismatch" if field == "device":
            return f"device = {value!r}: allowed: auto, cpu, cuda, cuda:N"
        case "union_tag_invalid":
            return f"{field}.name = {item['ctx']['tag']!r}: allowed: {item['ctx']['expected_tags']}"
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{field} = {value!r}: {message}" if field else message
        case _:
            message = item["msg"].removeprefix("Input ").replace("Input should", "should")
            return f"{field} = {value!r}: {message}"


def fields(schema: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Every dotted field name of a schema, unions included."""
    names: list[str] = []
    for name, info in schema.model_fields.items():
        members = [m for m in _models(info.annotation) if issubclass(m, Group)]
        names += [prefix + name] if not members else []
        for member in members:
            names += fields(member, f"{prefix}{name}.")
    return sorted(set(names))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def _nearest(schema: type[BaseModel], field: str) -> str:
    if field in fields(schema):
        return f"it belongs to another option of {field.split('.')[0]!r}"
    return suggestion(field, fields(schema))


def suggestion(word: str, allowed: list[str]) -> str:
    """What the writer of `word` may have meant, else all that is allowed."""
    close = difflib.get_close_matches(word, allowed, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(allowed)}"
