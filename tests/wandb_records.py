"""Offline runs of wandb in tests: how they are made, and read back by wandb's own tool."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from digits import changed, digits

from turnover.config.options import NoLogger, WandbLogger
from turnover.config.run import RunConfig

EPOCHS = 2
OFFLINE = WandbLogger(name="wandb", mode="offline", project="turnover", entity=None, checkpoints="reference")
NONE = NoLogger(name="none")
Records = list[dict[str, Any]]


def small(logger: WandbLogger | NoLogger, *overrides: str, entry: str = "score") -> RunConfig:
    """A score run of about a second, with wrong labels, scored after each of its epochs."""
    scored = ["corruption=labels", "corruption.count=300", "estimator.epochs=[1]"] if entry == "score" else []
    config = digits(f"epochs={EPOCHS}", *scored, *overrides, entry=entry)
    return changed(config, logger=logger.model_dump(), experiment="fig99")


def set_up(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """wandb on, its caches and the outputs in `folder`."""
    patch.delenv("WANDB_MODE", raising=False)
    patch.delenv("WANDB_DATA_DIR", raising=False)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        patch.setenv(name, str(folder / "home"))
    patch.setenv("TURNOVER_OUTPUTS", str(folder / "outputs"))


def alone(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """`set_up` for the length of a test, after which no run is left open."""
    import wandb

    set_up(patch, folder)
    yield
    patch.undo()
    if wandb.run is not None:
        wandb.finish()


def offline_runs(folder: Path) -> list[Path]:
    """The offline runs below `folder`/wandb, the oldest first."""
    return sorted((folder / "wandb").glob("offline-run-*"))


def read(offline_run: Path) -> Records:
    """Every record of an offline run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline_run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def records(folder: Path) -> Records:
    """Every record of the one offline run below `folder`/wandb."""
    [found] = offline_runs(folder)
    return read(found)


def of_kind(found: Records, kind: str) -> Records:
    """What the records of one kind say."""
    return [record[kind] for record in found if record["type"] == kind]


def history(found: Records) -> Records:
    """What was logged, call by call."""
    return [record["item"] for record in of_kind(found, "history")]


def summary(found: Records) -> dict[str, Any]:
    """The summary as it is in the end."""
    values: dict[str, Any] = {}
    for record in of_kind(found, "summary"):
        values |= record.get("update", {})
    return values


def logged_table(offline_run: Path, found: Records, name: str) -> dict[str, Any]:
    """A table as wandb has written it: its columns and rows."""
    [path] = {item[f"{name}.path"] for item in history(found) if f"{name}.path" in item}
    return dict(json.loads((offline_run / "files" / path).read_text(encoding="utf-8")))
