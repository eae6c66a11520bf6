"""Which training examples does my network memorize? Turn-over dropout answers from one training run.

The names below are the whole public API. They are loaded when first used, so `import turnover` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnover.dropout import attach, detach, flipped, own
    from turnover.masks import mask
    from turnover.own_data import memorization
    from turnover.scores.influence import influence
    from turnover.scores.turnover import score
    from turnover.verification import verify

_HOME = {
    "attach": "turnover.dropout",
    "detach": "turnover.dropout",
    "own": "turnover.dropout",
    "flipped": "turnover.dropout",
    "mask": "turnover.masks",
    "score": "turnover.scores.turnover",
    "influence": "turnover.scores.influence",
    "memorization": "turnover.own_data",
    "verify": "turnover.verification",
}

__all__ = ["attach", "detach", "flipped", "influence", "mask", "memorization", "own", "score", "verify"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'turnover' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
