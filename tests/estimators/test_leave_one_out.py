"""Which examples are left out, and the definition of memorization written as loops."""

import ensemble_oracles as oracles
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from turnover.estimators.subsampling import all_but, left_out, memorization

LABELS = arrays(np.bool_, st.integers(1, 40))


@given(LABELS, st.data())
def test_half_of_them_are_wrong_as_far_as_they_last(labels: np.ndarray, data: st.DataObject) -> None:
    wrong = torch.from_numpy(labels)
    count, seed = data.draw(st.integers(0, len(labels))), data.draw(st.integers(0, 2**63 - 1))
    found = left_out(wrong, count, seed)
    assert found.dtype == torch.int64
    positions = found.tolist()
    assert positions == sorted(set(positions))
    assert len(positions) == count
    assert all(0 <= position < len(labels) for position in positions)
    of_wrong, of_right = int(wrong[found].sum()), int((~wrong[found]).sum())
    if of_wrong < count // 2:
        assert of_wrong == int(wrong.sum()), "all of them"
    if of_right < count - count // 2:
        assert of_right == int((~wrong).sum()), "all of them"
    assert torch.equal(left_out(wrong, count, seed), found)


@pytest.mark.parametrize(
    ("bad", "count", "expected"), [(10, 6, 3), (10, 7, 3), (2, 6, 2), (0, 6, 0), (18, 6, 4), (20, 6, 6)]
)
def test_how_many_are_wrong_by_hand(bad: int, count: int, expected: int) -> None:
    wrong = torch.arange(20) < bad
    assert int(wrong[left_out(wrong, count, 5)].sum()) == expected


def test_another_seed_leaves_out_others() -> None:
    wrong = torch.arange(200) % 3 == 0
    chosen = {tuple(left_out(wrong, 20, seed).tolist()) for seed in range(5)}
    assert len(chosen) == 5


def test_more_are_left_out_without_changing_the_first() -> None:
    wrong = torch.arange(200) % 3 == 0
    few, many = (set(left_out(wrong, count, 0).tolist()) for count in (20, 40))
    assert few < many


def test_any_example_may_be_left_out() -> None:
    wrong = torch.arange(12) % 3 == 0
    seen = torch.cat([left_out(wrong, 4, seed) for seed in range(60)])
    assert sorted(seen.unique().tolist()) == list(range(12))


@given(st.integers(1, 8), st.data())
def test_all_but_one(examples: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, examples - 1), max_size=6))
    found = all_but(torch.tensor(positions, dtype=torch.int64), examples)
    assert found.dtype == torch.bool
    assert found.tolist() == [[place != position for place in range(examples)] for position in positions]


@given(st.integers(2, 5), st.integers(1, 3), st.data())
def test_memorization_is_the_definition(count: int, seeds: int, data: st.DataObject) -> None:
    examples = 7
    positions = torch.tensor(data.draw(st.permutations(range(examples)))[:count]).sort().values
    included = all_but(positions, examples).repeat(seeds, 1)
    right = data.draw(arrays(np.bool_, (seeds * count, examples)))
    found = memorization(torch.from_numpy(right), included)
    expected = oracles.leave_one_out(right.tolist(), positions.repeat(seeds).tolist())
    assert found[positions].tolist() == pytest.approx([expected[place] for place in positions.tolist()], abs=1e-12)
    assert torch.equal(found.isnan(), included.all(0)), "the others have no network without them"


def test_memorization_by_hand() -> None:
    # networks leave out 0, 2, 0, 2 of 3 examples
    included = all_but(torch.tensor([0, 2]), 3).repeat(2, 1)
    right = torch.tensor([[0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.bool)
    np.testing.assert_array_equal(memorization(right, included).numpy(), [1 - 0.5, np.nan, 1 - 0.5])
