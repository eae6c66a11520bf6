"""How networks are trained on people's own data: what a call of the Python API does not say, and what it may say."""

import re
from collections.abc import Mapping
from typing import Any

from turnover.common.text import suggestion
from turnover.errors import RefusedInput

RECIPE: dict[str, Any] = {"batch_size": 256, "momentum": 0.0, "schedule": {"name": "constant", "warmup": 0}}
_FALLING = {"schedule": {"name": "linear", "by": "epoch", "warmup": 0}}
RECIPES: dict[str, dict[str, Any]] = {
    "blocks": _FALLING | {"epochs": 20, "lr": 0.03, "batch_size": 32, "momentum": 0.9},
}
_USUAL: dict[str, dict[str, Any]] = {  # as in conf/
    "adamw": {"betas": [0.9, 0.999], "eps": 1e-8, "decay": "weights"},
    "label_smoothing": {"smoothing": 0.1},
    "crop": {"pad": 2, "flip": False},
}
_GROUPS = ("optimizer", "schedule", "method", "augmentation")  # of conf/; by a name, or a name and its other fields
_FORM = "give names, or a name and other fields: {'optimizer': 'adamw', 'schedule': {'name': 'cosine', 'warmup': 100}}"


def training_fields(estimator: str, given: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Training` but for seed, precision and estimator.

    They are checked with the config they become a part of.

    Args:
        estimator: its name, as some have a recipe of their own.
        given: epochs, lr, batch_size and momentum, None where the recipe decides; weight_decay.
        training: choices of `optimizer`, `schedule`, `method`, `augmentation` and `class_weights`, as in conf/.

    Raises:
        RefusedInput: a value that no recipe has is missing, or there is no such choice.
    """
    usual = RECIPE | RECIPES.get(estimator, {})
    values = {name: usual.get(name) if value is None else value for name, value in given.items()}
    if missing := [name for name, value in values.items() if value is None]:
        raise RefusedInput(f"{' and '.join(missing)} must be given: only estimator='blocks' has its own")
    if not isinstance(training, Mapping):
        raise RefusedInput(f"training = {training!r}: {_FORM}")
    for group, value in training.items():
        if group in given:
            raise RefusedInput(f"training: {group!r} is an argument of the call: {group}=")
        if group in _GROUPS and not isinstance(value, str | Mapping):
            raise RefusedInput(f"training: {group} = {value!r}: {_FORM}")
    if unknown := [key for key in training if key not in (*_GROUPS, "class_weights")]:
        raise RefusedInput(f"training: {unknown[0]!r}: {suggestion(str(unknown[0]), [*_GROUPS, 'class_weights'])}")
    chosen: dict[str, dict[str, Any]] = {
        key: _fields({"name": value} if isinstance(value, str) else value)
        for key, value in training.items()
        if key in _GROUPS
    }
    optimizer = chosen.pop("optimizer", {"name": "sgd"})
    for argument in ("lr", "momentum", "weight_decay"):
        if argument in optimizer:
            raise RefusedInput(f"training: optimizer has {argument!r}, which is an argument of the call: {argument}=")
    optimizer |= {"lr": values["lr"], "weight_decay": values["weight_decay"]}
    if optimizer.get("name") == "adamw":
        if given["momentum"] is not None:
            raise RefusedInput("momentum: of AdamW it is the first of training={'optimizer': {'betas': ...}}")
        if given["lr"] is None:
            raise RefusedInput("lr must be given with AdamW: that of a recipe is for SGD; .001 is usual")
    else:
        optimizer = optimizer | {"momentum": values["momentum"]}
    return {
        "epochs": values["epochs"],
        "batch_size": values["batch_size"],
        "class_weights": training.get("class_weights", "none"),
        "augmentation": {"name": "none"},
        "schedule": usual["schedule"],
        **chosen,
        "optimizer": optimizer,
    }


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return _USUAL.get(str(values.get("name")), {}) | values


def as_arguments(message: str) -> str:
    """Return a message about fields of a config in the words of a call, whose arguments some of them are."""
    return re.sub(r"\boptimizer\.(lr|momentum|weight_decay)\b", r"\1", message)
