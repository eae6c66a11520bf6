"""The estimators by the names of `conf/estimator`, for users without configs; a test holds them against those files."""

import math
from typing import Any, get_args

from turnover.common.text import suggestion
from turnover.config.estimators import OneRunScore
from turnover.errors import RefusedInput

_EARLY = 0.1  # share of the epochs after which el2n and grand are measured

_SUBSAMPLING = {"name": "subsampling", "models": 1000, "fractions": [0.7], "score": "memorization"}

_OTHERS: dict[str, dict[str, Any]] = {
    "turnover": {"name": "turnover", "epochs": [], "targets": 0},
    "subsampling": _SUBSAMPLING,
    "c_score": _SUBSAMPLING | {"models": 40, "fractions": [0.1, 0.3, 0.5, 0.7, 0.9], "score": "inconsistency"},
    "membership": _SUBSAMPLING | {"fractions": [0.5], "score": "membership"},
    "confident_learning": {"name": "confident_learning", "folds": 5},
    "blocks": {"name": "blocks", "blocks": 44},
}

# How networks are trained where a call does not say; by batches of 32, blocks are narrow and see half of the examples
RECIPE: dict[str, Any] = {"batch_size": 256, "momentum": 0.0, "schedule": {"name": "constant"}}
RECIPES: dict[str, dict[str, Any]] = {
    "blocks": {"epochs": 20, "lr": 0.03, "batch_size": 32, "momentum": 0.9, "schedule": {"name": "linear"}},
}

_ALL = ["cumulative_loss", "forgetting", "first_learning", "aum", "final_loss", "confidence", "el2n", "grand", "vog"]

ONE_RUN: tuple[str, ...] = get_args(OneRunScore)
NAMES = (*_OTHERS, "second_split", "one_run", *ONE_RUN)


def by_name(name: str, epochs: int, options: dict[str, Any]) -> dict[str, Any]:
    """The fields of the estimator of that name in a run of so many epochs, with these options in place of its own.

    They are checked with the config they become a part of.

    Raises:
        RefusedInput: there is no such estimator for a user's own data.
    """
    match name:
        case "turnover" if options:
            raise RefusedInput(f"options = {options!r}: turn-over dropout has arguments for them: p, layers, groups")
        case "turnover_tuned":
            raise RefusedInput("estimator = 'turnover_tuned': give p=0.7 and groups=256 to estimator='turnover'")
        case "leave_one_out":
            raise RefusedInput(
                "estimator = 'leave_one_out' scores a few examples, and must know which labels are wrong: "
                "take subsampling, or a run of scripts/train.py"
            )
        case "one_run":
            fields: dict[str, Any] = {"name": "one_run", "scores": _ALL, "early": _early(epochs)}
        case "second_split":
            fields = {"name": "second_split", "epochs": epochs}
        case _ if name in ONE_RUN:
            fields = {"name": "one_run", "scores": [name], "early": _early(epochs)}
        case _ if name in _OTHERS:
            fields = dict(_OTHERS[name])
        case _:
            raise RefusedInput(f"estimator = {name!r}: {suggestion(str(name), list(NAMES))}")
    if unknown := sorted(set(options) - (set(fields) - {"name"})):
        known = ", ".join(field for field in fields if field != "name")
        raise RefusedInput(f"options: estimator = {name!r} has no option {unknown[0]!r}; allowed: {known}")
    return fields | options


def _early(epochs: Any) -> int:
    return math.ceil(_EARLY * epochs) if isinstance(epochs, int) else 1  # epochs themselves are refused later
