"""Config of one run, and the identity computed from its science."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from turnover.common.text import counted
from turnover.config.estimators import Estimator, NoEstimator, score_of
from turnover.config.options import (
    AccuracyTracking,
    AllLayersConfig,
    CorruptionConfig,
    DatasetConfig,
    ExampleTiedConfig,
    GradientTracking,
    Group,
    ModelConfig,
    NoLogger,
    Positive,
    Seed,
    TurnoverOff,
    WandbLogger,
)
from turnover.config.subset_options import LabelSubsets, NoSubsets, Size, TableSubsets
from turnover.config.text_options import PlantingConfig, TextConfig
from turnover.config.training_options import AugmentationConfig, MethodConfig, OptimizerConfig, Reweight, ScheduleConfig


class Training(Group):
    """Training and scoring options, independent of data and network."""

    seed: Seed  # of initial weights, order of examples and masks
    epochs: Positive  # passes over the examples
    batch_size: Positive  # examples of one step; the last of an epoch may be smaller
    # of training; auto: bfloat16 where the device has units for it, else float32; scores are always float32
    precision: Literal["auto", "float32", "bfloat16"]
    augmentation: AugmentationConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    method: MethodConfig
    # balanced: an example weighs less the more training examples share its label; the mean weight is 1
    class_weights: Literal["none", "balanced"]
    estimator: Estimator

    @property
    def settled(self) -> Literal["float32", "bfloat16"]:
        """Precision of a config whose `auto` is replaced by that of the device."""
        assert self.precision != "auto"
        return self.precision

    @property
    def minimises_cross_entropy(self) -> bool:
        """True if what is minimised is the mean cross-entropy of a batch, and nothing else."""
        return self.method.name == "plain" and self.class_weights == "none"

    @property
    def plain_epochs(self) -> int:
        """Epochs in which the full network trains, before turn-over dropout starts."""
        return 0


class ScoreSubsets(Group):
    name: Literal["scores"]  # easy: the lowest memorization scores; difficult: the highest; random: of the others
    size: Size  # of each subset: a count, or a fraction of the split
    balanced: bool  # equal counts of every class
    random_of: Literal["others", "all"]  # random: of the others, the same for all seeds; of all, by the run's seed
    train_on: Literal["all", "easy", "difficult", "random", "without_difficult", "without_random"]  # the examples
    runs: Annotated[list["RunConfig"], Field(min_length=1)]  # score runs, whose scores are averaged


class PrunedSubsets(Group):
    name: Literal["pruned"]  # by scores; the examples that are kept are trained on alone
    size: Size  # what is kept: a count, or a fraction of the split; as many of every class as these last
    # hardest: the highest memorization scores; easiest: the lowest; random: of all; right: random ones without a wrong
    # label
    keep: Literal["hardest", "easiest", "random", "right"]
    runs: Annotated[list["RunConfig"], Field(min_length=1)]  # score runs, whose scores are averaged

    @property
    def train_on(self) -> str:
        """Name of the subset that is trained on."""
        return self.keep


class RunConfig(Training):
    """Config of one run; `science()` is the part that decides its numbers."""

    dataset: Annotated[DatasetConfig | TextConfig, Field(discriminator="name")]
    planting: PlantingConfig
    corruption: CorruptionConfig
    model: ModelConfig
    turnover: Annotated[TurnoverOff | AllLayersConfig | ExampleTiedConfig, Field(discriminator="name")]
    subsets: Annotated[
        NoSubsets | LabelSubsets | ScoreSubsets | PrunedSubsets | TableSubsets, Field(discriminator="name")
    ]
    tracking: Annotated[AccuracyTracking | GradientTracking, Field(discriminator="name")]
    # not science
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:(0|[1-9][0-9]?))?)$")]  # auto: a GPU if there is one
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]
    experiment: str | None  # the name under which runs are grouped
    scale: Literal["smoke", "laptop", "paper"]  # seconds, minutes, or the paper's own size: chooses defaults

    @property
    def plain_epochs(self) -> int:
        """Epochs in which the full network trains, before turn-over dropout starts."""
        return self.turnover.plain_epochs

    @property
    def train_size(self) -> int:
        """Number of examples of the training split in this run."""
        return self.dataset.limit or self.dataset.info.train

    @property
    def test_size(self) -> int:
        """Number of examples of the test split in this run."""
        return self.dataset.test_limit or self.dataset.info.test

    @property
    def subset_size(self) -> int:
        """Number of examples of the easy, and of the difficult, subset of the training split; 0 if there are none."""
        return counted(self.subsets.size, self.train_size)

    @property
    def trained_size(self) -> int:
        """Number of examples that are trained on; for a subset from a table, that of all examples."""
        only, size = self.subsets.train_on, self.subset_size
        if only == "all" or not size:
            canaries = self.planting.canaries * len(self.planting.counts)
            return self.train_size + canaries + (self.test_size if self.dataset.include_test else 0)
        return self.train_size - size if only.startswith("without_") else size

    @property
    def parents(self) -> list["RunConfig"]:
        """Runs whose results this one needs."""
        return list(self.subsets.runs) if isinstance(self.subsets, ScoreSubsets | PrunedSubsets) else []

    def science(self) -> dict[str, Any]:
        """Return the fields that decide the numbers, as plain data; equal science means the same run."""
        values = {key: value for key, value in self.model_dump(mode="json").items() if key not in NOT_SCIENCE}
        if self.precision == "auto":  # it took the place of bfloat16 in conf/, and runs made before are still found
            values["precision"] = "bfloat16"
        for field, neutral in LATER.items():
            group, _, name = field.partition(".")
            if not name and values[group] == neutral:
                del values[group]
            elif name and group in values and values[group].get(name) == neutral:
                del values[group][name]
        if self.parents:
            values["subsets"]["runs"] = [identity(parent) for parent in self.parents]
        # by the content of a file, not by its path
        for group, file in (("subsets", self.subsets), ("corruption", self.corruption), ("method", self.method)):
            if isinstance(file, TableSubsets | CorruptionConfig | Reweight) and file.path:
                values[group]["path"] = hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
        return values


NOT_SCIENCE = ("device", "logger", "experiment", "scale")

# Options that were added when runs existed already. With these values they change nothing, so they are left out of the
# identity, and the runs that were made before them are still found.
LATER = {
    "augmentation": {"name": "none"},
    "method": {"name": "plain"},
    "planting": {"name": "none"},
    "class_weights": "none",
    "model.dropout": 0.0,
    "optimizer.decay": "all",
    "schedule.by": "epoch",
    "schedule.warmup": 0,
    "corruption.kind": "random",
    "corruption.path": None,
    "corruption.sizes": [],
    "turnover.dropout": 0.0,
    "estimator.targets": 0,
    "estimator.vog_of": "logit",
    "estimator.vog_epochs": "all",
    "subsets.random_of": "others",
    "logger.checkpoints": "reference",
    "tracking.keep": [],
    "tracking.steps": [],
}
STAGE_VERSION = 2  # raise by hand when the same science would give other numbers than before


def identity(config: RunConfig, stage: int | None = None) -> str:
    """Return ten hex digits that name the run: a hash of its science and of a stage version."""
    return hashed(config.science(), stage)


def hashed(science: dict[str, Any], stage: int | None = None) -> str:
    """Return ten hex digits: a hash of plain data and of a stage version, by default the code's."""
    text = json.dumps({"stage": stage or STAGE_VERSION, "science": science}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def title(config: RunConfig) -> str:
    """Return a readable title: experiment, data, network, estimator, wrong labels, seed, scale."""
    noise = f"{config.corruption.count} {config.corruption.what}" if config.corruption.count else None
    noise = f"labels of {Path(config.corruption.path).name}" if config.corruption.path else noise
    estimator = None if isinstance(config.estimator, NoEstimator) else score_of(config.estimator)
    words = (config.experiment, config.dataset.name, config.model.name, estimator, noise, f"seed {config.seed}")
    return ", ".join([*filter(None, words), config.scale])


def run_name(config: RunConfig, stage: int | None = None) -> str:
    """Return the name of a run and its folder: train or score, data, network and identity."""
    entry = "train" if isinstance(config.estimator, NoEstimator) else "score"
    return f"{entry}-{config.dataset.name}-{config.model.name}-{identity(config, stage)}"
