"""Which of its training texts does my language model memorize? Everything from a network, tokens and ids.

The names below are public; they are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnover.language.attacks import membership
    from turnover.language.canaries import exposure
    from turnover.language.counterfactual import memorization
    from turnover.language.extract import extractable, extraction
    from turnover.language.per_token import losses
    from turnover.language.scores import score

_HOME = {
    "exposure": "canaries",
    "extractable": "extract",
    "extraction": "extract",
    "losses": "per_token",
    "membership": "attacks",
    "memorization": "counterfactual",
    "score": "scores",
}

__all__ = ["exposure", "extractable", "extraction", "losses", "membership", "memorization", "score"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"turnover.language.{_HOME[name]}"), name)
    raise AttributeError(f"module 'turnover.language' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
