"""Independent pieces of work on the cores of a CPU."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from turnover.cores import one_a_core


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_piece_is_worked_on_once_by_one_thread(threads: int, count: int) -> None:
    seen: list[tuple[int, int]] = []
    one_a_core(lambda piece: seen.append((piece, torch.get_num_threads())), range(count))
    assert sorted(seen) == [(piece, 1) for piece in range(count)]
    assert torch.get_num_threads() == threads


def test_as_many_pieces_are_worked_on_at_once_as_there_are_threads(threads: int) -> None:
    together = threading.Barrier(threads, timeout=30)  # broken unless so many wait for each other
    one_a_core(lambda piece: together.wait(), range(2 * threads))


def test_the_first_error_is_raised_when_nothing_runs_any_more(threads: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def fail(piece: int) -> None:
        begun.append(piece)
        if piece in (1, 2):
            raise ValueError(f"piece {piece}")
        time.sleep(0.05)
        ended.append(piece)

    with pytest.raises(ValueError, match="piece 1"):
        one_a_core(fail, range(100))
    assert set(begun) <= {*ended, 1, 2}, "raised before others were ended"
    assert len(begun) < 20, "the rest is not begun"
    assert torch.get_num_threads() == threads


def test_a_request_to_stop_reaches_the_caller(threads: int) -> None:
    def stop(piece: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_a_core(stop, range(4))
