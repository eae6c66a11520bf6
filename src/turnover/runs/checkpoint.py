"""Checkpoints: the state of a run at or within an epoch, enough to go on bit for bit.

Random streams are functions of (seed, purpose, epoch), so weights, optimizer and the metrics so far are all there is at
the end of an epoch. The checkpoint before the last one is kept, in case the last one is damaged.
"""

import logging
import os
import zipfile
import zlib
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from turnover.common.files import replacing, write_text
from turnover.runs.store import checksums
from turnover.runs.store.tables import Metric
from turnover.training.loop import Partial

log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Progress:
    """Contents of a checkpoint besides weights and optimizer."""

    epoch: int  # the last one that is complete
    metrics: list[Metric]
    partial: Partial | None = None  # progress of the next epoch, if it was stopped in its middle
    observers: list[dict[str, Any]] = field(default_factory=list)  # their states then
    tables: dict[str, str] = field(default_factory=dict)  # checksums of tables that were written before, by their paths
    method: dict[str, Any] = field(default_factory=dict)  # state of the training rule


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write a checkpoint, all or nothing; the one before it is kept."""
    state = {
        "epoch": progress.epoch,
        "metrics": [astuple(row) for row in progress.metrics],
        "partial": asdict(progress.partial) if progress.partial else None,
        "observers": progress.observers,
        "tables": progress.tables,
        "method": progress.method,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(path) as temporary:
        with temporary.open("wb") as file:  # by its name PyTorch would not say why it cannot be written
            torch.save(state, file)
        rows = [(path.name, checksums.sha256(temporary))]
        if path.exists() and (digest := _undamaged(path)):
            # until the new one is in its place the old one goes by this name, then by the other
            rows += [(name, digest) for name in (path.name, _before(path).name)]
            _link(path, _before(path))
        write_text(path.parent / checksums.NAME, checksums.table(rows))


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Restore weights and optimizer and return the progress of the run; None if there is no undamaged checkpoint.

    A damaged checkpoint is logged, and the one before it is used.
    """
    for file in (path, _before(path)):
        if not file.exists():
            continue
        if not _undamaged(file):
            log.warning("%s of %s is damaged: its checksum differs", file.name, path.parent.name)
            continue
        device = next(model.parameters()).device
        try:
            state = torch.load(file, map_location=device, weights_only=True)
        except (RuntimeError, ValueError, LookupError, EOFError, UnpicklingError, OSError) as error:
            log.warning("%s of %s is damaged: %s", file.name, path.parent.name, str(error).partition("\n")[0])
            continue
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        metrics = [Metric(*row) for row in state["metrics"]]
        partial = Partial(**state["partial"]) if state.get("partial") else None
        rest = (state.get("observers", []), state.get("tables", {}), state.get("method", {}))
        return Progress(state["epoch"], metrics, partial, *rest)
    return None


def keep_weights(folder: Path, epoch: int, model: nn.Module) -> Path:
    """Write the weights after an epoch to a run's folder, all or nothing; return the path."""
    path = folder / "weights" / f"epoch-{epoch:05d}.pt"
    with replacing(path) as temporary:
        torch.save(model.state_dict(), temporary)
    return path


def kept_weights(folder: Path, epoch: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the weights after an epoch that a finished run kept."""
    path = folder / "weights" / f"epoch-{epoch:05d}.pt"
    state: dict[str, torch.Tensor] = torch.load(path, map_location=device, weights_only=True)
    return state


def forget_earlier(path: Path) -> None:
    """Remove the checkpoint before the last one, once the run is finished."""
    _before(path).unlink(missing_ok=True)


def _undamaged(path: Path) -> str | None:
    """Return the checksum of a checkpoint; None if it is damaged, by that or, if it is lost, by those within it."""
    digests = {digest for name, digest in checksums.known(path.parent) if name == path.name}
    digest = checksums.sha256(path)
    return digest if digest in digests or (not digests and _is_whole(path)) else None


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, OSError):
        return False


def _before(path: Path) -> Path:
    return path.with_name(f"{path.stem}-before{path.suffix}")


def _link(path: Path, link: Path) -> None:
    """Hard-link a file to a second name, which keeps it when the first name gets another file."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links: then the old one lives until the new one is in its place
        return
    temporary.replace(link)
