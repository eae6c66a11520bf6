"""Work shared by the processes of torch.distributed, for example under torchrun."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch.distributed as dist

Item = TypeVar("Item")
Made = TypeVar("Made")


def processes() -> int:
    """Return how many processes there are, 1 unless a process group was begun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def at_most(count: int, most: int) -> int:
    """Return how many of `count` things a process takes at once, so that all processes have about as much to do."""
    if processes() == 1:
        return most
    turns = math.ceil(count / (most * processes()))
    return math.ceil(count / (turns * processes()))


def in_turns(items: Sequence[Item], make: Callable[[Item], Made]) -> Iterator[Made]:
    """Yield make(item) of all items in their order, in every process; of several processes each makes its share.

    After every turn, in which each makes one, they send each other what they made: so no more is in memory at once
    than one for each process. It must be on the CPU, and items and order the same in all processes.
    """
    if processes() == 1:
        yield from map(make, items)
        return
    for first in range(0, len(items), processes()):
        turn = items[first : first + processes()]
        made: list[Any] = [None] * processes()
        dist.all_gather_object(made, make(turn[rank()]) if rank() < len(turn) else None)
        yield from made[: len(turn)]
