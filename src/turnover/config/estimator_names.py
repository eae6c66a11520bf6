"""Estimators by name: aliases with preset options, and the fields of all of them without `conf/`."""

import math
from typing import Any, NamedTuple

from turnover.common.text import suggestion
from turnover.config.estimators import SCORES, Score
from turnover.errors import RefusedInput


class Alias(NamedTuple):
    """An option of `estimator` that presets fields of another one."""

    base: str  # a file of conf/estimator
    fields: dict[str, Any]
    about: str


def _of_one_run(name: str, score: Score) -> Alias:
    text = f"{score.column[0].upper()}{score.column[1:]}"
    return Alias("one_run", {"scores": [name]}, f"{text} ({score.source})." if score.source else f"{text}.")


ALIASES = {name: _of_one_run(name, score) for name, score in SCORES.items()} | {
    "c_score": Alias(
        "subsampling",
        {
            "models": "${at_scale:{smoke:4,laptop:40,paper:400}}",
            "fractions": [0.1, 0.3, 0.5, 0.7, 0.9],
            "score": "inconsistency",
        },
        "Jiang et al. (2021): one minus how often networks trained on shares of several sizes are right without it.",
    ),
    "membership": Alias(
        "subsampling",
        {"fractions": [0.5], "score": "membership"},
        "Carlini et al. (2022): how well a likelihood ratio tells networks trained on it from the others.",
    ),
}

_ALL = ["cumulative_loss", "forgetting", "first_learning", "aum", "final_loss", "confidence", "el2n", "grand", "vog"]
# the values of conf/estimator, at laptop scale; a test holds them against its files
_BASES: dict[str, dict[str, Any]] = {
    "turnover": {"name": "turnover", "epochs": [], "targets": 0},
    "subsampling": {"name": "subsampling", "fractions": [0.7], "score": "memorization"},
    "confident_learning": {"name": "confident_learning", "folds": 5},
    "second_split": {"name": "second_split"},
    "one_run": {"name": "one_run", "scores": _ALL, "vog_of": "logit", "vog_epochs": "all"},
    "blocks": {"name": "blocks", "blocks": 44},
}
_NETWORKS = {"subsampling": 1000, "membership": 1000, "c_score": 40}  # for each of the fractions
_EARLY = 0.1  # share of the epochs after which el2n, grand and learning are measured

NAMES = (*_BASES, *ALIASES)


def by_name(name: str, epochs: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an estimator by its name in a run of so many epochs, updated with `options`.

    They are checked with the config they become a part of.

    Raises:
        RefusedInput: there is no such estimator for a user's own data.
    """
    match name:
        case "turnover" if options:
            raise RefusedInput(f"options = {options!r}: turn-over dropout has arguments: p, layers, groups, dropout")
        case "turnover_tuned":
            raise RefusedInput("estimator = 'turnover_tuned': give p=0.7 and groups=256 to estimator='turnover'")
        case "leave_one_out":
            raise RefusedInput(
                "estimator = 'leave_one_out' scores a few examples, and must know which labels are wrong: "
                "take subsampling, or a run of scripts/train.py"
            )
        case "extraction":
            raise RefusedInput(
                "estimator = 'extraction': is of a network that is trained: take turnover.language.extraction"
            )
        case _ if name not in NAMES:
            raise RefusedInput(f"estimator = {name!r}: {suggestion(str(name), list(NAMES))}")
    fields = _fields(name, epochs)
    if unknown := sorted(set(options) - (set(fields) - {"name"})):
        allowed = ", ".join(field for field in fields if field != "name")
        raise RefusedInput(f"options: estimator = {name!r} has no option {unknown[0]!r}; allowed: {allowed}")
    return fields | options


def _fields(name: str, epochs: Any) -> dict[str, Any]:
    alias = ALIASES.get(name)
    fields = _BASES[alias.base] | alias.fields if alias else _BASES[name]
    match fields["name"]:
        case "one_run":  # epochs that are no number are refused later
            return fields | {"early": math.ceil(_EARLY * epochs) if isinstance(epochs, int) else 1}
        case "second_split":
            return fields | {"epochs": epochs}
        case "subsampling":
            return fields | {"models": _NETWORKS[name]}
        case _:
            return fields
