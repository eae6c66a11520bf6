"""Options of an audit."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from turnover.config.estimators import OneRunEstimator, TurnoverEstimator
from turnover.config.options import Group, ModelConfig, Positive
from turnover.config.training_options import SGDConfig

PIXELS = "pixels"


class AuditConfig(Group):
    """Options of one audit, explained in `conf/audit.yaml`."""

    data: str
    output: str | None
    k: Positive
    features: str
    weights: str | None
    folds: Annotated[int, Field(ge=2, le=100)]
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

    @field_validator("features")
    @classmethod
    def _is_of_a_source(cls, features: str) -> str:
        if features != PIXELS and not re.fullmatch(r"(torchvision|timm|package|npz):.+", features):
            raise ValueError("must be pixels, package:NAME, torchvision:NAME, timm:NAME or npz:FILE")
        return features

    @model_validator(mode="after")
    def _weights_have_a_network(self) -> Self:
        if self.weights is not None and self.features.partition(":")[0] in (PIXELS, "npz"):
            raise ValueError(f"weights are of a network: with features={self.features} leave them out")
        return self

    @model_validator(mode="after")
    def _all_are_scored_once(self) -> Self:
        if isinstance(self.estimator, TurnoverEstimator) and (self.estimator.epochs or self.estimator.targets):
            raise ValueError("estimator.epochs and estimator.targets are for runs of scripts/score.py: leave them out")
        if isinstance(self.estimator, OneRunEstimator) and (early := max(self.estimator.moments)) > self.epochs:
            raise ValueError(f"estimator.early = {early} is too large: at most {self.epochs}, the number of epochs")
        if self.optimizer.decay != "all":
            raise ValueError("optimizer.decay is for runs of scripts/train.py: leave it out")
        return self
