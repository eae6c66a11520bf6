"""Claims: the bootstrap interval has the right width and covers, and verdicts follow from intervals alone."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from turnover.claims import Claim, Measured, Statistic, Verdict, bootstrap, decide, measure
from turnover.statistics import median


def mean(values: np.ndarray) -> Statistic:
    return lambda counts: float(counts @ values / counts.sum())


def constant(value: float) -> Statistic:
    return lambda counts: value


def sample(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


# --- the interval ---


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = sample(2000)
    found = measure("mean", [mean(values)], len(values), replicates=4000)
    error = values.std() / math.sqrt(len(values))
    expected = scipy.stats.norm.interval(0.95, loc=values.mean(), scale=error)
    assert found.effect == pytest.approx(values.mean())
    assert found.interval == pytest.approx(expected, abs=0.12 * error)  # about 3 standard errors of a quantile


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_the_interval_is_that_of_scipy(statistic: object) -> None:
    values = np.random.default_rng(1).exponential(size=400)
    theirs = scipy.stats.bootstrap((values,), statistic, n_resamples=4000, method="percentile", rng=0)
    low, high = theirs.confidence_interval
    ours = mean(values) if statistic is np.mean else median(values)
    found = measure("any", [ours], len(values), replicates=4000)
    assert found.interval == pytest.approx((low, high), abs=0.15 * theirs.standard_error)


def test_the_standard_error_has_a_part_of_the_examples_and_a_part_of_the_seeds() -> None:
    values = sample(1000)
    offsets = np.linspace(-0.05, 0.05, 8)
    runs = [mean(values + offset) for offset in offsets]
    replicates = bootstrap(runs, len(values), 4000)
    expected = math.sqrt(values.var() / len(values) + offsets.var() / len(offsets))
    assert replicates.std() == pytest.approx(expected, rel=0.06)
    assert replicates.mean() == pytest.approx(values.mean(), abs=4 * expected / math.sqrt(4000))


def test_seeds_that_differ_widen_the_interval() -> None:
    values = sample(1000)

    def width(spread: float) -> float:
        runs = [mean(values + spread * step) for step in (-1, 0, 1)]
        low, high = measure("mean", runs, len(values)).interval
        return high - low

    assert width(0.5) > 3 * width(0.0) > 0


def test_seeds_are_drawn_anew_even_when_the_examples_do_not_matter() -> None:
    replicates = bootstrap([constant(0.0), constant(1.0)], 10, 2000)
    kinds, counts = np.unique(replicates, return_counts=True)
    assert kinds.tolist() == [0.0, 0.5, 1.0]
    assert counts / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.04)


def test_examples_are_drawn_anew_even_with_one_seed() -> None:
    drawn: list[np.ndarray] = []

    def keep(counts: np.ndarray) -> float:
        drawn.append(counts)
        return 0.0

    bootstrap([keep], 50, 2000)
    counts = np.stack(drawn)
    assert (counts.sum(1) == 50).all()
    assert counts.mean(0) == pytest.approx(np.ones(50), abs=5 * math.sqrt(1 / 2000))
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # of a multinomial draw


def test_all_seeds_of_a_replicate_see_the_same_examples() -> None:
    drawn: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def keep(run: int) -> Statistic:
        def statistic(counts: np.ndarray) -> float:
            drawn[run].append(counts)
            return 0.0

        return statistic

    bootstrap([keep(0), keep(1)], 30, 200)
    same = {counts.tobytes() for counts in drawn[0]} & {counts.tobytes() for counts in drawn[1]}
    assert 70 <= len(same) <= 130  # both runs are in a replicate half of the time
    assert all(len(kept) < 200 for kept in drawn.values())  # a run that is not in it is not computed


def test_the_same_runs_give_the_same_interval() -> None:
    values = sample(100)
    assert np.array_equal(bootstrap([mean(values)], 100, 50), bootstrap([mean(values)], 100, 50))


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    hits = 0
    for seed in range(300):
        values = sample(60, seed)
        low, high = measure("mean", [mean(values)], len(values), replicates=200).interval
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_the_effect_is_the_mean_over_seeds() -> None:
    found = measure("any", [constant(1.0), constant(2.0), constant(6.0)], 5)
    assert (found.name, found.effect, found.by_seed) == ("any", 3.0, (1.0, 2.0, 6.0))


def test_the_effect_counts_every_example_once() -> None:
    seen: list[np.ndarray] = []

    def keep(counts: np.ndarray) -> float:
        seen.append(counts)
        return 0.0

    measure("any", [keep], 7, replicates=1)
    assert seen[0].tolist() == [1] * 7


# --- verdicts ---

SPREAD = [constant(value) for value in (0.9, 1.0, 1.1)]  # effect 1, an interval from 0.9 to 1.1


@pytest.mark.parametrize(
    ("above", "below", "verdict"),
    [
        (0.8, None, "reproduced"),
        (1.0, None, "inconclusive"),
        (1.05, None, "inconclusive"),  # the effect is on the other side, the interval is not
        (0.95, None, "inconclusive"),
        (1.2, None, "not reproduced"),
        (None, 1.2, "reproduced"),
        (None, 1.0, "inconclusive"),
        (None, 1.05, "inconclusive"),
        (None, 0.95, "inconclusive"),
        (None, 0.8, "not reproduced"),
        (None, None, None),
        (0.0, None, "reproduced"),
        (None, 0.0, "not reproduced"),
    ],
)
def test_the_verdict_is_on_which_side_the_whole_interval_lies(
    above: float | None, below: float | None, verdict: Verdict | None
) -> None:
    found = measure("any", SPREAD, 5, above=above, below=below)
    assert found.interval == pytest.approx((0.9, 1.1))
    assert found.verdict == verdict
    assert found.threshold == (above if above is not None else below)
    assert found.side == ("below" if below is not None else "above")


@pytest.mark.parametrize("sides", [{"above": 1.0}, {"below": 1.0}])
def test_a_value_on_the_threshold_itself_does_not_reproduce(sides: dict[str, float]) -> None:
    assert measure("any", [constant(1.0)] * 3, 5, **sides).verdict == "not reproduced"  # type: ignore[arg-type]


@pytest.mark.parametrize("sides", [{"above": 1.0}, {"below": 1.0}])
def test_a_measure_that_is_not_a_number_decides_nothing(sides: dict[str, float]) -> None:
    found = measure("any", [constant(math.nan), constant(2.0)], 5, **sides)  # type: ignore[arg-type]
    assert found.verdict == "inconclusive"


def measured(verdict: Verdict | None) -> Measured:
    threshold = None if verdict is None else 0.0
    return Measured("any", 0.0, (0.0, 0.0), (0.0,), "above", threshold, verdict)


YES, NO, OPEN = "reproduced", "not reproduced", "inconclusive"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([YES], YES),
        ([NO], NO),
        ([OPEN], OPEN),
        ([YES, YES], YES),
        ([YES, OPEN], OPEN),
        ([YES, NO], NO),
        ([OPEN, NO], NO),
        ([NO, OPEN, YES], NO),
        ([YES, None], YES),
        ([NO, None], NO),
        ([OPEN, None], OPEN),
        ([None], OPEN),
        ([], OPEN),
    ],
)
def test_a_claim_is_as_good_as_its_worst_measure(verdicts: Sequence[Verdict | None], expected: Verdict) -> None:
    measures = [measured(verdict) for verdict in verdicts]
    claim = decide("9z", "a text", measures)
    assert claim == Claim("9z", "a text", expected, tuple(measures))


def test_a_claim_is_plain_data_for_json() -> None:
    claim = decide("2a", "scores have a long tail", [measure("any", SPREAD, 5, above=0.5)])
    read = json.loads(json.dumps(claim.as_dict()))
    assert (read["id"], read["text"], read["verdict"]) == ("2a", "scores have a long tail", "reproduced")
    [each] = read["measures"]
    assert set(each) == {"name", "effect", "interval", "by_seed", "side", "threshold", "verdict"}
    assert each["interval"] == pytest.approx([0.9, 1.1])
