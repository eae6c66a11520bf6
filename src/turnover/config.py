"""One run, typed: what its options must agree on, and the identity that its science gives it."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from turnover.estimators import (
    ConfidentLearningEstimator,
    EnsembleEstimator,
    Estimator,
    LeaveOneOutEstimator,
    NoEstimator,
    OneRunEstimator,
    SecondSplitEstimator,
    SubsamplingEstimator,
    TurnoverEstimator,
    score_of,
)
from turnover.facts import FACTS
from turnover.options import (
    AccuracyTracking,
    CorruptionConfig,
    CropAugmentation,
    DatasetConfig,
    GradientTracking,
    Group,
    LabelSubsets,
    ModelConfig,
    NoAugmentation,
    NoLogger,
    NoSubsets,
    OptimizerConfig,
    Positive,
    ScheduleConfig,
    Seed,
    Size,
    TableSubsets,
    TurnoverConfig,
    TurnoverOff,
    WandbLogger,
)


class ScoreSubsets(Group):
    name: Literal["scores"]  # easy: the lowest memorization scores; difficult: the highest; random: of the others
    size: Size  # of each subset
    balanced: bool  # equal counts of every class
    train_on: Literal["all", "easy", "difficult", "random", "without_difficult", "without_random"]
    runs: Annotated[list["RunConfig"], Field(min_length=1)]  # score runs, whose scores are averaged


class RunConfig(Group):
    """Everything that decides one run. `science()` is the part that decides its numbers."""

    seed: Seed  # of initial weights, order of examples and masks
    epochs: Positive
    batch_size: Positive
    precision: Literal["float32", "bfloat16"]
    dataset: DatasetConfig
    corruption: CorruptionConfig
    augmentation: Annotated[NoAugmentation | CropAugmentation, Field(discriminator="name")]
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    turnover: Annotated[TurnoverOff | TurnoverConfig, Field(discriminator="name")]
    estimator: Estimator
    subsets: Annotated[NoSubsets | LabelSubsets | ScoreSubsets | TableSubsets, Field(discriminator="name")]
    tracking: Annotated[AccuracyTracking | GradientTracking, Field(discriminator="name")]
    # not science
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]
    experiment: str | None  # the name under which runs are grouped
    scale: Literal["smoke", "laptop", "paper"]

    @property
    def train_size(self) -> int:
        """Number of examples of the training split in this run."""
        return self.dataset.limit or FACTS[self.dataset.name].train

    @property
    def test_size(self) -> int:
        """Number of examples of the test split in this run."""
        return self.dataset.test_limit or FACTS[self.dataset.name].test

    @property
    def subset_size(self) -> int:
        """Number of examples of the easy, and of the difficult, subset of the training split; 0 if there are none."""
        return _share(getattr(self.subsets, "size", 0), self.train_size)

    @property
    def trained_size(self) -> int:
        """Number of examples that are trained on; of a subset that a table names, all that there are."""
        only, size = getattr(self.subsets, "train_on", "all"), self.subset_size
        if only == "all" or not size:
            return self.train_size + (self.test_size if self.dataset.include_test else 0)
        return self.train_size - size if only.startswith("without_") else size

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        wrong = [*_too_large(self), *_contradictions(self)]
        if isinstance(self.subsets, ScoreSubsets):
            wrong += [line for parent in self.subsets.runs for line in _unfit(parent, self)]
            known = {(run.train_size, run.dataset.include_test and run.test_size) for run in self.subsets.runs}
            if not wrong and len(known) > 1:
                wrong.append("subsets.runs: the score runs know different examples, so their scores cannot be averaged")
            given = ", ".join(sorted({score_of(run.estimator) for run in self.subsets.runs}))
            if not wrong and ", " in given:
                wrong.append(f"subsets.runs: the score runs give different scores, {given}; choose one of them")
        if wrong:
            raise ValueError("\n".join(dict.fromkeys(wrong)))
        return self

    @property
    def parents(self) -> list["RunConfig"]:
        """The runs whose results this one needs."""
        return list(self.subsets.runs) if isinstance(self.subsets, ScoreSubsets) else []

    def science(self) -> dict[str, Any]:
        """The fields that decide the numbers, as plain data; equal science means the same run."""
        values = {key: value for key, value in self.model_dump(mode="json").items() if key not in NOT_SCIENCE}
        for field, neutral in LATER.items():
            group, _, name = field.partition(".")
            if not name and values[group] == neutral:
                del values[group]
            elif name and values[group].get(name) == neutral:
                del values[group][name]
        if self.parents:
            values["subsets"]["runs"] = [identity(parent) for parent in self.parents]
        if isinstance(self.subsets, TableSubsets):  # what the file says, wherever it lies
            values["subsets"]["path"] = hashlib.sha256(Path(self.subsets.path).read_bytes()).hexdigest()
        return values


def _share(size: float, examples: int) -> int:
    return size if isinstance(size, int) else round(size * examples)


def _too_large(config: RunConfig) -> list[str]:
    name, facts, trained = config.dataset.name, FACTS[config.dataset.name], config.trained_size
    at_most = [
        ("dataset.limit", config.dataset.limit, facts.train, f"the {facts.train} training examples of {name}"),
        ("dataset.test_limit", config.dataset.test_limit, facts.test, f"the {facts.test} test examples of {name}"),
        ("corruption.count", config.corruption.count, config.train_size, "the training examples of this run"),
    ]
    if isinstance(config.estimator, TurnoverEstimator):
        last = max(config.estimator.epochs, default=0)
        at_most.append(("estimator.epochs", last, config.epochs, "the number of epochs"))
        at_most.append(("estimator.targets", config.estimator.targets, config.test_size, "the test examples"))
    if isinstance(config.estimator, OneRunEstimator):
        at_most.append(("estimator.early", config.estimator.early, config.epochs, "the number of epochs"))
    if isinstance(config.estimator, LeaveOneOutEstimator):
        at_most.append(("estimator.examples", config.estimator.examples, trained, "the examples trained on"))
    if isinstance(config.estimator, ConfidentLearningEstimator):
        at_most.append(("estimator.folds", config.estimator.folds, trained, "the examples trained on"))
    if isinstance(config.turnover, TurnoverConfig):
        plain = config.turnover.plain_epochs
        at_most.append(("turnover.plain_epochs", plain, config.epochs - 1, "one epoch less than epochs"))
    at_most += [("subsets.size", *one) for one in _subset_sizes(config)]
    return [
        f"{field} = {value} is too large: at most {bound}, {meaning}"
        for field, value, bound, meaning in at_most
        if value is not None and value > bound
    ]


def _subset_sizes(config: RunConfig) -> list[tuple[int, int, str]]:
    """Examples of one subset, how many there can be, and of what."""
    size, train = config.subset_size, config.train_size
    match config.subsets:
        case LabelSubsets():
            random = config.corruption.count or train  # none at all is told elsewhere
            bounds = [(random, "the random labels"), (train - config.corruption.count, "the real labels")]
            return [(size, train // 2, "half of the training examples"), *((size, *bound) for bound in bounds)]
        case ScoreSubsets():
            room = [(size, train // 3, "a third of the training examples")]
            if any(run.dataset.include_test for run in config.parents):
                of_test = _share(config.subsets.size, config.test_size)
                room.append((of_test, config.test_size // 3, "a third of the test examples"))
            return room
        case _:
            return []


def _contradictions(config: RunConfig) -> list[str]:
    wrong, trained = [], config.trained_size
    estimator, masked = config.estimator, isinstance(config.turnover, TurnoverConfig)
    if isinstance(estimator, TurnoverEstimator) and not masked:
        wrong.append("estimator=turnover needs turn-over dropout: set turnover=all_layers")
    if getattr(estimator, "targets", 0) and config.dataset.include_test:
        wrong.append("estimator.targets: no test example is left; set dataset.include_test=false")
    if not isinstance(estimator, NoEstimator | TurnoverEstimator) and masked:
        wrong.append(f"estimator.name = {estimator.name!r} scores ordinary networks: set turnover=off")
    several = isinstance(estimator, EnsembleEstimator | SecondSplitEstimator)
    if several and isinstance(config.tracking, GradientTracking):
        wrong.append(f"estimator.name = {estimator.name!r} trains several networks: set tracking=accuracy")
    if isinstance(estimator, SubsamplingEstimator):
        for fraction in estimator.fractions:
            if not 1 <= round(fraction * trained) < trained:
                wrong.append(f"estimator.fractions = {fraction}: none or all of {trained} examples; take another share")
        if estimator.models * len(estimator.fractions) < 2:
            wrong.append("estimator.models = 1: at least 2 networks are needed, one with and one without an example")
    if isinstance(estimator, SecondSplitEstimator) and trained < 2:
        wrong.append("estimator.name = 'second_split' trains on halves: at least 2 examples are needed, there is 1")
    if isinstance(config.subsets, LabelSubsets) and not config.corruption.count:
        wrong.append("subsets=labels needs random labels: set corruption=labels")
    size = getattr(config.subsets, "size", None)
    if size is not None and not config.subset_size:
        wrong.append(f"subsets.size = {size}: none of {config.train_size} training examples; at least 1 is needed")
    if not isinstance(config.subsets, NoSubsets) and config.dataset.include_test:
        wrong.append("dataset.include_test = true is for score runs: set it to false, or subsets=none")
    return wrong


def _unfit(parent: RunConfig, child: RunConfig) -> list[str]:
    """Why the scores of `parent` cannot choose among the examples of `child`."""
    wrong, ours, theirs = [], child.dataset, parent.dataset
    if isinstance(parent.estimator, NoEstimator):
        wrong.append("subsets.runs: a run without an estimator gives no scores; add estimator=turnover")
    for field, here, there in (
        ("dataset.name", ours.name, theirs.name),
        ("dataset.seed", ours.seed, theirs.seed),
        ("corruption", child.corruption.model_dump(), parent.corruption.model_dump()),
    ):
        if here != there:
            wrong.append(f"subsets.runs: {field} is {there} in the score run and {here} here; they must agree")
    if child.corruption.count and child.train_size < parent.train_size:  # the random labels are chosen after the limit
        wrong.append(
            f"subsets.runs: the score run has {parent.train_size} training examples and this run {child.train_size}, "
            "so other random labels; dataset.limit must agree"
        )
    if child.train_size > parent.train_size:
        wrong.append(
            f"subsets.runs: the score run knows {parent.train_size} training examples and this run has "
            f"{child.train_size}; dataset.limit here must be at most that"
        )
    if theirs.include_test and child.test_size > parent.test_size:
        wrong.append(
            f"subsets.runs: the score run knows {parent.test_size} test examples and this run has "
            f"{child.test_size}; dataset.test_limit here must be at most that"
        )
    return wrong


NOT_SCIENCE = ("device", "logger", "experiment", "scale")

# Options that were added when runs existed already. With these values they change nothing, so they are left out of the
# identity, and the runs that were made before them are still found.
LATER = {"augmentation": {"name": "none"}, "corruption.kind": "random", "estimator.targets": 0}

STAGE_VERSION = 2  # raise by hand when the same science would give other numbers than before


def identity(config: RunConfig) -> str:
    """Ten hexadecimal digits that name the run: a hash of its science and of the code's stage version."""
    text = json.dumps({"stage": STAGE_VERSION, "science": config.science()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
