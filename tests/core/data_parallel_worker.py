"""One of the processes of `test_data_parallel.py`: trains on its share of every batch, the first one saves."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

import turnover
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


def join(rank: int, store: str, path: str) -> None:
    """Be one of two processes, which find each other by a file."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    train(path, rank, 2)
    dist.barrier()  # a process that ends while the other still talks to it would make it fail
    dist.destroy_process_group()
