"""Labels of a collection that are most likely wrong: the highest scores of a training, or held out on features."""

import time
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from turnover.audit.duplicates import contradictions
from turnover.audit.labelled import Collection
from turnover.audit.options import AuditConfig
from turnover.config.estimators import OneRunEstimator, score_of
from turnover.errors import RefusedInput
from turnover.estimators.memorization import memorization
from turnover.models import build

SQUARE = ("conv", "vgg11")  # networks that take square images alone
_STEPS = 4  # of a training that is timed

# of the csv file, in this order
COLUMNS = {
    "rank": "1: the most suspicious",
    "example": "path below the folder, the id, or the row of the npz file, from 0",
    "label": "the given class",
    "prediction": "the class with most probability: mean over epochs and seeds in training; of features, held out",
    "probability": "that probability",
    "score": "the estimator's, or of features 1 - the held-out probability of the label; high: wrong, or difficult",
    "same_as": "an example of the same, or nearly the same, pixels or values and another label; empty if there is none",
}


def scored(collection: Collection, config: AuditConfig, *, progress: bool = True, **other: Any) -> pd.DataFrame:
    """Score all examples, with predictions, by `turnover.memorization` with the options of the audit."""
    given: dict[str, Any] = {
        "epochs": config.epochs,
        "lr": config.optimizer.lr,
        "momentum": config.optimizer.momentum,
        "weight_decay": config.optimizer.weight_decay,
        "batch_size": config.batch_size,
        "seeds": config.seeds,
        "precision": config.precision,
        "device": config.device,
        "estimator": score_of(config.estimator).partition("/")[0],  # of el2n/3, after epoch 3, el2n
    }
    options: dict[str, Any] = {"predictions": True, "progress": progress}
    if isinstance(config.estimator, OneRunEstimator):
        options["options"] = config.estimator.model_dump(exclude={"name"})
    return memorization(
        lambda: network(collection, config), collection.inputs(), collection.labels, **given | options | other
    )


def from_held_out(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Return scores, 1 - the probability of the label, as `scored` does.  # float [n, classes], int64 [n]"""
    return pd.DataFrame(
        {
            "score": 1 - probabilities[np.arange(len(labels)), labels],
            "label": labels,
            "prediction": probabilities.argmax(1),
            "probability": probabilities.max(1),
        }
    )


def network(collection: Collection, config: AuditConfig) -> nn.Module:
    """Build a new network for these examples.

    Raises:
        RefusedInput: the network takes no such examples.
    """
    shape = collection.values.shape[1:]
    if not collection.images:
        if config.model.name != "mlp":
            raise RefusedInput(
                f"model = {config.model.name}: x holds vectors, no images; set model=mlp model.hidden=[512]"
            )
        shape = (1, 1, *shape)
    if config.model.name in SQUARE and shape[1] != shape[2]:
        raise RefusedInput(
            f"model = {config.model.name}: takes square images, these are {shape[2]} x {shape[1]} pixels: make "
            "them square, or set model=mlp"
        )
    return build(config.model, (shape[0], shape[1], shape[2]), len(collection.classes))


def seconds(collection: Collection, config: AuditConfig, trainings: int) -> float:
    """Estimate the seconds of so many trainings on this machine from a few steps of one."""
    size = min(len(collection), _STEPS * config.batch_size)
    few = Collection(collection.values[:size], collection.labels[:size], collection.classes, collection.names[:size])
    taken = []
    if isinstance(config.estimator, OneRunEstimator):
        config = config.model_copy(update={"estimator": config.estimator.model_copy(update={"early": 1})})
    for epochs in (1, 1, 3):  # the first warms up, the second is what comes once
        start = time.perf_counter()
        scored(few, config, progress=False, epochs=epochs, seeds=1)
        taken.append(time.perf_counter() - start)
    epoch = max(0.0, taken[2] - taken[1]) / 2 * len(collection) / size
    return trainings * (taken[1] + config.epochs * epoch)


def suspects(collection: Collection, scores: pd.DataFrame) -> pd.DataFrame:
    """Return all examples, the highest score first; equal ones in the order of the examples.  # columns: COLUMNS"""
    ranked = scores.sort_values("score", ascending=False, kind="stable")
    names, classes = np.array(collection.names, dtype=object), np.array(collection.classes, dtype=object)
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(ranked) + 1),
            "example": names[ranked.index],
            "label": classes[ranked["label"]],
            "prediction": classes[ranked["prediction"]],
            "probability": ranked["probability"].to_numpy(),
            "score": ranked["score"].to_numpy(),
            "same_as": contradictions(collection)[ranked.index],
        },
        index=ranked.index,  # positions in the collection
    )
