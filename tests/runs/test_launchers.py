"""Sweeps whose runs are done by other processes: the plan, a table of what became of them, one message."""

import multiprocessing
import re
from pathlib import Path

import pytest
import torch
from test_cli import SMALL, invoke

from turnover.common.device import resolve


def test_runs_side_by_side_with_one_that_fails(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    small = [*SMALL, "model.hidden=[16]", "dataset.limit=100", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = invoke(tmp_path, "score.py", "-m", *small, "seed=0,2", "optimizer.lr=0.1,1e30", fresh=True)
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    assert "4 runs: 0 cached, 4 to do" in done.err
    assert "in all, one after another" not in done.err
    assert "4 runs: 2 done, 2 failed" in done.err
    assert len(re.findall(r"failed: score-digits-mlp-\w+: RunFailed: the loss became", done.err)) == 2
    for log in re.findall(r"log: (.*)", done.err):
        assert "the loss became" in Path(log).read_text()


def test_a_sweep_of_this_process_ends_with_a_table(tmp_path: Path) -> None:
    small = [*SMALL, "model.hidden=[16]", "dataset.limit=100"]
    done = invoke(tmp_path, "score.py", "-m", *small, "seed=0,1", "optimizer.lr=0.1,1e30")
    assert done.code == 3, done.err
    assert "4 runs: 2 done, 2 failed" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("name", "index"), [("MainProcess", 0), ("LokyProcess-1", 0), ("LokyProcess-6", 1)])
def test_processes_of_a_sweep_take_one_gpu_after_another(
    name: str, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(multiprocessing.current_process(), "name", name)
    assert resolve("auto") == torch.device("cuda", index)
    assert resolve("cuda:3") == torch.device("cuda:3")
