"""Every option of an audit of a user's own images."""

from typing import Annotated, Literal

from pydantic import Field

from turnover.named_estimators import ONE_RUN
from turnover.options import Group, ModelConfig, OptimizerConfig, Positive

AUDITING = ("turnover", *ONE_RUN)  # those that train one network for each seed, so that its predictions are known


class AuditConfig(Group):
    """One audit, as `conf/audit.yaml` explains it."""

    data: str
    output: str | None
    k: Positive
    size: Annotated[int, Field(ge=4, le=512)] | None
    model: ModelConfig
    estimator: Annotated[str, Field(pattern=f"^({'|'.join(AUDITING)})$")]
    seeds: Positive
    epochs: Positive
    batch_size: Positive
    precision: Literal["float32", "bfloat16"]
    optimizer: OptimizerConfig
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    scale: Literal["smoke", "laptop", "paper"]
