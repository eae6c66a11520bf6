"""Labels of a collection that are most likely wrong: the highest scores of a training, and how many to expect."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator
from torch import nn

from turnover.audit.duplicates import contradictions
from turnover.audit.labelled import Collection
from turnover.config.datasets import DATASETS
from turnover.config.estimators import OneRunEstimator, TurnoverEstimator, score_of
from turnover.config.options import Group, ModelConfig, Positive
from turnover.config.training_options import SGDConfig
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
    "same_as": "another example of the same pixels or values that has another label; empty if there is none",
}


class AuditConfig(Group):
    """Options of one audit, explained in `conf/audit.yaml`."""

    data: str
    output: str | None
    k: Positive
    size: Annotated[int, Field(ge=4, le=512)] | None
    unusable: Annotated[float, Field(ge=0, le=1)]
    model: ModelConfig
    # those that train one network for each seed, so that its predictions are known
    estimator: Annotated[OneRunEstimator | TurnoverEstimator, Field(discriminator="name")]
    seeds: Positive
    epochs: Positive
    batch_size: Positive
    precision: Literal["auto", "float32", "bfloat16"]
    optimizer: SGDConfig
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    scale: Literal["smoke", "laptop", "paper"]

    @field_validator("data")
    @classmethod
    def _is_a_path(cls, data: str) -> str:
        if not data:  # a length in the type would refuse names that are no UTF-8
            raise ValueError("must be a path")
        return data

    @model_validator(mode="after")
    def _all_are_scored_once(self) -> Self:
        if isinstance(self.estimator, TurnoverEstimator) and (self.estimator.epochs or self.estimator.targets):
            raise ValueError("estimator.epochs and estimator.targets are for runs of scripts/score.py: leave them out")
        if self.optimizer.decay != "all":
            raise ValueError("optimizer.decay is for runs of scripts/train.py: leave it out")
        return self


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
    if config.model.name in ("conv", "vgg11") and shape[1] != shape[2]:
        raise RefusedInput(
            f"model = {config.model.name}: takes square images, these are {shape[2]} x {shape[1]} pixels; set size=32 "
            "for images of a folder, or model=mlp"
        )
    return build(config.model, (shape[0], shape[1], shape[2]), len(collection.classes))


def seconds(collection: Collection, config: AuditConfig) -> float:
    """Estimate the seconds of the audit on this machine from a few steps of it."""
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
    return config.seeds * (taken[1] + config.epochs * epoch)


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


_DATASETS = ("mnist", "fashion_mnist", "cifar10")
_KINDS = "dataset noise wrong examples augmentation estimator seeds networks precision cost".split()


@dataclass(frozen=True)
class Expectation:
    """Precision as measured on data sets with known wrong labels."""

    share: float  # of the labels that were wrong there; as many examples were looked at
    seeds: int  # whose scores were averaged there
    precision: dict[str, float]  # title of the data set -> share of wrong labels among those looked at

    def sentence(self) -> str:
        """Return the expectation as text."""
        shares = ", ".join(f"{100 * value:.0f} % on {title}" for title, value in self.precision.items())
        scores = "scores of one training" if self.seeds == 1 else f"mean scores of {self.seeds} trainings"
        return (
            f"of so many suspects were wrong indeed {shares}. Measured on 3,000 images of each, "
            f"{100 * self.share:.0f} % of them with a random wrong label and as many looked at, {scores}. "
            "This may not hold for your data, and cannot if fewer labels are wrong than are looked at."
        )


def validated(reference: Path) -> pd.DataFrame:
    """Read the rows of the committed table on detection of wrong labels: symmetric noise, no augmentation."""
    table = pd.read_csv(reference / "laptop" / "validate" / "table.csv", usecols=_KINDS)
    comparable = (table["noise"] == "symmetric") & (table["augmentation"] == "none") & (table["networks"] == 1)
    return table[comparable & table["dataset"].isin(_DATASETS) & table["precision"].notna()]


def recommended(table: pd.DataFrame) -> str:
    """Return the estimator that finds most of 10 % wrong labels, mean of the data sets, for one ordinary training."""
    rows = table[(table["seeds"] == 1) & (table["wrong"] * 10 == table["examples"]) & (table["cost"] <= 1)]
    means = rows.groupby("estimator")["precision"].agg(["mean", "size"])
    return str(means[means["size"] == len(_DATASETS)]["mean"].idxmax())


def expectations(table: pd.DataFrame, estimator: str, seeds: int) -> list[Expectation]:
    """Return what an estimator reached with at most so many seeds, for each share of wrong labels, rising."""
    rows = table[(table["estimator"] == estimator) & (table["seeds"] <= seeds)]
    measured = []
    for (wrong, examples), group in rows.groupby(["wrong", "examples"]):
        most = int(group["seeds"].max())
        precision = group[group["seeds"] == most].set_index("dataset")["precision"].to_dict()
        titles = {DATASETS[name].title: float(precision[name]) for name in _DATASETS if name in precision}
        measured.append(Expectation(float(wrong) / float(examples), most, titles))  # type: ignore[arg-type]
    return sorted(measured, key=lambda expectation: expectation.share)


def nearest(measured: list[Expectation], share: float) -> Expectation:
    """Return the expectation measured at the share of wrong labels nearest to `share`, by ratio."""
    return min(measured, key=lambda expectation: max(expectation.share / share, share / expectation.share))
