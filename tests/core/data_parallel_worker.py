"""One of the processes of `test_data_parallel.py`: trains its share of every batch, or of networks; the first saves."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

import turnover
from turnover.common import ranks
from turnover.errors import RefusedInput, RunFailed
from turnover.models.mlp import mlp

STEPS, BATCH, EXAMPLES = 20, 32, 128


def train(path: str, rank: int, processes: int) -> None:
    """Each process takes every `processes`-th example of a batch; masks follow the example's id wherever it goes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, 30, generator=generator)
    y = torch.randint(4, (EXAMPLES,), generator=generator)
    torch.manual_seed(1)
    network = turnover.attach(mlp(30, [64, 48], 4), seed=7)
    model = DistributedDataParallel(network) if processes > 1 else network
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        ids = torch.randint(EXAMPLES, (BATCH,), generator=generator)[rank::processes]
        optimizer.zero_grad()
        with turnover.own(model, ids):
            loss = F.cross_entropy(model(x[ids]), y[ids])
        loss.backward()
        optimizer.step()
    if rank == 0:
        torch.save(network.state_dict(), path)


def noisy() -> torch.nn.Module:
    """Return a network that draws random numbers while it is trained."""
    return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 3))


def stacked() -> torch.nn.Module:
    """Return a network of which several are trained at once."""
    return torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(90, 12, generator=generator), torch.randint(3, (90,), generator=generator)


def score(folder: str, rank: int, distributed: bool) -> None:
    """Score by seeds, by networks that are stacked, and by others."""
    x, y = data()
    common: dict[str, Any] = {"epochs": 3, "lr": 0.1, "batch_size": 16, "progress": False, "distributed": distributed}
    tables = {
        "turnover": turnover.memorization(noisy, x, y, seeds=3, **common),
        "cumulative_loss": turnover.memorization(noisy, x, y, seeds=3, predictions=True, estimator="aum", **common),
        "blocks": turnover.memorization(noisy, x, y, estimator="blocks", options={"blocks": 10}, seeds=2, **common),
        "stacks": turnover.memorization(stacked, x, y, estimator="blocks", options={"blocks": 34}, **common),
    }
    for name, table in tables.items():
        table.to_parquet(Path(folder) / f"{name}-{rank}.parquet")


def refused(rank: int) -> None:
    """Be refused with other data than the other process, fail with it, and score alone while it does something else."""
    x, y = data()
    common: dict[str, Any] = {"epochs": 1, "lr": 0.1, "seeds": 2, "batch_size": 16, "progress": False}
    for change in ({"x": x + rank}, {"y": y.roll(rank)}, {"weight_decay": 0.1 * rank}):
        with pytest.raises(RefusedInput, match="give all of them the same"):
            turnover.memorization(noisy, **{"x": x, "y": y, **common, **change}, distributed=True)
    everyone: list[Any] = [None, None]
    with pytest.raises(RunFailed), ranks.shared(True):  # of the first one alone
        list(ranks.in_turns([0, 1], lambda item: fail() if item == 0 else item))
    if rank == 0:
        assert len(turnover.memorization(noisy, x, y, **common)) == 90
    dist.all_gather_object(everyone, rank)
    assert everyone == [0, 1]


def fail() -> None:
    raise RunFailed("a loss is no longer finite")


def join(rank: int, store: str, path: str, job: str = "train") -> None:
    """Be one of two processes, which find each other by a file."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    if job == "train":
        train(path, rank, 2)
    elif job == "score":
        score(path, rank, distributed=True)
    else:
        refused(rank)
    dist.barrier()  # a process that ends while the other still talks to it would make it fail
    dist.destroy_process_group()
