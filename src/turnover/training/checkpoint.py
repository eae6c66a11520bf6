"""The state of a run at the end of an epoch: enough to go on bit for bit.

Random streams are functions of (seed, purpose, epoch), so weights, optimizer and the metrics so far are all there is.
"""

from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from torch import nn

from turnover.store import replacing
from turnover.tables import Metric


@dataclass(frozen=True)
class Progress:
    """What a checkpoint holds besides weights and optimizer."""

    epoch: int
    metrics: list[Metric]


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write a checkpoint, all or nothing."""
    state = {
        "epoch": progress.epoch,
        "metrics": [astuple(row) for row in progress.metrics],
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Put weights and optimizer back and return how far the run was; None if there is no checkpoint."""
    if not path.exists():
        return None
    device = next(model.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(state["epoch"], [Metric(*row) for row in state["metrics"]])
