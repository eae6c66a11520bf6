"""Checks that the options of one run agree, with one line for every contradiction."""

import math

from turnover.common.text import counted
from turnover.config.estimators import (
    BlocksEstimator,
    ConfidentLearningEstimator,
    EnsembleEstimator,
    ExtractionEstimator,
    LeaveOneOutEstimator,
    NoEstimator,
    OneRunEstimator,
    SecondSplitEstimator,
    SubsamplingEstimator,
    TurnoverEstimator,
    score_of,
)
from turnover.config.options import GradientTracking, TurnoverConfig
from turnover.config.run import PrunedSubsets, RunConfig, Training
from turnover.config.subset_options import LabelSubsets, NoSubsets, TableSubsets
from turnover.config.text_checks import disagreements_about_text
from turnover.config.text_options import TextConfig


def disagreements(config: RunConfig) -> list[str]:
    """Return lines that name the field, its value, what is allowed and what to do; none if the run can be made."""
    wrong = [*_too_large(config), *_contradictions(config), *disagreements_about_text(config)]
    wrong += [line for parent in config.parents for line in _unfit(parent, config)]
    known = {(run.train_size, run.dataset.include_test and run.test_size) for run in config.parents}
    if not wrong and len(known) > 1:
        wrong.append("subsets.runs: the score runs know different examples, so their scores cannot be averaged")
    given = ", ".join(sorted({score_of(run.estimator) for run in config.parents}))
    if not wrong and ", " in given:
        wrong.append(f"subsets.runs: the score runs give different scores, {given}; choose one of them")
    return list(dict.fromkeys(wrong))


