"""How all examples are ranked: by a training on pixels, or by held-out logistic regression; and what that knows."""

import logging

import pandas as pd

from turnover.audit.held_out import by_networks, by_regression, folds_of, networks_for
from turnover.audit.knowledge import Knowledge
from turnover.audit.labelled import Collection
from turnover.audit.options import PIXELS, AuditConfig
from turnover.audit.suspects import from_held_out, scored, seconds
from turnover.common.text import clock
from turnover.config.estimators import score_of

log = logging.getLogger("turnover")

BETTER = 0.1  # by so much logistic regression must be right more often than networks, to be ranked by
_VALUES = 4096  # of an example, up to which that is tried: an image in colour of 36 x 36 pixels
_HELD_OUT = "1 - held-out probability of the label, logistic regression in {} folds"


def ranked(collection: Collection, config: AuditConfig) -> tuple[pd.DataFrame, Knowledge, str]:
    """Return scores as `suspects.scored` does, what held-out predictions know, and the name of the score."""
    return _by_pixels(collection, config) if config.features == PIXELS else _by_features(collection, config)


def _by_pixels(collection: Collection, config: AuditConfig) -> tuple[pd.DataFrame, Knowledge, str]:
    """Return scores, what held-out predictions know, and the name of the score.

    The scores are those of a training, or of logistic regression on the pixels where it predicts far better than
    networks do: of a few hundred examples they have hardly begun to learn.
    """
    name, count = score_of(config.estimator), networks_for(len(collection), config)
    log.info(
        "to do: %s of %s for %d epoch%s, estimator %s, and %d held-out ones, about %s",
        f"{config.seeds} trainings" if config.seeds > 1 else "one training",
        *(config.model.name, config.epochs, "s" if config.epochs > 1 else "", name, count),
        clock(seconds(collection, config, config.seeds + count - 1)),
    )
    labels, fold = collection.labels, folds_of(collection.labels, count, collection.groups)
    known = Knowledge.of(by_networks(collection, config, fold), labels)
    if count > 2 and collection.values[0].size <= _VALUES:
        probabilities = by_regression(collection.inputs().reshape(len(labels), -1), labels, fold)
        linear = Knowledge.of(probabilities, labels)
        if linear.accuracy > known.accuracy + BETTER:
            return from_held_out(probabilities, labels), linear, _HELD_OUT.format(config.folds)
    return scored(collection, config), known, name


def _by_features(collection: Collection, config: AuditConfig) -> tuple[pd.DataFrame, Knowledge, str]:
    """Return scores of held-out logistic regression on features, what it knows, and the name of the score."""
    assert collection.features is not None
    log.info("to do: logistic regression on %s, %d folds", what(collection), config.folds)
    probabilities = by_regression(
        collection.features, collection.labels, folds_of(collection.labels, config.folds, collection.groups)
    )
    known = Knowledge.of(probabilities, collection.labels)
    return from_held_out(probabilities, collection.labels), known, _HELD_OUT.format(config.folds)


def what(collection: Collection) -> str:
    """Return the shape of an example, as text."""
    if collection.features is not None:
        return f"{collection.features.shape[1]} features"
    return " x ".join(map(str, collection.values.shape[1:]))
