"""The likelihood ratio attack against SciPy's normal densities fitted in loops, and against what it must find."""

import itertools
import math

import ensemble_oracles as oracles
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from turnover.estimators.membership import log_likelihood_ratios, membership, share_above, threshold


def halves(networks: int, examples: int, seed: int = 0, least: int = 3) -> Tensor:
    """On every example at least so many networks were trained, and as many were not."""
    generator = torch.Generator().manual_seed(seed)
    included = torch.zeros(networks, examples, dtype=torch.bool)
    for example in range(examples):
        inside = int(torch.randint(least, networks - least + 1, (), generator=generator))
        included[torch.randperm(networks, generator=generator)[:inside], example] = True
    return included


def confidences(networks: int, examples: int, spread: float = 1.0, seed: int = 0) -> Tensor:
    """Of every example another mean and another variance."""
    generator = torch.Generator().manual_seed(seed + 1)
    noise = torch.randn(networks, examples, generator=generator, dtype=torch.float64)
    mean, scale = torch.randn(2, examples, generator=generator, dtype=torch.float64)
    return 5 * mean + spread * (0.5 + scale.abs()) * noise


def true_positive_rate(
    ratios: Tensor, included: Tensor, false_positive_rate: float, among: Tensor | None = None
) -> Tensor:
    """Of some examples, at the threshold of all."""
    limit = threshold(ratios, included, false_positive_rate)
    some = torch.arange(ratios.shape[1]) if among is None else among
    return share_above(ratios[:, some], included[:, some], limit)


def oracle(phi: Tensor, included: Tensor, *, enough: float = 32) -> np.ndarray:
    return oracles.log_likelihood_ratios(phi.tolist(), included.tolist(), enough=enough)


@settings(max_examples=20)
@given(st.integers(6, 11), st.integers(1, 6), st.floats(0.01, 10), st.integers(0, 2**31))
def test_few_networks_share_one_variance(networks: int, examples: int, spread: float, seed: int) -> None:
    phi, included = confidences(networks, examples, spread, seed), halves(networks, examples, seed)
    found = log_likelihood_ratios(phi, included)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), oracle(phi, included), rtol=1e-8, atol=1e-8)


def test_32_networks_of_either_kind_give_an_example_its_own_variance() -> None:
    included = torch.arange(65)[:, None] < torch.tensor([32, 31, 33, 34])  # so many with, and 33, 34, 32, 31 without
    phi = confidences(65, 4)
    found = log_likelihood_ratios(phi, included).numpy()
    np.testing.assert_allclose(found, oracle(phi, included), rtol=1e-8, atol=1e-8)
    own, shared = (oracle(phi, included, enough=enough) for enough in (0, math.inf))
    for example, expected, other in ((0, own, shared), (1, shared, own), (2, own, shared), (3, shared, own)):
        np.testing.assert_allclose(found[:, example], expected[:, example], rtol=1e-8, atol=1e-8)
        assert not np.allclose(found[:, example], other[:, example])


def test_by_hand() -> None:
    # one example; the first network is judged by 2 and 4 (mean 3, variance 2) and by 0, 1, 2 (mean 1, variance 1)
    phi = torch.tensor([[3.0], [2], [4], [0], [1], [2]])
    included = torch.tensor([[True], [True], [True], [False], [False], [False]])
    found = log_likelihood_ratios(phi, included)[:, 0]
    assert float(found[0]) == pytest.approx(-math.log(2) / 2 + 2**2 / 2, rel=1e-12)
    # the last one by 2, 3, 4 (mean 3, variance 1) and by 0, 1 (mean 1/2, variance 1/2)
    assert float(found[5]) == pytest.approx(-(1**2) / 2 + math.log(0.5) / 2 + 1.5**2, rel=1e-12)


def test_a_network_does_not_judge_itself() -> None:
    phi, included = confidences(8, 3), halves(8, 3)
    moved = phi.clone()
    moved[2, 0] += 1e-3
    a, b = (
        oracles.split(log_likelihood_ratios(each, included)[:, 0].tolist(), included[:, 0].tolist())
        for each in (phi, moved)
    )
    assert a != b
    far = phi.clone()
    far[2] += 1e6  # were its own value among those that the densities are fitted to, it would look usual
    ratios = log_likelihood_ratios(far, included)
    assert float(ratios[2].abs().min()) > 1e6


def test_large_confidences_lose_no_digits() -> None:
    phi, included = confidences(9, 4, spread=1e-3) / 1e3, halves(9, 4)
    expected = log_likelihood_ratios(phi, included)
    far = log_likelihood_ratios(phi + 1024, included)
    torch.testing.assert_close(far, expected, rtol=1e-4, atol=1e-4)


