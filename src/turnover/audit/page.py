"""The suspects as one html page: opens offline, asks for nothing from anywhere, works by keyboard and on a phone."""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from turnover.audit.collection import Collection
from turnover.audit.expected import Expectation

_SIDE = 160  # pixels of the largest side of an image on the page; smaller ones are enlarged by the browser


def page(
    found: Collection,
    table: pd.DataFrame,
    *,
    title: str,
    expected: Expectation,
    all_expected: list[Expectation],
    settings: dict[str, Any],
) -> str:
    """The html text.

    Args:
        table: the suspects, index: positions in `found`, columns as in `suspects.COLUMNS`.
        expected: what stands at the top; `all_expected`: for other shares of wrong labels, in a table.
        settings: shown at the end, by name.
    """
    templates = Environment(loader=PackageLoader("turnover.audit", "."), autoescape=True, undefined=StrictUndefined)
    pictures = _pictures(found, table.index.to_numpy())
    rows = [row | {"picture": picture} for row, picture in zip(table.to_dict("records"), pictures, strict=True)]
    given = sorted(set(table["label"]))
    datasets = list(all_expected[0].precision)
    return templates.get_template("page.html.j2").render(
        title=title,
        rows=rows,
        given=given,
        examples=len(found),
        expected=expected,
        all_expected=all_expected,
        datasets=datasets,
        settings=settings,
    )


def _pictures(found: Collection, positions: np.ndarray) -> list[str]:
    """Each image as a data address; empty for examples that are no images."""
    if not found.images:
        return [""] * len(positions)
    values = found.values[positions]
    if values.dtype != np.uint8:  # floats of any range, the same for all images
        low, high = float(found.values.min()), float(found.values.max())
        values = ((values - low) * (255 / (high - low or 1))).astype(np.uint8)
    return [_picture(pixels) for pixels in values]


def _picture(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
