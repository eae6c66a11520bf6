"""An audit from its options to its files: all examples, the most suspicious first, as csv, the first k as a page."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml

from turnover.audit.collection import collect
from turnover.audit.duplicates import remark
from turnover.audit.expected import Expectation, expectations, nearest, unlike, validated
from turnover.audit.features import features_of_npz
from turnover.audit.frozen import PRETRAINED, frozen
from turnover.audit.knowledge import Knowledge
from turnover.audit.labelled import Collection
from turnover.audit.options import PIXELS, AuditConfig
from turnover.audit.page import page
from turnover.audit.ranking import ranked, what
from turnover.audit.results import new_folder, refuse_used, write_csv
from turnover.audit.suspects import COLUMNS, SQUARE, network, suspects
from turnover.common.device import describe, resolve, settle
from turnover.common.files import checkout, write_text
from turnover.common.text import printable
from turnover.config.estimators import score_of
from turnover.runs.store.provenance import commit, now

log = logging.getLogger("turnover")


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
    collection = _collected(path, config)
    log.info("%d examples of %s in %d classes", len(collection), what(collection), len(collection.classes))
    scores, known, score = ranked(collection, config)
    table = suspects(collection, scores)
    contradicting = remark(dict(table.loc[table["same_as"] != "", ["example", "same_as"]].to_numpy().tolist()))
    expected, measured = _expected(collection, config, known, score)
    warning = "" if known.any else _worthless(config)
    folder = Path(config.output) if config.output else new_folder(path)
    write_csv(folder / "suspects.csv", table[list(COLUMNS)])
    if collection.left_out:
        write_csv(folder / "unusable.csv", pd.DataFrame(collection.left_out, columns=["path", "why"]))
    text = page(
        collection,
        table.sort_values("same_as", key=lambda same: same == "", kind="stable").head(config.k),
        title=printable(path.resolve().name),
        known=known.sentence(),
        warning=warning,
        remarks=[*collection.remarks(), *contradicting],
        expected=expected,
        all_expected=measured,
        settings=_settings(collection, config, score),
    )
    write_text(folder / "gallery.html", text)
    options = config.model_dump(mode="json", exclude={"output"})  # when and by which commit, the page says
    write_text(folder / "options.yaml", yaml.safe_dump(options, sort_keys=False))
    log.info("%s", known.sentence())
    if warning:
        log.warning("%s", warning)
    log.info("what to expect: %s", expected)
    log.info("look at them: open %s", (folder / "gallery.html").resolve())
    return folder


def _collected(path: Path, config: AuditConfig) -> Collection:
    """Return the examples, with features if they are asked for; refuse what a network cannot take."""
    source, _, name = config.features.partition(":")
    if source == "npz":
        collection = collect(path, config.size, config.unusable, small=True)
        return replace(collection, features=features_of_npz(Path(name).expanduser(), collection.names))
    if source == PIXELS:
        collection = collect(path, config.size, config.unusable, square=config.model.name in SQUARE)
        network(collection, config)  # refused before anything is timed
        return collection
    return collect(
        path, config.size, config.unusable, frozen(config.features, config.weights, config.size, resolve(config.device))
    )


def _expected(
    collection: Collection, config: AuditConfig, known: Knowledge, score: str
) -> tuple[str, list[Expectation]]:
    """Return what to expect, as text and as a table, which is empty where nothing like this was measured."""
    share = min(1, config.k / len(collection))
    if not known.any:
        return "that these are no more often wrong than any others.", []
    measured = expectations(validated(checkout() / "outputs" / "reference"), score, config.seeds)
    differs = unlike(config, collection, share) or [score] * (score != score_of(config.estimator) or not measured)
    if differs:
        return f"how many of them are wrong was not measured for an audit like this one ({', '.join(differs)}).", []
    return nearest(measured, share).sentence(), measured


def _worthless(config: AuditConfig) -> str:
    """Return what to do about a ranking that is worth nothing."""
    if config.features == PIXELS:
        return (
            "This ranking is worth nothing: the network has learnt hardly anything about these classes from the pixels "
            "of these examples. Do not go by it. Take features of a network that has seen millions of photographs, "
            f"{PRETRAINED}, or features=torchvision:resnet50; or give more examples."
        )
    return (
        f"This ranking is worth nothing: {config.features} says hardly anything about these classes. Do not go by it. "
        "Take features of another network, of one that was trained on images like these if there is one "
        "(features=npz:FILE), or give more examples."
    )


def _settings(collection: Collection, config: AuditConfig, score: str) -> dict[str, str]:
    settings = {
        "data": f"{len(collection):,} examples of {what(collection)}, {len(collection.classes)} classes",
        "features": config.features,
        "score": score,
    }
    if config.features == PIXELS:
        settings |= {
            "model": " ".join(f"{name}={value}" for name, value in config.model.model_dump().items()),
            "training": f"{config.epochs} epochs, batch {config.batch_size}, lr {config.optimizer.lr:g}, "
            f"momentum {config.optimizer.momentum:g}, {config.precision}, seeds 0 to {config.seeds - 1}",
        }
    device = describe(resolve(config.device))
    return settings | {"device": device, "made": f"{now()}, commit {commit() or 'unknown'}"}
