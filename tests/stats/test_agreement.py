"""Agreement of scores, against SciPy and against the drawn sample written out, and what follows from its definition."""

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import agreement_oracles as oracles
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from turnover.stats.agreement import (
    bias,
    ceiling,
    interval,
    pearson,
    precision_at_wrong,
    reliability,
    slope,
    spearman,
    split_half,
    tie_bound,
)
from turnover.stats.claims import REPLICATES, bootstrap
from turnover.stats.measures import Statistic

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]  # two values of every example, how often each was drawn


def exactly(expected: float) -> Any:
    """But for the rounding of double precision."""
    return pytest.approx(expected, rel=0.0, abs=1e-12)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def once(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values), dtype=np.int64)


def samples(
    first: st.SearchStrategy[float], second: st.SearchStrategy[float] | None = None, examples: int = 40, times: int = 5
) -> st.SearchStrategy[Drawn]:
    """Pairs of values and how often each pair was drawn: at least one at least once."""
    row = st.tuples(first, first if second is None else second, st.integers(0, times))
    some = st.lists(row, min_size=1, max_size=examples).filter(lambda rows: any(count for _, _, count in rows))

    def columns(rows: list[tuple[float, float, int]]) -> Drawn:
        a, b, counts = map(np.array, zip(*rows, strict=True))
        return a, b, counts

    return some.map(columns)


any_value = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda value: round(value, 4))
tied_value = st.integers(-2, 2).map(float)
value = any_value | tied_value

KINDS: dict[str, Callable[[np.ndarray, np.ndarray], Statistic]] = {
    "pearson": pearson,
    "spearman": spearman,
    "precision_at_wrong": lambda values, others: precision_at_wrong(values, others > 0),
    "split_half": split_half,
}


def repeated(drawn: Drawn) -> tuple[list[float], list[float]]:
    """The sample written out."""
    a, b, counts = drawn
    return np.repeat(a, counts).tolist(), np.repeat(b, counts).tolist()


# --- the sample written out ---


@given(samples(value))
def test_pearson_of_counts(drawn: Drawn) -> None:
    a, b, counts = drawn
    assert pearson(a, b)(counts) == pytest.approx(oracles.pearson(*repeated(drawn)), abs=1e-10)


@given(samples(any_value))
def test_slope_and_bias_of_counts(drawn: Drawn) -> None:
    """Least squares by the values written out; where the estimate is constant no line is drawn."""
    a, b, counts = drawn
    estimate, real = repeated(drawn)
    assert bias(a, b)(counts) == pytest.approx(np.mean(np.subtract(estimate, real)), abs=1e-9)
    expected = 0.0 if len(set(estimate)) == 1 else oracles.slope(estimate, real)
    assert slope(a, b)(counts) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("make", [spearman, pearson])
@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("n", [3, 10, 1001])
def test_correlations_are_those_of_scipy(make: Callable[..., Statistic], decimals: int, n: int) -> None:
    draw = generator(n)
    a = draw.normal(size=n)
    b = np.round(a + draw.standard_t(2, size=n), decimals)
    a = np.round(a, decimals)
    counts = np.bincount(draw.integers(n, size=n), minlength=n)
    counts[:3] += 1  # so that a small sample has a correlation
    theirs = scipy.stats.spearmanr if make is spearman else scipy.stats.pearsonr
    assert make(a, b)(once(a)) == exactly(theirs(a, b)[0])
    assert make(a, b)(counts) == exactly(theirs(np.repeat(a, counts), np.repeat(b, counts))[0])


@given(samples(value) | samples(tied_value) | samples(tied_value, any_value))
def test_spearman_of_counts(drawn: Drawn) -> None:
    a, b, counts = drawn
    x, y = repeated(drawn)
    ours = spearman(a, b)(counts)
    assert ours == exactly(oracles.spearman(x, y))
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert ours == exactly(scipy.stats.spearmanr(x, y)[0])


@given(samples(value, tied_value) | samples(tied_value))
def test_precision_of_counts(drawn: Drawn) -> None:
    values, others, counts = drawn
    x, y = repeated(drawn)
    ours = precision_at_wrong(values, others > 0)(counts)
    assert ours == exactly(oracles.precision_at_wrong(x, [each > 0 for each in y]))


