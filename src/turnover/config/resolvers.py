"""What stands in `conf/` as `${name:...}`: values that follow from the scale and from other values of a run."""

import math
from typing import Any

from turnover.config.datasets import DATASETS


def at_scale(values: Any, *, _root_: Any) -> Any:
    """Resolve `${at_scale:{smoke:1,laptop:2,paper:3}}`: the value for the scale of the run."""
    return values[_root_.scale]


def smoke_or(smoke: Any, larger: Any, *, _root_: Any) -> Any:
    """Resolve `${smoke_or:1,2}`: the first value at scale smoke, the second at laptop and paper."""
    return smoke if _root_.scale == "smoke" else larger


def share_of_epochs(share: float, *, _root_: Any) -> int:
    """Resolve `${share_of_epochs:0.5}`: that share of the run's epochs, rounded up."""
    return math.ceil(share * _root_.epochs)


def with_turnover(masked: Any, ordinary: Any, *, _root_: Any) -> Any:
    """Resolve `${with_turnover:1024,512}`: the first value with turn-over dropout, the second without."""
    return masked if has_masks(_root_.turnover.name, _root_.estimator.name) else ordinary


def of_text(text: Any, images: Any, *, _root_: Any) -> Any:
    """Resolve `${of_text:32,256}`: the first value for a language model, the second for networks of images."""
    return text if _root_.model.name == "gpt" else images


def share_of_examples(share: float, *, _root_: Any) -> int:
    """Resolve `${share_of_examples:0.1}`: that share of the training examples of the run's data set or subset."""
    return round(share * (_root_.dataset.limit or DATASETS[_root_.dataset.name].train))


def equal_steps(epochs: int, *, _root_: Any) -> int:
    """Resolve `${equal_steps:20}`: epochs of a fraction `subsets.size` of the examples with as many steps as these."""
    return round(epochs / _root_.subsets.size)


def has_masks(turnover: str, estimator: str) -> bool:
    """Return True if networks have turn-over dropout with these options."""
    return turnover in ("all_layers", "example_tied") or (turnover == "auto" and estimator == "turnover")


RESOLVERS = (
    at_scale,
    smoke_or,
    share_of_epochs,
    share_of_examples,
    equal_steps,
    with_turnover,
    of_text,
)  # by their names