def training_disagreements(config: Training, trained: int) -> list[str]:
    """Return such lines for what warm-up and estimator need of epochs and of the number of examples trained on."""
    estimator, wrong = config.estimator, list[str]()
    at_most: list[Bound] = []
    if warmup := config.schedule.warmup:
        epochs, size = _shortest(config, trained)
        steps = epochs * -(-size // config.batch_size)
        at_most.append(("schedule.warmup", warmup, steps - 1, f"one step less than the {steps} of a training"))
    if isinstance(estimator, OneRunEstimator):
        at_most.append(("estimator.early", max(estimator.moments), config.epochs, "the number of epochs"))
    if isinstance(estimator, LeaveOneOutEstimator):
        at_most.append(("estimator.examples", estimator.examples, trained, "the examples trained on"))
    if isinstance(estimator, ConfidentLearningEstimator):
        at_most.append(("estimator.folds", estimator.folds, trained, "the examples trained on"))
    if isinstance(estimator, SubsamplingEstimator):
        for fraction in estimator.fractions:
            if not 1 <= round(fraction * trained) < trained:
                wrong.append(f"estimator.fractions = {fraction}: none or all of {trained} examples; take another share")
        if estimator.models * len(estimator.fractions) < 2:
            wrong.append("estimator.models = 1: at least 2 networks are needed, one with and one without an example")
    if isinstance(estimator, SecondSplitEstimator) and trained < 2:
        wrong.append("estimator.name = 'second_split' trains on halves: at least 2 examples are needed, there is 1")
    if isinstance(estimator, SecondSplitEstimator) and config.method.networks > 1:
        wrong.append("estimator.name = 'second_split' goes on with one network: method = 'co_teaching' trains two")
    if isinstance(estimator, BlocksEstimator) and trained < 4:
        wrong.append(f"estimator.name = 'blocks' trains on halves: at least 4 examples are needed, not {trained}")
    return [*_above(at_most), *wrong]


def _shortest(config: Training, trained: int) -> tuple[int, int]:
    """Return epochs and examples of the shortest training of the estimator."""
    match config.estimator:
        case SecondSplitEstimator(epochs=epochs):
            return min(config.epochs, epochs), trained // 2
        case BlocksEstimator():
            return config.epochs, trained // 2
        case SubsamplingEstimator(fractions=fractions):
            return config.epochs, round(min(fractions) * trained)
        case ConfidentLearningEstimator(folds=folds):
            return config.epochs, trained + -trained // folds
        case LeaveOneOutEstimator():
            return config.epochs, trained - 1
    return config.epochs, trained


Bound = tuple[str, int | None, int, str]  # a field, its value, what it may be at most, and what that is


def _above(bounds: list[Bound]) -> list[str]:
    return [
        f"{field} = {value} is too large: at most {bound}, {meaning}"
        for field, value, bound, meaning in bounds
        if value is not None and value > bound
    ]


def _too_large(config: RunConfig) -> list[str]:
    name, info = config.dataset.name, config.dataset.info
    at_most: list[Bound] = [
        ("dataset.limit", config.dataset.limit, info.train, f"the {info.train} training examples of {name}"),
        ("dataset.test_limit", config.dataset.test_limit, info.test, f"the {info.test} test examples of {name}"),
        ("planting.until", config.planting.until, config.epochs, "the number of epochs"),
        ("corruption.count", config.corruption.count, config.train_size, "the training examples of this run"),
    ]
    if isinstance(config.estimator, TurnoverEstimator | ExtractionEstimator):
        last = max(config.estimator.epochs, default=0)
        at_most.append(("estimator.epochs", last, config.epochs, "the number of epochs"))
    if isinstance(config.estimator, TurnoverEstimator):
        at_most.append(("estimator.targets", config.estimator.targets, config.test_size, "the test examples"))
    if isinstance(config.turnover, TurnoverConfig):
        plain = config.turnover.plain_epochs
        at_most.append(("turnover.plain_epochs", plain, config.epochs - 1, "one epoch less than epochs"))
    at_most += [("subsets.size", *one) for one in _subset_sizes(config)]
    return _above(at_most)


def _subset_sizes(config: RunConfig) -> list[tuple[int, int, str]]:
    """Return for every bound: examples of one subset, how many there can be, and of what."""
    size, train = config.subset_size, config.train_size
    match config.subsets:
        case LabelSubsets():
            random = config.corruption.count or train  # none at all is reported elsewhere
            bounds = [(random, "the random labels"), (train - config.corruption.count, "the real labels")]
            return [(size, train // 2, "half of the training examples"), *((size, *bound) for bound in bounds)]
        case PrunedSubsets(keep="right"):
            return [(size, train - config.corruption.count, "the real labels")]
        case PrunedSubsets():
            return [(size, train, "the training examples")]
        case _ if config.parents:
            room = [(size, train // 3, "a third of the training examples")]
            if any(run.dataset.include_test for run in config.parents):
                of_test = counted(config.subsets.size, config.test_size)
                room.append((of_test, config.test_size // 3, "a third of the test examples"))
            return room
        case _:
            return []


def _contradictions(config: RunConfig) -> list[str]:
    wrong: list[str] = []
    estimator, masked = config.estimator, isinstance(config.turnover, TurnoverConfig)
    if isinstance(estimator, TurnoverEstimator) and not masked:
        wrong.append("estimator=turnover needs turn-over dropout: set turnover=all_layers")
    if isinstance(estimator, TurnoverEstimator) and estimator.targets and config.dataset.include_test:
        wrong.append("estimator.targets: no test example is left; set dataset.include_test=false")
    if not isinstance(estimator, NoEstimator | TurnoverEstimator) and masked:
        wrong.append(f"estimator.name = {estimator.name!r} scores ordinary networks: set turnover=off")
    several = isinstance(estimator, EnsembleEstimator | SecondSplitEstimator)
    if several and isinstance(config.tracking, GradientTracking):
        wrong.append(f"estimator.name = {estimator.name!r} trains several networks: set tracking=accuracy")
    if isinstance(config.tracking, GradientTracking) and not config.minimises_cross_entropy:
        wrong.append("tracking=gradients is of plain cross-entropy: set method=plain and class_weights=none")
    for option in ("keep", "steps"):
        if getattr(config.tracking, option) and several:
            wrong.append(
                f"tracking.{option}: estimator.name = {estimator.name!r} trains several networks: set it to []"
            )
    if late := [epoch for epoch in config.tracking.keep if epoch > config.epochs]:
        wrong.append(f"tracking.keep = {config.tracking.keep}: epoch {late[0]} is beyond epochs = {config.epochs}")
    # how long an epoch is does not follow from these; a run knows it
    unknown = (
        isinstance(config.dataset, TextConfig) or config.corruption.sizes or isinstance(config.subsets, TableSubsets)
    )
    last = config.epochs * -(-config.trained_size // config.batch_size)
    if not unknown and (late := [step for step in config.tracking.steps if step > last]):
        wrong.append(f"tracking.steps: {late} are beyond the last step, {last}: leave them out")
    wrong += training_disagreements(config, config.trained_size)
    if config.corruption.path and config.corruption.count:
        wrong.append(f"corruption.count = {config.corruption.count}: of a file as many as differ; set it to 0")
    if config.corruption.sizes and config.dataset.include_test:
        wrong.append(f"corruption.kind = {config.corruption.kind!r}: is of training examples; set include_test=false")
    if config.corruption.kind == "trigger":
        side = min(config.dataset.shape[1:], default=math.inf)  # of text, which has no sides, triggers are refused
        largest = max(config.corruption.sizes)
        if largest >= side:
            wrong.append(f"corruption.sizes: a square of {largest:g} pixels a side covers images of {side}; set fewer")
    if config.corruption.kind == "imbalance" and (config.corruption.count or config.dataset.limit is None):
        wrong.append("corruption.kind = 'imbalance': is of all of dataset.limit examples; set that, and count to 0")
    if isinstance(config.subsets, LabelSubsets) and not config.corruption.count:
        wrong.append("subsets=labels needs random labels: set corruption=labels")
    if (size := config.subsets.size) and not config.subset_size:
        wrong.append(f"subsets.size = {size}: none of {config.train_size} training examples; at least 1 is needed")
    if not isinstance(config.subsets, NoSubsets) and config.dataset.include_test:
        wrong.append("dataset.include_test = true is for score runs: set it to false, or subsets=none")
    return wrong


def _unfit(parent: RunConfig, child: RunConfig) -> list[str]:
    """Return why the scores of `parent` cannot choose among the examples of `child`, a line each."""
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
