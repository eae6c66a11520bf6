"""The audit against held-out logistic regression on the same inputs, where wrong labels are known; and their number."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from turnover.audit.features import features_of_images
from turnover.audit.frozen import frozen
from turnover.audit.held_out import by_networks, by_regression, folds_of, networks_for
from turnover.audit.knowledge import Knowledge
from turnover.audit.labelled import Collection
from turnover.audit.options import PIXELS, AuditConfig
from turnover.audit.ranking import BETTER
from turnover.audit.suspects import from_held_out, scored
from turnover.common.device import resolve
from turnover.common.files import replacing
from turnover.config.compose import composed, plain
from turnover.config.datasets import DATASETS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.config.parse import parse
from turnover.data.datasets import load

_FOLDS = 5
_KEYS = ["dataset", "features", "examples", "wrong", "draw"]


def options(*overrides: str) -> AuditConfig:
    """Return those of conf/audit.yaml, some with other values."""
    return parse(AuditConfig, plain(composed(["data=none", *overrides], "audit")))


def mislabelled(dataset: str, examples: int, wrong: float, draw: int) -> tuple[Collection, np.ndarray]:
    """Return examples of a data set, a share of them with another label, and which these are.  # bool [n]"""
    limit = at_most(dataset, examples)
    subset = DatasetConfig(
        name=dataset,  # type: ignore[arg-type]
        limit=limit,
        test_limit=None,
        include_test=False,
        normalization="standard",
        seed=draw,
    )
    noise = CorruptionConfig(count=round(wrong * limit), seed=draw, kind="symmetric", path=None, sizes=[])
    split = load(subset, noise).train
    names = tuple(map(str, split.ids.tolist()))
    classes = tuple(map(str, range(DATASETS[dataset].classes)))
    collection = Collection(split.images.numpy(), split.labels.numpy(), classes, names)
    return collection, (split.labels != split.true_labels).numpy()


def measure(config: AuditConfig, dataset: str, examples: int, wrong: float, draw: int) -> dict[str, Any]:
    """Return what was found of the wrong labels of one draw, as many looked at as there are, and their estimated share.

    Returns:
        found by the training, by logistic regression and by what the audit chooses of both; held-out accuracies of
        networks and regression, on the given labels; share, low, high: of wrong labels, by the networks; seconds. With
        `features` other than pixels there is neither a training nor networks.
    """
    start = time.perf_counter()
    collection, is_wrong = mislabelled(dataset, examples, wrong, draw)
    labels, count = collection.labels, networks_for(len(collection), config)
    if config.features == PIXELS:
        inputs = collection.inputs().reshape(len(labels), -1)
    else:
        network = frozen(config.features, config.weights, config.size, resolve(config.device))
        inputs = features_of_images(collection.values, network)
    probabilities = by_regression(inputs, labels, folds_of(labels, _FOLDS))
    regression = Knowledge.of(probabilities, labels)

    def found(scores: pd.DataFrame) -> float:
        first = scores["score"].to_numpy().argsort(kind="stable")[::-1][: is_wrong.sum()]
        return float(is_wrong[first].mean())

    by_held_out = found(from_held_out(probabilities, labels))
    about = dict(zip(_KEYS, (dataset, name_of(config), len(labels), wrong, draw), strict=True))
    if config.features != PIXELS:
        known = {"audit": by_held_out, "accuracy_regression": regression.accuracy, **regression.wrong._asdict()}
        return about | {"regression": by_held_out} | known | {"seconds": time.perf_counter() - start}
    networks = Knowledge.of(by_networks(collection, config, folds_of(labels, count)), labels)
    by_training = found(scored(collection, config, progress=False))
    regressed = count > 2 and regression.accuracy > networks.accuracy + BETTER
    return {
        **about,
        "training": by_training,
        "regression": by_held_out,
        "audit": by_held_out if regressed else by_training,
        "accuracy_networks": networks.accuracy,
        "accuracy_regression": regression.accuracy,
        **networks.wrong._asdict(),
        "seconds": time.perf_counter() - start,
    }


def at_most(dataset: str, examples: int) -> int:
    """Return so many examples, or all if there are fewer."""
    return min(examples, DATASETS[dataset].train)


def name_of(config: AuditConfig) -> str:
    """Return what the labels are predicted from, in a word or two, as no other features are called."""
    return config.features + (f", {config.size} pixels" if config.size else "")


def add(path: Path, row: dict[str, Any]) -> None:
    """Add the row of a draw to a table, sorted."""
    before = pd.read_csv(path) if path.exists() else pd.DataFrame()
    table = pd.concat([before, pd.DataFrame([row])]).sort_values(_KEYS, kind="stable")
    write(path, table)


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, all or nothing."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")


def done(path: Path) -> set[tuple[Any, ...]]:
    """Return data set, features, examples, share of wrong labels and draw of the rows of a table."""
    return set(pd.read_csv(path)[_KEYS].itertuples(index=False, name=None)) if path.exists() else set()


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over draws, and in what share of them the interval holds the true share of wrong labels."""
    table = table.assign(covered=(table["low"] <= table["wrong"]) & (table["wrong"] <= table["high"]))
    groups = table.groupby(["wrong", "examples", "dataset", "features"], sort=False)
    means = groups[["training", "regression", "audit", "accuracy_networks", "accuracy_regression"]].mean()
    shares = groups["share"].agg(["min", "mean", "max"]).add_prefix("share_")
    rest = groups.agg(low=("low", "min"), high=("high", "max"), covered=("covered", "mean"), draws=("draw", "size"))
    return pd.concat([means, shares, rest], axis=1).reset_index().round(3)
