"""Which labels of a collection are most likely wrong: train on it, score it, name the highest scores."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from torch import nn

from turnover.audit.collection import Collection
from turnover.common.files import replacing
from turnover.config.estimators import OneRunEstimator, TurnoverEstimator, score_of
from turnover.config.options import Group, ModelConfig, OptimizerConfig, Positive
from turnover.errors import RefusedInput
from turnover.estimators.memorization import memorization
from turnover.models import build

_STEPS = 4  # of a training that is timed

# of the csv file, in this order
COLUMNS = {
    "rank": "1: the most suspicious",
    "example": "path below the folder, the id, or the row of the npz file, from 0",
    "label": "the given class",
    "prediction": "the class to which the networks gave most probability in training, mean over epochs and seeds",
    "probability": "that mean probability",
    "score": "the estimator's; high: wrong label, or rare and difficult",
}


class AuditConfig(Group):
    """One audit, as `conf/audit.yaml` explains it."""

    data: str
    output: str | None
    k: Positive
    size: Annotated[int, Field(ge=4, le=512)] | None
    model: ModelConfig
    # those that train one network for each seed, so that its predictions are known
    estimator: Annotated[OneRunEstimator | TurnoverEstimator, Field(discriminator="name")]
    seeds: Positive
    epochs: Positive
    batch_size: Positive
    precision: Literal["auto", "float32", "bfloat16"]
    optimizer: OptimizerConfig
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    scale: Literal["smoke", "laptop", "paper"]

    @model_validator(mode="after")
    def _all_are_scored_once(self) -> Self:
        if isinstance(self.estimator, TurnoverEstimator) and (self.estimator.epochs or self.estimator.targets):
            raise ValueError("estimator.epochs and estimator.targets are for runs of scripts/score.py: leave them out")
        return self


def scored(found: Collection, config: AuditConfig, *, progress: bool = True, **other: Any) -> pd.DataFrame:
    """The score table of all examples, with predictions: `turnover.memorization` with the options of the audit."""
    given: dict[str, Any] = {
        "epochs": config.epochs,
        "lr": config.optimizer.lr,
        "momentum": config.optimizer.momentum,
        "weight_decay": config.optimizer.weight_decay,
        "batch_size": config.batch_size,
        "seeds": config.seeds,
        "precision": config.precision,
        "device": config.device,
        "estimator": score_of(config.estimator),
    }
    options: dict[str, Any] = {"predictions": True, "progress": progress}
    if isinstance(config.estimator, OneRunEstimator):
        options["options"] = config.estimator.model_dump(exclude={"name"})
    return memorization(lambda: network(found, config), found.inputs(), found.labels, **given | options | other)


def network(found: Collection, config: AuditConfig) -> nn.Module:
    """A new network for these examples.

    Raises:
        RefusedInput: the network takes no such examples.
    """
    shape = found.values.shape[1:]
    if not found.images:
        if config.model.name != "mlp":
            raise RefusedInput(
                f"model = {config.model.name}: x holds vectors, no images; set model=mlp model.hidden=[512]"
            )
        shape = (1, 1, *shape)
    if config.model.name in ("conv", "vgg11") and shape[1] != shape[2]:
        raise RefusedInput(
            f"model = {config.model.name}: takes square images, these are {shape[2]} x {shape[1]} pixels; set size=32 "
            "for images of a folder, or model=mlp"
        )
    return build(config.model, (shape[0], shape[1], shape[2]), len(found.classes))


def seconds(found: Collection, config: AuditConfig) -> float:
    """Expected seconds of the audit on this machine, from a few steps of it."""
    size = min(len(found), _STEPS * config.batch_size)
    few = Collection(found.values[:size], found.labels[:size], found.classes, found.names[:size])
    taken = []
    if isinstance(config.estimator, OneRunEstimator):
        config = config.model_copy(update={"estimator": config.estimator.model_copy(update={"early": 1})})
    for epochs in (1, 1, 3):  # the first warms up, the second is what comes once
        start = time.perf_counter()
        scored(few, config, progress=False, epochs=epochs, seeds=1)
        taken.append(time.perf_counter() - start)
    epoch = max(0.0, taken[2] - taken[1]) / 2 * len(found) / size
    return config.seeds * (taken[1] + config.epochs * epoch)


def suspects(found: Collection, scores: pd.DataFrame, k: int) -> pd.DataFrame:
    """The k highest scores, the highest first; equal ones in the order of the examples.  # columns: COLUMNS"""
    highest = scores.sort_values("score", ascending=False, kind="stable").head(k)
    names, classes = np.array(found.names, dtype=object), np.array(found.classes, dtype=object)
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(highest) + 1),
            "example": names[highest.index],
            "label": classes[highest["label"]],
            "prediction": classes[highest["prediction"]],
            "probability": highest["probability"].to_numpy(),
            "score": highest["score"].to_numpy(),
        },
        index=highest.index,  # positions in the collection
    )


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the suspects, all or nothing."""
    with replacing(path) as temporary:
        table[list(COLUMNS)].to_csv(temporary, index=False, float_format="%.6g")
