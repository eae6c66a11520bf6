"""Independent pieces of work side by side on the cores of a CPU, one thread to a piece.

Threads that share one small matrix product wait for each other and for each other's caches; threads with a product
each do not. PyTorch lets go of Python's lock while it computes.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

import torch

Piece = TypeVar("Piece")


def one_a_core(work: Callable[[Piece, Event], object], pieces: Sequence[Piece]) -> None:
    """Call `work` on every piece, on as many at once as PyTorch has threads; each call then has one of them.

    Its event is set when one of the calls failed or the caller was interrupted: `work` should return then.
    Calls run in threads of their own, in which of the caller's modes only inference mode holds. A thread that uses
    PyTorch for the first time meanwhile, elsewhere in the process, has one thread for good.

    Raises:
        BaseException: what `work` raised on the first piece, in their order, on which it did; no call runs any more.
    """
    over, threads, inference = Event(), torch.get_num_threads(), torch.is_inference_mode_enabled()
    if threads == 1 or len(pieces) == 1 or _bound():
        for piece in pieces:
            work(piece, over)
        return

    def call(piece: Piece) -> None:
        with torch.inference_mode(inference):
            if not over.is_set():
                work(piece, over)

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                futures = [pool.submit(call, piece) for piece in pieces]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                over.set()
    finally:
        torch.set_num_threads(threads)  # part of what a thread of the pool sets holds for all
    for future in futures:
        future.result()


def _bound() -> bool:
    """Return True if OpenMP has bound this thread, and all that it starts, to one core (OMP_PROC_BIND)."""
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
