"""Independent pieces of work on the cores of a CPU."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from turnover.common.matmul import one_a_core


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    with at(request.param):
        yield request.param


@pytest.mark.parametrize("count", [0, 2, 7])
def test_every_piece_is_worked_on_once_by_one_thread(threads: int, count: int) -> None:
    seen: list[tuple[int, int]] = []
    one_a_core(lambda piece, over: seen.append((piece, torch.get_num_threads())), range(count))
    assert sorted(seen) == [(piece, 1) for piece in range(count)]
    assert torch.get_num_threads() == threads


def test_a_single_piece_has_all_threads_and_the_modes_of_the_caller(threads: int) -> None:
    seen: list[tuple[int, bool]] = []
    with torch.no_grad():
        one_a_core(lambda piece, over: seen.append((torch.get_num_threads(), torch.is_grad_enabled())), [0])
    assert seen == [(threads, False)]


@pytest.mark.parametrize("enabled", [False, True])
def test_inference_mode_holds_inside(threads: int, enabled: bool) -> None:
    seen: list[bool] = []
    with torch.inference_mode(enabled):
        one_a_core(lambda piece, over: seen.append(torch.is_inference_mode_enabled()), range(3))
    assert seen == [enabled] * 3


def test_as_many_pieces_are_worked_on_at_once_as_there_are_threads(threads: int) -> None:
    together = threading.Barrier(threads, timeout=30)  # broken unless so many wait for each other
    one_a_core(lambda piece, over: together.wait(), range(2 * threads))


def test_an_error_ends_the_others_and_is_raised_when_nothing_runs_any_more() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def fail(piece: int, over: threading.Event) -> None:
        begun.append(piece)
        if piece == 1:
            raise ValueError("piece 1")
        assert over.wait(30), "told that it is no use"
        ended.append(piece)

    with at(2), pytest.raises(ValueError, match="piece 1"):
        one_a_core(fail, range(100))
    assert begun in ([0, 1], [1, 0])
    assert ended == [0]


def test_without_threads_an_error_is_raised_at_once() -> None:
    begun: list[int] = []

    def fail(piece: int, over: threading.Event) -> None:
        begun.append(piece)
        raise ValueError("piece")

    with at(1), pytest.raises(ValueError, match="piece"):
        one_a_core(fail, range(4))
    assert begun == [0]


def test_an_interrupted_caller_ends_all_calls() -> None:
    """Ctrl-C reaches the main thread, which waits."""
    ended: list[int] = []

    def work(piece: int, over: threading.Event) -> None:
        if piece == 0:
            time.sleep(0.3)  # until it waits
            os.kill(os.getpid(), signal.SIGINT)
        assert over.wait(30), "told that it is no use"
        ended.append(piece)

    with at(2), pytest.raises(KeyboardInterrupt):
        one_a_core(work, range(6))
    assert sorted(ended) == [0, 1]
    assert torch.get_num_threads() == 1


def test_threads_that_openmp_would_bind_to_one_core_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    seen: list[tuple[int, str]] = []
    with at(2):
        one_a_core(lambda piece, over: seen.append((torch.get_num_threads(), threading.current_thread().name)), [0, 1])
    assert seen == [(2, threading.main_thread().name)] * 2


@contextmanager
def at(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
