"""The page of an audit: one html file with the pictures of the most suspicious examples, which opens offline."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from turnover.audit.expected import Expectation
from turnover.audit.images import Unusable, header, read_image
from turnover.audit.labelled import Collection

_SIDE = 160  # pixels of the largest side of an image on the page; smaller ones are enlarged by the browser


def page(
    collection: Collection,
    table: pd.DataFrame,
    *,
    title: str,
    known: str,
    warning: str,
    remarks: list[str],
    expected: str,
    all_expected: list[Expectation],
    settings: dict[str, Any],
) -> str:
    """Render the page as html.

    Args:
        table: the suspects, index: positions in `collection`, columns as in `suspects.COLUMNS`.
        known: how often held-out predictions are right, the first line.
        warning: that the ranking is worth nothing; empty if it is worth something.
        remarks: sentences for its first lines.
        expected: what to expect, at the top; `all_expected`: for shares of wrong labels, in a table; may be empty.
        settings: shown at the end, by name.
    """
    templates = Environment(loader=PackageLoader("turnover.audit", "."), autoescape=True, undefined=StrictUndefined)
    pictures = _pictures(collection, table.index.to_numpy())
    rows = [row | {"picture": picture} for row, picture in zip(table.to_dict("records"), pictures, strict=True)]
    given = sorted(set(table["label"]))
    datasets = list(all_expected[0].precision) if all_expected else []
    return templates.get_template("page.html.j2").render(
        title=title,
        known=known,
        warning=warning,
        remarks=remarks,
        rows=rows,
        given=given,
        examples=len(collection),
        expected=expected,
        all_expected=all_expected,
        datasets=datasets,
        settings=settings,
    )


def _pictures(collection: Collection, positions: np.ndarray) -> list[str]:
    """Return each image as a data URL, of a file in its own proportions; empty for examples that are no images."""
    if collection.files:
        return [_of_file(collection.files[position]) for position in positions]
    if not collection.images:
        return [""] * len(positions)
    values = collection.values[positions]
    if values.dtype != np.uint8:  # floats of any range, the same for all images
        low, high = float(collection.values.min()), float(collection.values.max())
        values = ((values - low) * (255 / (high - low or 1))).astype(np.uint8)
    return [_picture(pixels) for pixels in values]


def _of_file(path: Path) -> str:
    try:
        return _picture(read_image(path, None, header(path).bits, within=_SIDE))
    except Unusable:  # by now
        return ""


def _picture(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
