"""Statistics of repeated draws, against NumPy, SciPy, scikit-learn and the same values written out."""

from collections.abc import Callable

import numpy as np
import oracles
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from turnover.stats.measures import Statistic, auroc, median, share_among, skewness, top_share


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def once(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values), dtype=np.int64)


def samples(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Values and how often each was drawn: at least one at least once."""
    pairs = st.lists(st.tuples(values, st.integers(0, 5)), min_size=1, max_size=40)
    some = pairs.filter(lambda drawn: any(count for _, count in drawn))
    return some.map(lambda drawn: (np.array([v for v, _ in drawn]), np.array([c for _, c in drawn])))


any_value = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda value: round(value, 4))
tied_value = st.integers(-3, 3).map(float)

KINDS: dict[str, Callable[[np.ndarray], Statistic]] = {
    "median": median,
    "skewness": skewness,
    "top_share": top_share,
    "share_among": lambda values: share_among(values, np.arange(len(values)) % 2 == 0),
    "auroc": lambda values: auroc(values, np.arange(len(values)) % 2 == 0),
}


# --- every example once ---


@pytest.mark.parametrize("n", [3, 10, 1001])
def test_skewness_is_that_of_scipy(n: int) -> None:
    values = generator().exponential(size=n) - 0.3
    assert skewness(values)(once(values)) == pytest.approx(scipy.stats.skew(values), rel=1e-12)


# --- examples drawn several times are those examples written out ---


@given(samples(any_value | tied_value))
def test_median_of_counts(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, counts = drawn
    assert median(values)(counts) == np.median(np.repeat(values, counts))


@given(samples(tied_value | any_value))
def test_skewness_of_counts(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, counts = drawn
    expected = oracles.skewness(np.repeat(values, counts))
    assert skewness(values)(counts) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(samples(any_value | tied_value), st.integers(1, 10))
def test_top_share_of_counts(drawn: tuple[np.ndarray, np.ndarray], tenths: int) -> None:
    values, counts = drawn
    expected = oracles.top_share(np.repeat(values, counts), tenths)
    assert top_share(values, tenths / 10)(counts) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(samples(any_value | tied_value), st.integers(0, 2**32 - 1))
def test_share_among_of_counts(drawn: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    values, counts = drawn
    among = np.random.default_rng(seed).random(len(values)) < 0.5
    expected = oracles.share_among(np.repeat(values, counts).tolist(), np.repeat(among, counts).tolist())
    assert share_among(values, among)(counts) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(samples(any_value | tied_value), st.integers(0, 2**32 - 1))
def test_auroc_of_counts(drawn: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    values, counts = drawn
    positive = np.random.default_rng(seed).random(len(values)) < 0.5
    labels, scores = np.repeat(positive, counts), np.repeat(values, counts)
    expected = roc_auc_score(labels, scores) if 0 < labels.sum() < len(labels) else 0.5
    assert auroc(values, positive)(counts) == pytest.approx(expected, abs=1e-12)


@given(samples(any_value), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", ["median", "skewness", "top_share"])
def test_the_order_of_the_examples_does_not_matter(kind: str, drawn: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    values, counts = drawn
    order = np.random.default_rng(seed).permutation(len(values))
    before, after = KINDS[kind](values)(counts), KINDS[kind](values[order])(counts[order])
    assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_scores_are_summed_in_double_precision(kind: str) -> None:
    scores = generator().exponential(size=100_000).astype(np.float32)
    counts = generator().integers(0, 4, size=len(scores))
    assert KINDS[kind](scores)(counts) == pytest.approx(KINDS[kind](scores.astype(np.float64))(counts), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_statistic_can_be_used_again_and_changes_nothing(kind: str) -> None:
    values, counts = generator().normal(size=50), generator().integers(0, 4, size=50)
    kept = values.copy(), counts.copy()
    statistic = KINDS[kind](values)
    assert statistic(counts) == statistic(counts)
    assert np.array_equal(values, kept[0])
    assert np.array_equal(counts, kept[1])


# --- constants, ties and empty classes ---


CONSTANTS = [0.0, 0.1, -0.1, 1 / 3, 1e-3, 2.5, 1e6]


@pytest.mark.parametrize("value", CONSTANTS)
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_values_have_that_median_and_no_order(value: float, n: int) -> None:
    values, counts = np.full(n, value), np.arange(n) % 3 + 1
    assert median(values)(counts) == value
    assert auroc(values, np.arange(n) % 2 == 0)(counts) == 0.5


@pytest.mark.parametrize("value", CONSTANTS)
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_values_have_no_skewness(value: float, n: int) -> None:
    values = np.full(n, value)
    assert skewness(values)(once(values)) == 0.0
    assert skewness(values)(np.arange(n) % 3 + 1) == 0.0
    more = np.append(values, value + 1)  # and neither has the sample in which the other value was not drawn
    assert skewness(more)(np.append(np.arange(n) % 3 + 1, 0)) == 0.0


@pytest.mark.parametrize("value", CONSTANTS)
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_of_equal_values_the_top_holds_its_share(value: float, n: int) -> None:
    values, counts = np.full(n, value), np.arange(n) % 3 + 1
    kept = -(-counts.sum() // 10)
    assert top_share(values)(counts) == pytest.approx(kept / counts.sum() if value > 0 else 0.0, rel=1e-9)
