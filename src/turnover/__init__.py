"""Which training examples does my network memorize? Turn-over dropout answers from one training run.

The names below are the whole public API. They are loaded when first used, so `import turnover` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnover import language
    from turnover.checks.verify import attach, verify
    from turnover.core.dropout import detach, flipped, own
    from turnover.core.masks import mask
    from turnover.estimators.influence import influence
    from turnover.estimators.memorization import memorization
    from turnover.estimators.score import score
    from turnover.experiments.plots.scores import plot
    from turnover.probes.own_network import probe

_HOME = {
    "attach": "turnover.checks.verify",
    "detach": "turnover.core.dropout",
    "own": "turnover.core.dropout",
    "flipped": "turnover.core.dropout",
    "mask": "turnover.core.masks",
    "score": "turnover.estimators.score",
    "influence": "turnover.estimators.influence",
    "memorization": "turnover.estimators.memorization",
    "probe": "turnover.probes.own_network",
    "verify": "turnover.checks.verify",
    "plot": "turnover.experiments.plots.scores",
}

_PACKAGES = ("language",)  # whose own names are public too

__all__ = [
    "attach",
    "detach",
    "flipped",
    "influence",
    "language",
    "mask",
    "memorization",
    "own",
    "plot",
    "probe",
    "score",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"turnover.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'turnover' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
