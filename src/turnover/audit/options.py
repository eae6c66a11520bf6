"""Every option of an audit of a user's own images."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from turnover.config.estimators import OneRunEstimator, TurnoverEstimator
from turnover.config.options import Group, ModelConfig, OptimizerConfig, Positive


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
