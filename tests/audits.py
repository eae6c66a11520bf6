"""Options of audits for tests, composed as the command line composes them."""

from pathlib import Path

from turnover.audit.options import AuditConfig
from turnover.config.compose import _hydra, plain
from turnover.config.parse import parse


def config_of(data: Path | str, *overrides: str) -> AuditConfig:
    """The options of an audit of `data` on the CPU."""
    from hydra import compose

    with _hydra():
        return parse(AuditConfig, plain(compose("audit", overrides=[f'data="{data}"', "device=cpu", *overrides])))
