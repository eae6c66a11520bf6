"""A small real run that many tests use: digits, one hidden layer, turn-over dropout, scores."""

from functools import cache
from typing import Any

from turnover.config.compose import sweep
from turnover.config.run import RunConfig


@cache
def digits(*overrides: str, entry: str = "score") -> RunConfig:
    """The config of a score run on digits that takes about a second, with these overrides."""
    small = ["dataset=digits", "scale=smoke", "logger=none", "model.hidden=[64]", "device=cpu"]
    configs = sweep([*small, *overrides], entry)
    assert len(configs) == 1
    return configs[0]


def changed(config: RunConfig, **values: Any) -> RunConfig:
    """The same config with other top-level values."""
    return RunConfig.model_validate(config.model_dump() | values)
