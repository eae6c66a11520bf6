"""Work that several processes share: all is made once, in order, by turns, and about as much by each."""

from itertools import chain
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from turnover.common import ranks
from turnover.common.ranks import at_most, in_turns, refuse_different
from turnover.errors import RefusedInput


def of(patch: pytest.MonkeyPatch, processes: int, rank: int) -> None:
    patch.setattr(ranks, "processes", lambda: processes)
    patch.setattr(ranks, "rank", lambda: rank)


@given(st.integers(0, 9), st.integers(2, 4))
def test_each_process_makes_its_share_and_has_all_in_order(count: int, processes: int) -> None:
    items = list(range(count))
    made: list[list[int]] = []
    for rank in range(processes):
        mine: list[int] = []

        def make(item: int, mine: list[int] = mine) -> int:
            mine.append(item)
            return item**2

        def gather(
            everyone: list[Any], sent: tuple[int | None, None], rank: int = rank, mine: list[int] = mine
        ) -> None:
            turn = items[(len(mine) - (sent[0] is not None)) * processes :][:processes]
            assert sent == (turn[rank] ** 2 if rank < len(turn) else None, None)
            everyone[:] = [(item**2, None) for item in turn] + [(None, None)] * (processes - len(turn))

        with pytest.MonkeyPatch.context() as patch:
            of(patch, processes, rank)
            patch.setattr(dist, "all_gather_object", gather)
            assert list(in_turns(items, make)) == [item**2 for item in items]
        made.append(mine)
    assert sorted(chain(*made)) == items
    assert max(map(len, made)) - min(map(len, made)) <= 1


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(8)[::2], torch.ones(3, 2, dtype=torch.bfloat16)[:, :1], torch.tensor(2.0), torch.empty(0, 3)],
)
def test_other_numbers_are_refused_in_whatever_layout(tensor: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, 2, 0)
    sent: list[str] = []

    def gather(everyone: list[str], mine: str) -> None:
        sent.append(mine)
        everyone[:] = [mine, sent[0]]

    monkeypatch.setattr(dist, "all_gather_object", gather)
    refuse_different("options", [tensor, "no tensor"])
    refuse_different("options", [tensor.clone(memory_format=torch.contiguous_format)])
    for options, tensors in (("others", [tensor]), ("options", [tensor, torch.ones(1)])):
        with pytest.raises(RefusedInput, match="give all of them the same"):
            refuse_different(options, tensors)


def test_one_process_makes_everything() -> None:
    assert list(in_turns([1, 2], str)) == ["1", "2"]
    assert at_most(44, 16) == 16


@given(st.integers(1, 200), st.integers(1, 20), st.integers(2, 8))
def test_no_process_waits_for_more_than_one_share(count: int, most: int, processes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        of(patch, processes, 0)
        share = at_most(count, most)
    assert 1 <= share <= most
    shares = -(-count // share)
    assert -(-shares // processes) == -(-count // (most * processes))  # no more turns than with the largest shares
