"""Memorization and influence by networks trained on random parts: parts, tables by hand, loops over networks."""

import math

import ensemble_oracles as oracles
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from turnover.estimators.subsampling import influence, memorization, random_parts, with_and_without

# --- parts ---


@given(st.integers(1, 6), st.integers(2, 40), st.floats(0.05, 0.95), st.integers(0, 2**63 - 1), st.integers(0, 2**31))
def test_every_part_has_exactly_its_size(networks: int, examples: int, fraction: float, seed: int, first: int) -> None:
    included = random_parts(networks, examples, fraction, seed, first)
    assert included.shape == (networks, examples)
    assert included.dtype == torch.bool
    assert included.sum(1).tolist() == [round(fraction * examples)] * networks


def test_more_networks_change_no_earlier_part() -> None:
    many = random_parts(9, 50, 0.7, 3)
    assert torch.equal(random_parts(4, 50, 0.7, 3), many[:4])
    assert torch.equal(random_parts(5, 50, 0.7, 3, first=4), many[4:])


def test_parts_differ_between_networks_seeds_and_numbers() -> None:
    parts = [*random_parts(4, 50, 0.5, 3), *random_parts(4, 50, 0.5, 4), *random_parts(4, 50, 0.5, 3, first=4)]
    assert len({tuple(part.tolist()) for part in parts}) == 12


def test_every_example_is_as_likely_as_any_other() -> None:
    times = random_parts(1000, 40, 0.3, 0).sum(0).double()
    assert float((times - 300).abs().max()) < 4 * math.sqrt(1000 * 0.3 * 0.7)


def test_an_example_tells_nothing_of_another_nor_a_network_of_the_next() -> None:
    included = random_parts(400, 40, 0.5, 0).double() - 0.5
    of_examples, of_networks = torch.corrcoef(included.T), torch.corrcoef(included)
    for found, count in ((of_examples, 400), (of_networks, 40)):
        pairs = found[~torch.eye(len(found), dtype=torch.bool)]
        assert float(pairs.abs().max()) < 5.5 / math.sqrt(count)


def test_no_global_random_numbers_are_drawn() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = random_parts(3, 20, 0.5, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    assert torch.equal(random_parts(3, 20, 0.5, 1), first)


# --- tables worked out by hand ---


# columns: in the first two networks; in the first alone; in all; in none
def equal(found: Tensor, expected: list[float]) -> None:
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found.numpy(), np.array(expected))


# --- loops ---


@st.composite
def ensembles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and whether they are right, of some networks and examples, and what the networks were trained on."""
    networks, examples = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    values = draw(arrays(np.float64, (networks, examples), elements=st.floats(-30, 30)))
    right, included = (draw(arrays(np.bool_, (networks, examples))) for _ in range(2))
    return values, right, included


def close(found: Tensor, expected: list[float] | list[list[float]]) -> None:
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=0, atol=1e-10)


@given(ensembles())
def test_means_from_the_definition(given: tuple[np.ndarray, ...]) -> None:
    values, right, included = map(torch.from_numpy, given)
    for each in (values, right):
        expected = oracles.with_and_without(each.tolist(), included.tolist())
        for found, wanted in zip(with_and_without(each, included), expected, strict=True):
            close(found, wanted)
    close(memorization(right, included), oracles.memorization(right.tolist(), included.tolist()))


@given(ensembles(), st.integers(1, 5))
def test_one_matrix_product_gives_every_pair(given: tuple[np.ndarray, ...], others: int) -> None:
    _, right, included = map(torch.from_numpy, given)
    of_others = right[:, torch.arange(others) % right.shape[1]] ^ (torch.arange(len(right)) % 2 == 1)[:, None]
    found = influence(of_others, included)
    assert found.shape == (others, included.shape[1])
    close(found, oracles.influence(of_others.tolist(), included.tolist()))


@given(ensembles())
def test_influence_on_itself_is_memorization(given: tuple[np.ndarray, ...]) -> None:
    _, right, included = map(torch.from_numpy, given)
    close(influence(right, included).diagonal(), memorization(right, included).tolist())


@given(ensembles(), st.randoms(use_true_random=False))
def test_order_of_networks_and_examples_is_of_no_account(given: tuple[np.ndarray, ...], random: object) -> None:
    values, right, included = map(torch.from_numpy, given)
    rows, places = (torch.from_numpy(np.random.default_rng(0).permutation(size)) for size in values.shape)
    before, after = (
        with_and_without(values, included),
        with_and_without(values[rows][:, places], included[rows][:, places]),
    )
    for one, other in zip(before, after, strict=True):
        close(other, one[places].tolist())
    expected = influence(right, included)[places][:, places]
    close(influence(right[rows][:, places], included[rows][:, places]), expected.tolist())


def test_low_precision_blurs_no_means() -> None:
    torch.manual_seed(0)
    values = torch.randn(300, 4).half()
    included = torch.rand(300, 4) < 0.5
    with_it, _ = with_and_without(values, included)
    close(with_it, oracles.with_and_without(values.tolist(), included.tolist())[0])


def test_a_network_that_learns_by_heart_has_a_memorization_of_one() -> None:
    included = random_parts(200, 20, 0.5, 0)
    equal(memorization(included, included), [1.0] * 20)
    equal(memorization(torch.ones_like(included), included), [0.0] * 20)
    equal(memorization(~included, included), [-1.0] * 20)
    found = influence(included, included)
    off = found[~torch.eye(20, dtype=torch.bool)]
    # half of the examples without replacement: where i is, each of the 19 others is a little less likely
    assert float(off.mean()) == pytest.approx(-1 / 19, abs=0.01)
