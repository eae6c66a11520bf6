"""A run that is killed at any moment and started again ends with the same tables and weights, bit for bit."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from digits import digits
from processes import ended, start
from test_signals import RECIPE

from turnover.config.run import RunConfig
from turnover.runs.execute import execute
from turnover.runs.store.run import Run

OVERRIDES = (
    "epochs=60",
    "dataset.limit=600",
    "model.hidden=[256]",
    "corruption.count=150",
    "estimator.epochs=[1,20,40]",
)
# When it is killed: before it begins; while it loads and restores; in an epoch after the given one, some of which write
# scores too; while it writes its tables.
MOMENTS = ("started", "begun", 1, "started", 12, "begun", 20, 39, "begun", 55, "tables")


def work(config: RunConfig, outputs: Path) -> None:
    """Do a run in a process of its own."""
    os.environ["TURNOVER_OUTPUTS"] = str(outputs)
    torch.set_num_threads(1)
    execute(config)


def work_and_die(config: RunConfig, outputs: Path, moment: str | int, starts: int, delay: float) -> None:
    """Do a run in a process of its own that kills itself so many seconds after the moment, however busy others are."""

    def die() -> None:
        manifest, checkpoint = folder / "manifest.json", folder / "checkpoint.pt"
        happened: dict[str | int, Callable[[], bool]] = {
            "started": lambda: True,
            "begun": lambda: modified(manifest) > starts,
            "tables": (folder / "scores.parquet").exists,
        }
        while not (happened[moment]() if isinstance(moment, str) else reached(checkpoint) >= moment):
            time.sleep(0.02)
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    os.environ["TURNOVER_OUTPUTS"] = str(outputs)
    folder = Run(config).folder
    threading.Thread(target=die, daemon=True).start()
    work(config, outputs)


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def reached(checkpoint: Path) -> int:
    """The last epoch after which it was saved."""
    return int(torch.load(checkpoint, weights_only=True)["epoch"]) if checkpoint.exists() else 0


@pytest.mark.parametrize("options", [("optimizer.momentum=0.9",), RECIPE], ids=["sgd", "recipe"])
def test_kills_at_every_stage_change_nothing(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*OVERRIDES, *options)
    expected = execute(config)

    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "killed"))
    run = Run(config)
    manifest, checkpoint = run.folder / "manifest.json", run.folder / "checkpoint.pt"
    dice = random.Random(7)
    epochs = []
    for moment in MOMENTS:
        delay = dice.uniform(0, {"started": 0.3, "begun": 0.1, "tables": 0.0}.get(str(moment), 0.05))
        code = ended(start(work_and_die, config, tmp_path / "killed", moment, modified(manifest), delay))
        if code == 0:
            assert run.finished
            break
        assert code == -signal.SIGKILL
        epochs.append(reached(checkpoint))
    assert len(set(epochs)) > 5, f"the kills hit too few epochs: {epochs}"

    assert ended(start(work, config, tmp_path / "killed")) == 0
    assert run.finished
    for name in ("metrics.parquet", "scores.parquet", "config.yaml"):
        assert (run.folder / name).read_bytes() == (expected / name).read_bytes(), name
    ours, theirs = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (run.folder, expected))
    assert ours["model"].keys() == theirs["model"].keys()
    for key, value in theirs["model"].items():
        assert torch.equal(ours["model"][key], value), key
    for key, state in theirs["optimizer"]["state"].items():
        assert state.keys() & {"momentum_buffer", "exp_avg_sq"}
        for name, value in state.items():
            assert torch.equal(ours["optimizer"]["state"][key][name], value), name
    assert run.manifest["status"] == "finished"
    assert not [path for path in run.folder.rglob(".*") if path.name != ".lock"], "a half-written file was left"
    print(f"killed after epochs {epochs} of {config.epochs}")


def test_two_processes_do_one_run_once(tmp_path: Path) -> None:
    children = [start(work, digits("epochs=20"), tmp_path / "both") for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    (folder,) = (tmp_path / "both" / "runs").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["starts"] == 1
