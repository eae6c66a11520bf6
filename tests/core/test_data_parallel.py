"""Data-parallel training: masks follow global ids, so that two processes train what one would."""

import subprocess
import sys
from pathlib import Path

import torch
from data_parallel_worker import train

WORKER = Path(__file__).with_name("data_parallel_worker.py")


def test_two_processes_train_the_network_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(WORKER)]
    ended = subprocess.run([*command, str(tmp_path / "two.pt")], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    train(str(tmp_path / "one.pt"), 0, 1)
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    for name in one:
        assert (one[name] - two[name]).abs().max() <= 1e-6, name
    torch.manual_seed(1)
    assert (one["1.weight"] - torch.nn.Linear(30, 64).weight).abs().max() > 0.01  # it learnt something
