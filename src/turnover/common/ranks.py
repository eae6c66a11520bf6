"""Work shared by the processes of torch.distributed, for example under torchrun, where it is asked for."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from turnover.errors import RefusedInput

Item = TypeVar("Item")
Made = TypeVar("Made")
_SHARED: ContextVar[bool] = ContextVar("shared", default=False)


def _begun() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def shared(wanted: bool) -> Iterator[None]:
    """Let `in_turns` share work inside of the block, which all processes must enter; if not wanted, each works alone.

    Raises:
        RefusedInput: no process group was begun.
    """
    if wanted and not _begun():
        raise RefusedInput(
            "distributed = True: there is no process group: call torch.distributed.init_process_group('gloo') in every "
            "process, under torchrun, or leave distributed out"
        )
    token = _SHARED.set(wanted)
    try:
        yield
    finally:
        _SHARED.reset(token)


def processes() -> int:
    """Return how many processes share the work, 1 outside of `shared`."""
    return dist.get_world_size() if _SHARED.get() else 1


def rank() -> int:
    """Return the number of this process, from 0, in its process group; 0 without one."""
    return dist.get_rank() if _begun() else 0


def refuse_different(options: str, tensors: Iterable[Any]) -> None:
    """Refuse processes that were given other options or tensors than this one; what is no tensor is not compared."""
    if processes() == 1:
        return
    found = hashlib.sha256(options.encode())
    for tensor in (each for each in tensors if isinstance(each, Tensor)):  # a network's extra state is anything
        found.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    digests: list[Any] = [None] * processes()
    dist.all_gather_object(digests, found.hexdigest())
    if len(set(digests)) > 1:
        raise RefusedInput(
            "distributed = True: processes were given different networks, data or options; give all of them the same, "
            "they share the work and not the data"
        )


def at_most(count: int, most: int) -> int:
    """Return how many of `count` things a process takes at once, so that all processes have about as much to do."""
    if processes() == 1:
        return most
    turns = math.ceil(count / (most * processes()))
    return math.ceil(count / (turns * processes()))


def in_turns(items: Sequence[Item], make: Callable[[Item], Made]) -> Iterator[Made]:
    """Yield make(item) of all items in their order, in every process; of several processes each makes its share.

    After every turn, in which each makes one, they send each other what they made: so no more is in memory at once
    than one for each process. It must be on the CPU, and items and order the same in all processes. An error of one
    is raised in all.
    """
    if processes() == 1:
        yield from map(make, items)
        return
    for first in range(0, len(items), processes()):
        turn = items[first : first + processes()]
        sent: tuple[Any, Exception | None] = (None, None)
        try:
            sent = (make(turn[rank()]) if rank() < len(turn) else None, None)
        except Exception as error:  # or the others would wait for ever
            sent = (None, error)
        received: list[Any] = [None] * processes()
        dist.all_gather_object(received, sent)
        if failed := next((error for _, error in received if error is not None), None):
            raise failed
        yield from (made for made, _ in received[: len(turn)])
