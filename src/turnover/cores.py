"""Independent pieces of work side by side on the cores of a CPU, one thread to a piece.

Threads that share one small matrix product wait for each other and for each other's caches; threads with a product
each do not. PyTorch lets go of Python's lock while it computes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")


def one_a_core(work: Callable[[Piece], object], pieces: Sequence[Piece]) -> None:
    """Call `work` on every piece, on as many at once as PyTorch has threads; within a call it has one.

    For work on the CPU: the modes of the calling thread (autocast, fake tensors, inference) do not hold inside.

    Raises:
        BaseException: what `work` raises on the first piece, in their order, on which it does, when those that others
            are working on are done; no more are begun.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for piece in pieces:
            work(piece)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, pieces))
    finally:
        torch.set_num_threads(threads)  # part of what a thread of the pool sets holds for all
