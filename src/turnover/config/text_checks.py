"""Checks that the options of one run suit its data: sequences of tokens, or images with a class each."""

from turnover.config.estimators import (
    BLOCKS_OF_CLASSES,
    BlocksEstimator,
    ExtractionEstimator,
    NoEstimator,
    OneRunEstimator,
    SubsamplingEstimator,
    TurnoverEstimator,
)
from turnover.config.options import DatasetConfig, GradientTracking
from turnover.config.run import RunConfig
from turnover.config.subset_options import NoSubsets
from turnover.config.text_options import NoPlanting
from turnover.config.training_options import ConstantSchedule, NoAugmentation, SGDConfig

_OF_LOSSES = ("cumulative_loss", "final_loss", "learning")  # scores of one run that need losses alone
_ESTIMATORS = f"turnover, extraction, blocks, subsampling, membership, {', '.join(_OF_LOSSES)}"


def disagreements_about_text(config: RunConfig) -> list[str]:
    """Return lines that name the field, its value, what is allowed and what to do; none if data and options agree."""
    dataset, model = config.dataset.name, config.model.name
    if isinstance(config.dataset, DatasetConfig):
        wrong = ["model.name = 'gpt': reads text; set dataset=sotu, or another model"] if model == "gpt" else []
        if isinstance(config.estimator, ExtractionEstimator):
            wrong.append(
                f"estimator.name = 'extraction': is of texts, and {dataset} has images; set dataset=sotu model=gpt"
            )
        if isinstance(config.estimator, BlocksEstimator) and config.estimator.blocks < BLOCKS_OF_CLASSES:
            least = f"at least {BLOCKS_OF_CLASSES} are needed, for a mean and a spread of log odds"
            wrong.append(f"estimator.blocks = {config.estimator.blocks}: {least}")
        if not isinstance(config.planting, NoPlanting):
            wrong.append(f"planting: is of texts, and {dataset} has images; set planting=none")
        return wrong
    wrong = [] if model == "gpt" else [f"model.name = {model!r}: takes images, and {dataset} is text; set model=gpt"]
    if model == "gpt" and isinstance(config.optimizer, SGDConfig):
        wrong.append("optimizer.name = 'sgd': hardly trains a language model; set optimizer=adamw_gpt")
    for field, of_classes, none in (
        ("corruption", config.corruption.count or config.corruption.path, "none"),
        ("augmentation", not isinstance(config.augmentation, NoAugmentation), "none"),
        ("subsets", not isinstance(config.subsets, NoSubsets), "none"),
        ("method", config.method.name != "plain", "plain"),
        ("class_weights", config.class_weights != "none", "none"),
        ("tracking", isinstance(config.tracking, GradientTracking), "accuracy"),
    ):
        if of_classes:
            wrong.append(f"{field}: is of images with a class each, and {dataset} is text; set {field}={none}")
    return wrong + _until(config) + _estimator(config)


def _until(config: RunConfig) -> list[str]:
    wrong, until = [], config.planting.until
    if until is not None and not isinstance(config.estimator, ExtractionEstimator | NoEstimator):
        wrong.append(f"planting.until = {until}: is of one network; set estimator=extraction")
    if until is not None and not isinstance(config.schedule, ConstantSchedule):
        wrong.append(
            f"planting.until = {until}: changes the steps of an epoch, so the rate must stay; set schedule=constant"
        )
    planted, texts = config.planting.duplicates * len(config.planting.counts), config.dataset.limit
    if until is not None and until < config.epochs and planted == texts:
        wrong.append(
            f"planting.until = {until}: all {texts} texts are planted, so none is left to train on; raise dataset.limit"
        )
    return wrong


def _estimator(config: RunConfig) -> list[str]:
    match config.estimator:
        case TurnoverEstimator(targets=targets) if targets:
            return [f"estimator.targets = {targets}: influence is of classes, not of text; set it to 0"]
        case OneRunEstimator(scores=scores) if unsuited := [name for name in scores if name not in _OF_LOSSES]:
            return [f"estimator.scores: {', '.join(unsuited)}: of text there are {', '.join(_OF_LOSSES)}"]
        case TurnoverEstimator() | ExtractionEstimator() | OneRunEstimator() | SubsamplingEstimator():
            return []
        case NoEstimator() | BlocksEstimator():
            return []
    return [f"estimator.name = {config.estimator.name!r}: needs classes; of text there are {_ESTIMATORS}"]