def test_equal_confidences_tell_nothing() -> None:
    phi, included = torch.full((8, 3), 7.0), halves(8, 3)
    assert torch.equal(log_likelihood_ratios(phi, included), torch.zeros(8, 3, dtype=torch.float64))


@pytest.mark.parametrize("networks", [10, 140])
def test_order_of_networks_and_examples_is_of_no_account(networks: int) -> None:
    phi, included = confidences(networks, 5), halves(networks, 5)
    rows, places = torch.randperm(networks), torch.randperm(5)
    expected = log_likelihood_ratios(phi, included)[rows][:, places]
    found = log_likelihood_ratios(phi[rows][:, places], included[rows][:, places])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("networks", [10, 140])
def test_scale_and_origin_of_confidence_are_of_no_account(networks: int) -> None:
    phi, included = confidences(networks, 5), halves(networks, 5)
    expected = log_likelihood_ratios(phi, included)
    torch.testing.assert_close(log_likelihood_ratios(3 * phi - 8, included), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(log_likelihood_ratios(phi, ~included), -expected, rtol=1e-9, atol=1e-9)


def test_examples_with_too_few_networks_spoil_no_others() -> None:
    phi, included = confidences(9, 4), halves(9, 4)
    included[:, 0] = False  # trained on by none
    included[:, 1] = torch.arange(9) == 0  # by one
    found = log_likelihood_ratios(phi, included)
    np.testing.assert_allclose(found.numpy(), oracle(phi, included), rtol=1e-8, atol=1e-8)
    assert found.isnan().sum(0).tolist() == [9, 1, 0, 0]
    known = ~found.isnan()
    positive, negative = (found[part & known].tolist() for part in (included, ~included))
    for rate in (0.0, 0.2, 1.0):
        expected = oracles.true_positive_rate(positive, negative, rate)
        assert float(true_positive_rate(found, included, rate)) == expected


# --- what it finds ---


@pytest.mark.parametrize("networks", [16, 80])
def test_networks_that_were_trained_on_an_example_are_found(networks: int) -> None:
    included = halves(networks, 60, least=networks // 4)
    phi = confidences(networks, 60) + 8.0 * included
    ratios = log_likelihood_ratios(phi, included)
    assert float(ratios[included].median()) > 5
    assert float(ratios[~included].median()) < -5
    assert float(membership(ratios, included).min()) > 5
    assert float(true_positive_rate(ratios, included, 0.01)) > 0.9


@pytest.mark.parametrize("networks", [16, 160])
def test_where_there_is_nothing_to_find_nothing_is_found(networks: int) -> None:
    included = halves(networks, 200, least=networks // 4)
    ratios = log_likelihood_ratios(confidences(networks, 200), included)
    assert abs(float(membership(ratios, included).mean())) < 0.2
    for rate in (0.01, 0.1, 0.5):
        assert float(true_positive_rate(ratios, included, rate)) == pytest.approx(rate, abs=0.03)


def test_membership_by_hand() -> None:
    ratios = torch.tensor([[1.0, 4], [3, 2], [-1, 0], [-2, 8]])
    included = torch.tensor([[True, False], [True, True], [False, True], [False, False]])
    assert membership(ratios, included).tolist() == [2 + 1.5, 1 - 6]


# --- at a given share of false alarms ---


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])),
)
def test_no_threshold_finds_more_with_as_many_false_alarms(
    positive: list[int], negative: list[int], rate: float
) -> None:
    values = torch.tensor([*positive, *negative], dtype=torch.float64)[:, None]
    included = torch.tensor([True] * len(positive) + [False] * len(negative))[:, None]
    found = float(true_positive_rate(values, included, rate))
    assert found == pytest.approx(oracles.true_positive_rate(positive, negative, rate), abs=1e-12)


def test_some_examples_are_counted_at_the_threshold_of_all() -> None:
    torch.manual_seed(0)
    ratios, included = torch.randn(9, 6), halves(9, 6)
    negative = sorted(ratios[~included].tolist(), reverse=True)
    limit = negative[math.floor(0.2 * len(negative))]
    for some in ([0, 1, 2], [5], list(range(6))):
        above = [float(ratios[k, i]) > limit for k, i in itertools.product(range(9), some) if included[k, i]]
        assert float(true_positive_rate(ratios, included, 0.2, torch.tensor(some))) == pytest.approx(np.mean(above))
