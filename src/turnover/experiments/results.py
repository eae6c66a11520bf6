"""Finished figures and studies as the json files beside their pictures tell them: where they lie, and what they say."""

import json
from pathlib import Path
from typing import Any

from turnover.common.files import checkout
from turnover.errors import RunFailed

Values = dict[str, Any]  # the json that stands beside a picture

SCALES = ("laptop", "paper")  # whose results are committed


def reference(scale: str) -> Path:
    """The folder of the committed pictures, tables and results of a scale."""
    return checkout() / "outputs" / "reference" / scale


def read(path: Path) -> Values:
    """What a json file says.

    Raises:
        RunFailed: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunFailed(f"{path} is damaged: remove it and make it again") from None
    return found if isinstance(found, dict) else {}


def figures(folder: Path) -> dict[str, Values]:
    """Every figure or study of a folder by the name of its files, as fig2 or fig5-setting=cifar10_vgg11."""
    found = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    return {name: values for name, values in found.items() if "claims" in values}  # the others are of something else
