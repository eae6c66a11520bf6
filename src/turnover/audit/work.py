"""An audit from its options to its files: all examples, the most suspicious first, as csv, the first k as a page."""

import base64
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from turnover.audit.collection import collect
from turnover.audit.duplicates import remark
from turnover.audit.labelled import Collection
from turnover.audit.results import new_folder, refuse_used, write_csv
from turnover.audit.suspects import (
    COLUMNS,
    AuditConfig,
    Expectation,
    expectations,
    nearest,
    network,
    scored,
    seconds,
    suspects,
    validated,
)
from turnover.common.device import describe, resolve, settle
from turnover.common.files import checkout, write_text
from turnover.common.text import clock, printable
from turnover.config.estimators import score_of
from turnover.runs.store.provenance import commit, now

log = logging.getLogger("turnover")
_SIDE = 160  # pixels of the largest side of an image on the page; smaller ones are enlarged by the browser


def audit(config: AuditConfig) -> Path:
    """Find the most suspicious labels of `config.data`; return the folder with suspects.csv and gallery.html.

    Raises:
        RefusedInput: the data cannot be used, or the options do not suit them. Says what to do; nothing is written.
        RunFailed: the training diverged.
    """
    device = resolve(config.device)
    config = config.model_copy(update={"precision": settle(config.precision, device)})
    path = Path(config.data).expanduser()
    if config.output:
        refuse_used(Path(config.output))
    collection = collect(path, config.size, config.unusable)
    network(collection, config)  # refused before anything is timed
    measured = expectations(validated(checkout() / "outputs" / "reference"), score_of(config.estimator), config.seeds)
    expected = nearest(measured, min(1, config.k / len(collection)))
    shape, model = " x ".join(map(str, collection.values.shape[1:])), config.model.name
    log.info("%d examples of %s in %d classes", len(collection), shape, len(collection.classes))
    log.info(
        "to do: %s of %s for %d epoch%s, estimator %s, about %s",
        f"{config.seeds} trainings" if config.seeds > 1 else "one training",
        *(model, config.epochs, "s" if config.epochs > 1 else "", score_of(config.estimator)),
        clock(seconds(collection, config)),
    )
    table = suspects(collection, scored(collection, config))
    contradicting = remark(dict(table.loc[table["same_as"] != "", ["example", "same_as"]].to_numpy().tolist()))
    settings = {
        "data": f"{len(collection):,} examples of {shape}, {len(collection.classes)} classes",
        "estimator": score_of(config.estimator),
        "model": " ".join(f"{name}={value}" for name, value in config.model.model_dump().items()),
        "training": f"{config.epochs} epochs, batch {config.batch_size}, lr {config.optimizer.lr:g}, "
        f"momentum {config.optimizer.momentum:g}, {config.precision}, seeds 0 to {config.seeds - 1}",
        "device": describe(device),
        "made": f"{now()}, commit {commit() or 'unknown'}",
    }
    folder = Path(config.output) if config.output else new_folder(path)
    write_csv(folder / "suspects.csv", table[list(COLUMNS)])
    if collection.left_out:
        write_csv(folder / "unusable.csv", pd.DataFrame(collection.left_out, columns=["path", "why"]))
    text = page(
        collection,
        table.head(config.k),
        title=printable(path.resolve().name),
        remarks=[*collection.remarks(), *contradicting],
        expected=expected,
        all_expected=measured,
        settings=settings,
    )
    write_text(folder / "gallery.html", text)
    log.info("what to expect: %s", expected.sentence())
    log.info("look at them: open %s", (folder / "gallery.html").resolve())
    return folder


def page(
    collection: Collection,
    table: pd.DataFrame,
    *,
    title: str,
    remarks: list[str],
    expected: Expectation,
    all_expected: list[Expectation],
    settings: dict[str, Any],
) -> str:
    """Render the page as html.

    Args:
        table: the suspects, index: positions in `collection`, columns as in `suspects.COLUMNS`.
        remarks: sentences for its first lines.
        expected: shown at the top; `all_expected`: for other shares of wrong labels, in a table.
        settings: shown at the end, by name.
    """
    templates = Environment(loader=PackageLoader("turnover.audit", "."), autoescape=True, undefined=StrictUndefined)
    pictures = _pictures(collection, table.index.to_numpy())
    rows = [row | {"picture": picture} for row, picture in zip(table.to_dict("records"), pictures, strict=True)]
    given = sorted(set(table["label"]))
    datasets = list(all_expected[0].precision)
    return templates.get_template("page.html.j2").render(
        title=title,
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
    """Return each image as a data URL; empty for examples that are no images."""
    if not collection.images:
        return [""] * len(positions)
    values = collection.values[positions]
    if values.dtype != np.uint8:  # floats of any range, the same for all images
        low, high = float(collection.values.min()), float(collection.values.max())
        values = ((values - low) * (255 / (high - low or 1))).astype(np.uint8)
    return [_picture(pixels) for pixels in values]


def _picture(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
