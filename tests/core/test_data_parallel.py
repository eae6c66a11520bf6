"""Data-parallel training: masks follow global ids, so that two processes train what one would."""

from pathlib import Path

import torch
from data_parallel_worker import join, train
from processes import ended, start


def test_two_processes_train_the_network_of_one(tmp_path: Path) -> None:
    both = [start(join, rank, str(tmp_path / "store"), str(tmp_path / "two.pt")) for rank in (0, 1)]
    assert [ended(one) for one in both] == [0, 0]
    train(str(tmp_path / "one.pt"), 0, 1)
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    for name in one:
        assert (one[name] - two[name]).abs().max() <= 1e-6, name
    torch.manual_seed(1)
    assert (one["1.weight"] - torch.nn.Linear(30, 64).weight).abs().max() > 0.01  # it learnt something
