"""C-scores by hand and by loops over fractions, networks and examples."""

import math

import ensemble_oracles as oracles
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from turnover.estimators.subsampling import inconsistency, with_and_without

# Fraction 0.2 has networks 0 and 2, fraction 0.6 has networks 1, 3 and 4.
# Example 0 is trained on by none; 1 by all of fraction 0.6; 2 by all; 3 by networks 0 and 1.
FRACTION = [0.2, 0.6, 0.2, 0.6, 0.6]
INCLUDED = torch.tensor(
    [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]],
    dtype=torch.bool,
)
RIGHT = torch.tensor(
    [[1, 0, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1]],
    dtype=torch.bool,
)


def test_by_hand() -> None:
    found = inconsistency(RIGHT, INCLUDED, FRACTION)
    assert found.dtype == torch.float64
    # 1/2 and 2/3; 1/2 of the one fraction that can tell; none can; 1 and 1/2
    expected = [1 - (1 / 2 + 2 / 3) / 2, 1 - 1 / 2, math.nan, 1 - (1 + 1 / 2) / 2]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-15)


def test_fractions_count_alike_however_many_networks_they_have() -> None:
    right = torch.tensor([[True]] + [[False]] * 9)
    found = inconsistency(right, torch.zeros_like(right), [0.1] + [0.9] * 9)
    assert found.tolist() == [0.5]


def test_always_and_never_right() -> None:
    included = torch.zeros(5, 3, dtype=torch.bool)
    assert inconsistency(~included, included, FRACTION).tolist() == [0, 0, 0]
    assert inconsistency(included, included, FRACTION).tolist() == [1, 1, 1]


@st.composite
def ensembles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[float]]:
    networks, examples = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    right, included = (draw(arrays(np.bool_, (networks, examples))) for _ in range(2))
    return right, included, draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=networks, max_size=networks))


@given(ensembles())
def test_from_the_definition(given: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    right, included, fraction = torch.from_numpy(given[0]), torch.from_numpy(given[1]), given[2]
    expected = oracles.inconsistency(right.tolist(), included.tolist(), fraction)
    for share in (fraction, torch.tensor(fraction), torch.tensor(fraction, dtype=torch.float64)):
        np.testing.assert_allclose(inconsistency(right, included, share).numpy(), expected, rtol=0, atol=1e-12)
    missing = included.all(0)
    assert torch.equal(inconsistency(right, included, fraction).isnan(), missing), "NaN only if all were trained on it"


@given(ensembles())
def test_order_of_networks_and_examples_is_of_no_account(given: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    right, included, fraction = torch.from_numpy(given[0]), torch.from_numpy(given[1]), torch.tensor(given[2])
    expected = inconsistency(right, included, fraction).flip(0).numpy()
    found = inconsistency(right.flip(0, 1), included.flip(0, 1), fraction.flip(0)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_with_one_fraction_it_is_the_share_of_wrong_networks() -> None:
    found = inconsistency(RIGHT, INCLUDED, [0.3] * 5)
    np.testing.assert_array_equal(found.numpy(), (1 - with_and_without(RIGHT, INCLUDED)[1]).numpy())
