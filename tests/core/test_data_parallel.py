"""Data-parallel training, and scores whose networks are shared: two processes train what one would."""

from pathlib import Path

import pytest
import torch
from data_parallel_worker import data, join, noisy, score, train
from processes import ended, start

import turnover
from turnover.errors import RefusedInput


def test_two_processes_train_the_network_of_one(tmp_path: Path) -> None:
    both = [start(join, rank, str(tmp_path / "store"), str(tmp_path / "two.pt")) for rank in (0, 1)]
    assert [ended(one) for one in both] == [0, 0]
    train(str(tmp_path / "one.pt"), 0, 1)
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    for name in one:
        assert (one[name] - two[name]).abs().max() <= 1e-6, name
    torch.manual_seed(1)
    assert (one["1.weight"] - torch.nn.Linear(30, 64).weight).abs().max() > 0.01  # it learnt something


def test_two_processes_share_seeds_and_networks_and_each_has_the_table_of_one(tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    two.mkdir()
    one.mkdir()
    both = [start(join, rank, str(tmp_path / "store"), str(two), "score") for rank in (0, 1)]
    assert [ended(each) for each in both] == [0, 0]
    score(str(one), 0, distributed=False)
    written = sorted(path.name for path in one.iterdir())
    assert written == ["blocks-0.parquet", "cumulative_loss-0.parquet", "stacks-0.parquet", "turnover-0.parquet"]
    for name in written:
        alone = (one / name).read_bytes()
        assert (two / name).read_bytes() == alone
        assert (two / name.replace("-0", "-1")).read_bytes() == alone


def test_processes_with_other_data_are_refused_and_fail_together_and_one_may_work_alone(tmp_path: Path) -> None:
    both = [start(join, rank, str(tmp_path / "store"), str(tmp_path), "refused") for rank in (0, 1)]
    assert [ended(each) for each in both] == [0, 0]


def test_without_processes_sharing_is_refused() -> None:
    with pytest.raises(RefusedInput, match="init_process_group"):
        turnover.memorization(noisy, *data(), epochs=1, lr=0.1, distributed=True)