@given(samples(tied_value, tied_value, examples=3, times=2))
def test_precision_is_the_mean_over_all_orders(drawn: Drawn) -> None:
    values, others, counts = drawn
    x, y = repeated(drawn)
    ours = precision_at_wrong(values, others > 0)(counts)
    assert ours == exactly(oracles.precision_over_orders(x, [each > 0 for each in y]))


@given(samples(value))
def test_split_half_of_counts(drawn: Drawn) -> None:
    a, b, counts = drawn
    for correlation, theirs in ((spearman, oracles.spearman), (pearson, oracles.pearson)):
        r = theirs(*repeated(drawn))
        if r > -0.9:  # where the formula magnifies no rounding
            assert split_half(a, b, correlation)(counts) == pytest.approx(2 * r / (1 + r), rel=1e-9, abs=1e-10)


# --- what follows from the definitions ---


@given(samples(value), st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", ["pearson", "spearman", "precision_at_wrong"])
def test_the_order_of_the_examples_does_not_matter(kind: str, drawn: Drawn, seed: int) -> None:
    a, b, counts = drawn
    order = generator(seed).permutation(len(a))
    assert KINDS[kind](a[order], b[order])(counts[order]) == pytest.approx(KINDS[kind](a, b)(counts), abs=1e-10)


@given(samples(value))
@pytest.mark.parametrize("make", [spearman, pearson])
def test_a_correlation_is_symmetric_and_odd(make: Callable[..., Statistic], drawn: Drawn) -> None:
    a, b, counts = drawn
    r = make(a, b)(counts)
    assert -1 <= r <= 1
    assert make(b, a)(counts) == exactly(r)
    assert make(-a, b)(counts) == exactly(-r)
    assert make(-a, -b)(counts) == exactly(r)
    assert make(a, a)(counts) == exactly(1.0 if len(set(np.repeat(a, counts))) > 1 else 0.0)


@given(samples(tied_value | st.integers(-200, 200).map(float)))
@pytest.mark.parametrize("rising", [np.exp, np.cbrt, lambda x: x**3 + x, lambda x: 2 * x - 7])
def test_a_rising_function_of_the_values_changes_no_rank(rising: np.ufunc, drawn: Drawn) -> None:
    a, b, counts = drawn
    wrong = b > 0
    assert spearman(rising(a), b)(counts) == spearman(a, b)(counts)
    assert spearman(a, rising(b))(counts) == spearman(a, b)(counts)
    assert precision_at_wrong(rising(a), wrong)(counts) == precision_at_wrong(a, wrong)(counts)


@given(samples(value), st.sampled_from([1e-200, 1e-9, 3.0, 1e9, 1e200]), st.integers(-1000, 1000))
def test_pearson_knows_no_unit(drawn: Drawn, unit: float, origin: int) -> None:
    a, b, counts = drawn
    r = pearson(a, b)(counts)
    assert pearson(a * unit, b)(counts) == pytest.approx(r, abs=1e-10)
    assert pearson(np.round(a) + origin, b)(counts) == pytest.approx(pearson(np.round(a), b)(counts), abs=1e-10)


@pytest.mark.parametrize("origin", [0.0, 1.0, 1e6, -1e12])
def test_pearson_of_values_that_are_almost_equal(origin: float) -> None:
    a = origin + np.arange(4) * np.spacing(origin)
    b, counts = np.array([1.0, 2.0, 2.0, 5.0]), np.array([1, 2, 0, 3])
    assert pearson(a, b)(counts) == exactly(oracles.pearson(*repeated((a, b, counts))))


@given(samples(value))
@pytest.mark.parametrize("kind", KINDS)
def test_examples_that_were_not_drawn_do_not_count(kind: str, drawn: Drawn) -> None:
    a, b, counts = drawn
    more_a, more_b = np.append(a, [1e9, -1e9]), np.append(b, [-1e9, 1e9])
    theirs = KINDS[kind](a, b)(counts)
    assert KINDS[kind](more_a, more_b)(np.append(counts, [0, 0])) == pytest.approx(theirs, rel=1e-9, abs=1e-10)


@given(samples(value))
@pytest.mark.parametrize("kind", KINDS)
def test_all_drawn_three_times_is_all_drawn_once(kind: str, drawn: Drawn) -> None:
    a, b, counts = drawn
    assert KINDS[kind](a, b)(3 * counts) == pytest.approx(KINDS[kind](a, b)(counts), rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_statistic_can_be_used_again_and_changes_nothing(kind: str) -> None:
    a, b, counts = generator(1).normal(size=50), generator(2).normal(size=50), generator(3).integers(0, 4, size=50)
    kept = a.copy(), b.copy(), counts.copy()
    statistic = KINDS[kind](a, b)
    assert statistic(counts) == statistic(counts)
    assert all(np.array_equal(*pair) for pair in zip((a, b, counts), kept, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_scores_are_summed_in_double_precision(kind: str) -> None:
    a, b = (generator(seed).exponential(size=100_000).astype(np.float32) for seed in (1, 2))
    counts = generator().integers(0, 4, size=len(a))
    theirs = KINDS[kind](a.astype(np.float64), b.astype(np.float64))(counts)
    assert KINDS[kind](a, b)(counts) == exactly(theirs)


# --- by hand, and where nothing is defined ---


def test_precision_by_hand() -> None:
    wrong = np.array([True, False, True, False, False])
    for values, expected in (
        ([5, 1, 4, 3, 2], 1.0),
        ([1, 5, 2, 4, 3], 0.0),
        ([4, 5, 1, 3, 2], 0.5),
        ([1, 1, 1, 1, 1], 0.4),
        ([5, 4, 4, 4, 1], (1 + 1 / 3) / 2),
    ):
        assert precision_at_wrong(np.array(values), wrong)(once(wrong)) == pytest.approx(expected)
    assert precision_at_wrong(np.array([5, 4, 4, 4, 1]), wrong)(np.array([1, 1, 2, 0, 1])) == pytest.approx(7 / 9)


def test_without_wrong_labels_none_is_found() -> None:
    values, wrong = np.arange(6.0), np.arange(6) < 3
    assert precision_at_wrong(values, np.zeros(6, dtype=bool))(once(values)) == 0.0
    assert precision_at_wrong(values, wrong)(np.where(wrong, 0, 2)) == 0.0  # none of the wrong ones was drawn
    assert precision_at_wrong(values, np.ones(6, dtype=bool))(once(values)) == 1.0


@pytest.mark.parametrize("make", [spearman, pearson])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1 / 3, 1e-300, 1e6])
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_values_correlate_with_nothing(make: Callable[..., Statistic], constant: float, n: int) -> None:
    a, b, counts = np.full(n, constant), generator().normal(size=n), np.arange(n) % 3 + 1
    assert make(a, b)(counts) == make(b, a)(counts) == make(a, a)(counts) == 0.0
    other = np.append(a, constant + 1)  # and neither do they if the other value was not drawn
    assert make(other, np.append(b, 9.0))(np.append(counts, 0)) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_of_nothing_drawn_there_is_nothing(kind: str) -> None:
    values = generator().normal(size=5)
    assert KINDS[kind](values, values)(np.zeros(5, dtype=np.int64)) == 0.0


@pytest.mark.parametrize("make", [spearman, pearson, precision_at_wrong])
def test_what_cannot_be_compared_is_refused(make: Callable[..., Statistic]) -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        make(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        make(np.zeros((3, 1)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="NaN"):
        make(np.array([0.0, np.nan]), np.zeros(2))
    with pytest.raises(ValueError, match="NaN"):
        make(np.zeros(2), np.array([0.0, np.nan]))


# --- reliability ---


def test_spearman_brown_by_hand() -> None:
    a = np.array([1.0, 2.0, 3.0])
    assert reliability(a, a) == 1.0
    assert reliability(a, np.array([2.0, 1.0, 3.0])) == pytest.approx(2 / 3)  # r = 1/2
    assert reliability(a, np.array([2.0, 3.0, 1.0])) == pytest.approx(-2)  # r = -1/2
    assert reliability(a, -a) == -math.inf
    assert reliability(a, np.ones(3)) == 0.0


def test_a_reliability_is_of_ranks_unless_told_otherwise() -> None:
    a = np.arange(10.0)
    assert reliability(a, np.exp(a)) == 1.0
    r = float(np.corrcoef(a, np.exp(a))[0, 1])
    assert reliability(a, np.exp(a), pearson) == exactly(2 * r / (1 + r))


def test_the_ceiling_by_hand() -> None:
    assert [ceiling(each) for each in (1.0, 0.25, 0.0, -0.5, -math.inf)] == [1.0, 0.5, 0.0, 0.0, 0.0]


@given(st.lists(tied_value, min_size=2, max_size=5), st.randoms())
def test_the_bound_of_ties_is_the_best_that_a_score_without_ties_can_do(
    values: list[float], order: random.Random
) -> None:
    shuffled = [*values]
    order.shuffle(shuffled)
    truth = np.array(shuffled)
    if len(set(values)) == 1:
        assert tie_bound(truth) == 0.0
        return
    best = max(scipy.stats.spearmanr(each, truth).statistic for each in itertools.permutations(range(len(truth))))
    assert tie_bound(truth) == exactly(best)


def test_the_bound_of_many_ties_by_hand() -> None:
    assert tie_bound(np.arange(5.0)) == 1.0
    assert tie_bound(np.array([0.0] * 400 + [*range(1, 601)])) == exactly(
        math.sqrt(1 - (400**3 - 400) / (1000**3 - 1000))
    )


@pytest.mark.parametrize(("noise", "slack"), [(0.3, 0.005), (1.0, 0.01), (3.0, 0.02)])
def test_reliability_and_ceiling_are_those_of_a_perfect_score(noise: float, slack: float) -> None:
    """Halves = truth + noise of variance s². Their mean has reliability 1 / (1 + s²/2) and that root as correlation."""
    draw, n = generator(), 100_000
    truth = draw.normal(size=n)
    first, second = (truth + noise * draw.normal(size=n) for _ in range(2))
    found = reliability(first, second, pearson)
    assert found == pytest.approx(1 / (1 + noise**2 / 2), abs=slack)
    whole = (first + second) / 2
    assert ceiling(found) == pytest.approx(pearson(truth, whole)(once(truth)), abs=slack)
    by_rank = ceiling(reliability(first, second))  # the approximation, here of normal values
    assert by_rank == pytest.approx(spearman(truth, whole)(once(truth)), abs=0.02)


# --- intervals ---


def test_the_interval_is_of_percentiles_around_the_value() -> None:
    draw = generator()
    a = draw.normal(size=300)
    runs = [spearman(a, a + draw.normal(size=300)) for _ in range(3)]
    value, low, high = interval(runs, len(a), 400)
    assert value == pytest.approx(np.mean([run(once(a)) for run in runs]))
    replicates = np.sort(bootstrap(runs, len(a), 400))
    assert np.mean(replicates < low) == pytest.approx(0.025, abs=1 / 400)
    assert np.mean(replicates > high) == pytest.approx(0.025, abs=1 / 400)
    assert low < value < high


def test_the_interval_of_a_correlation_has_the_width_of_theory() -> None:
    """Standard error of Pearson's r of normal values: (1 - r²) / √n (Fisher, 1915)."""
    draw, n = generator(), 2000
    a = draw.normal(size=n)
    b = 0.6 * a + 0.8 * draw.normal(size=n)
    value, low, high = interval([pearson(a, b)], n, 4000)
    assert (high - low) / (2 * 1.96) == pytest.approx((1 - value**2) / math.sqrt(n), rel=0.1)


def test_the_number_of_replicates_is_that_of_claims() -> None:
    calls = []

    def statistic(counts: np.ndarray) -> float:
        calls.append(counts.sum())
        return 1.0

    assert interval([statistic], 7) == (1.0, 1.0, 1.0)
    assert calls == [7] * (REPLICATES + 1)
