"""Claims: the bootstrap interval has the right width and covers, and verdicts follow from intervals alone."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from turnover.stats.claims import Claim, Measured, Verdict, bootstrap, decide, left_by_holm, measure, measure_seeds
from turnover.stats.measures import Statistic, median


def mean(values: np.ndarray) -> Statistic:
    return lambda counts: float(counts @ values / counts.sum())


def constant(value: float) -> Statistic:
    return lambda counts: value


def ends(found: Measured) -> tuple[float, float]:
    """Its interval, which it must have."""
    assert found.interval is not None
    return found.interval


def sample(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


# --- the interval ---

SEEDS = 3
STUDENT = 4.302653  # t of 2 degrees of freedom at 97.5 % (Student, 1908)


def error_of(found: Measured) -> float:
    """The standard error that its interval is made of."""
    low, high = ends(found)
    assert (low + high) / 2 == pytest.approx(found.effect)
    return (high - low) / 2 / float(scipy.stats.t.ppf(0.975, len(found.by_seed) - 1))


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_the_standard_error_of_the_examples_is_that_of_scipy(statistic: object) -> None:
    values = np.random.default_rng(1).exponential(size=400)
    theirs = scipy.stats.bootstrap((values,), statistic, n_resamples=4000, method="percentile", rng=0)
    ours = mean(values) if statistic is np.mean else median(values)
    found = measure("any", [ours] * SEEDS, len(values), replicates=4000)
    assert error_of(found) == pytest.approx(theirs.standard_error, rel=0.06)


def test_the_standard_error_has_a_part_of_the_examples_and_a_part_of_the_seeds() -> None:
    values = sample(1000)
    offsets = np.linspace(-0.05, 0.05, 8)
    found = measure("mean", [mean(values + offset) for offset in offsets], len(values), replicates=4000)
    expected = math.sqrt(values.var() / len(values) + offsets.var(ddof=1) / len(offsets))
    assert error_of(found) == pytest.approx(expected, rel=0.04)
    assert found.effect == pytest.approx(values.mean())


def test_a_replicate_is_the_mean_over_all_seeds() -> None:
    assert bootstrap([constant(0.0), constant(1.0)], 10, 20).tolist() == [0.5] * 20


def test_examples_are_drawn_anew() -> None:
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
    drawn: dict[int, list[bytes]] = {0: [], 1: []}

    def keep(run: int) -> Statistic:
        def statistic(counts: np.ndarray) -> float:
            drawn[run].append(counts.tobytes())
            return 0.0

        return statistic

    bootstrap([keep(0), keep(1)], 30, 200)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 200


def test_the_same_runs_give_the_same_interval() -> None:
    values = sample(100)
    assert np.array_equal(bootstrap([mean(values)], 100, 50), bootstrap([mean(values)], 100, 50))


def test_one_seed_has_no_interval_and_decides_nothing() -> None:
    found = measure("mean", [mean(sample(50) + 9)], 50, above=0.0)
    assert (found.interval, found.verdict) == (None, "inconclusive")


def test_the_interval_covers_the_truth_at_least_95_times_in_100() -> None:
    """Shared examples and seeds both vary; the few seeds decide the degrees of freedom, so it errs on the safe side."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        examples, seeds = generator.normal(size=60), generator.normal(scale=0.3, size=SEEDS)
        low, high = ends(measure("mean", [mean(examples + seed) for seed in seeds], 60, replicates=100))
        hits += low <= 0 <= high
    assert hits / 300 >= 0.93


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


# --- where only seeds vary ---


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_interval_over_seeds_is_students(values: list[float]) -> None:
    found = measure_seeds("any", values)
    error = np.std(values) / math.sqrt(len(values) - 1)  # s / root n, with s from n - 1
    expected = (np.mean(values),) * 2
    if error > 0:
        expected = scipy.stats.t.interval(0.95, df=len(values) - 1, loc=np.mean(values), scale=error)
    assert found.interval == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.effect == pytest.approx(np.mean(values))
    assert found.by_seed == tuple(values)
    assert found.verdict is None


def test_the_interval_of_three_seeds_by_hand() -> None:
    found = measure_seeds("any", [1.0, 2.0, 3.0], above=-0.5)  # mean 2, s = 1
    assert found.interval == pytest.approx((2 - STUDENT / 3**0.5, 2 + STUDENT / 3**0.5), abs=1e-6)
    assert (found.verdict, found.side, found.threshold) == ("reproduced", "above", -0.5)


def test_a_variance_besides_that_between_seeds_is_added() -> None:
    found = measure_seeds("any", [1.0, 2.0, 3.0], variance=0.5)
    assert error_of(found) == pytest.approx(math.sqrt(1 / 3 + 0.5))


# --- verdicts ---

SPREAD = [constant(value) for value in (0.9, 1.0, 1.1)]  # effect 1, an interval from 0.7516 to 1.2484


@pytest.mark.parametrize(
    ("above", "below", "verdict"),
    [
        (0.75, None, "reproduced"),
        (0.76, None, "inconclusive"),
        (1.05, None, "inconclusive"),  # the effect is on the other side, the interval is not
        (1.24, None, "inconclusive"),
        (1.25, None, "not reproduced"),
        (None, 1.25, "reproduced"),
        (None, 1.24, "inconclusive"),
        (None, 0.95, "inconclusive"),
        (None, 0.75, "not reproduced"),
        (None, None, None),
    ],
)
def test_the_verdict_is_on_which_side_the_whole_interval_lies(
    above: float | None, below: float | None, verdict: Verdict | None
) -> None:
    found = measure("any", SPREAD, 5, above=above, below=below)
    assert found == measure_seeds("any", found.by_seed, above=above, below=below)
    assert found.interval == pytest.approx((1 - 0.1 * STUDENT / 3**0.5, 1 + 0.1 * STUDENT / 3**0.5), abs=1e-6)
    assert found.verdict == verdict
    assert found.threshold == (above if above is not None else below)
    assert found.side == ("below" if below is not None else "above")


@pytest.mark.parametrize("sides", [{"above": 1.0}, {"below": 1.0}])
@pytest.mark.parametrize(
    ("values", "verdict"), [([1.0] * 3, "not reproduced"), ([math.nan, 2.0], "inconclusive"), ([1e9], "inconclusive")]
)
def test_what_is_on_the_threshold_or_not_a_number_or_alone(
    values: list[float], verdict: Verdict, sides: dict[str, float]
) -> None:
    assert measure("any", [constant(value) for value in values], 5, **sides).verdict == verdict  # type: ignore[arg-type]


def measured(verdict: Verdict | None) -> Measured:
    threshold = None if verdict is None else 0.0
    return Measured("any", 0.0, (0.0, 0.0), (0.0,), "above", threshold, verdict)


YES: Verdict = "reproduced"
NO: Verdict = "not reproduced"
OPEN: Verdict = "inconclusive"


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
        ([], "not tested"),
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
    assert set(each) - {"items", "least_of", "refutes"} == {
        "name",
        "effect",
        "interval",
        "by_seed",
        "side",
        "threshold",
        "verdict",
        "condition",
    }
    assert each["interval"] == pytest.approx([0.7516, 1.2484], abs=1e-4)


@pytest.mark.parametrize("verdicts", [[YES], [NO], [YES, NO], [None]])
@pytest.mark.parametrize("condition", [YES, NO, OPEN])
def test_a_claim_whose_condition_does_not_hold_is_not_tested(
    verdicts: list[Verdict | None], condition: Verdict
) -> None:
    without = [measured(verdict) for verdict in verdicts]
    with_condition = [*without, replace(measured(condition), condition=True)]
    expected = {YES: decide("9z", "a text", without).verdict, NO: "not tested", OPEN: OPEN}[condition]
    assert decide("9z", "a text", with_condition).verdict == expected


def test_a_condition_that_holds_reproduces_nothing_by_itself() -> None:
    assert decide("9z", "a text", [replace(measured(YES), condition=True)]).verdict == OPEN


def test_a_condition_is_measured_like_any_other() -> None:
    plain, condition = (measure("any", SPREAD, 5, above=0.5, condition=each) for each in (False, True))
    assert condition == replace(plain, condition=True)
    assert measure_seeds("any", [1.0, 2.0], below=0.0, condition=True).condition


# --- shares of counted items ---


def exact(count: int, items: int) -> tuple[float, float]:
    """The interval of Clopper and Pearson, by scipy."""
    low, high = scipy.stats.binomtest(count, items).proportion_ci(0.95, method="exact")
    return low, high


@pytest.mark.parametrize("items", [1, 2, 10, 97])
def test_seeds_that_agree_on_a_share_have_the_exact_interval_of_one_of_them(items: int) -> None:
    for count in range(items + 1):
        found = measure_seeds("any", [count / items] * 3, above=0.5, items=items)
        assert ends(found) == pytest.approx(exact(count, items))
        assert found.effect == pytest.approx(count / items)


def test_a_share_has_the_wider_interval_of_both_on_either_side() -> None:
    draw = np.random.default_rng(5)
    wider = set()
    for _ in range(200):
        items, middle = int(draw.integers(2, 300)), draw.uniform()
        counts = draw.binomial(items, np.clip(middle + draw.normal(scale=0.05, size=3), 0, 1))
        shares = (counts / items).tolist()
        if len(set(shares)) == 1 or counts.sum() % 3:  # the oracle takes whole counts alone
            continue
        student = scipy.stats.t.interval(0.95, 2, np.mean(shares), scipy.stats.sem(shares))
        binomial = exact(counts.sum() // 3, items)
        found = ends(measure_seeds("any", shares, above=0.5, items=items))
        assert found == pytest.approx((min(student[0], binomial[0]), max(student[1], binomial[1])))
        wider |= {found[0] < binomial[0] - 1e-9, found[1] > binomial[1] + 1e-9}
    assert wider == {True, False}


def test_a_share_of_few_items_decides_nothing_that_a_share_of_many_does() -> None:
    few, many = (measure_seeds("any", [1.0] * 3, above=0.8, items=items) for items in (10, 100))
    assert (few.verdict, many.verdict) == (OPEN, YES)
    assert measure_seeds("any", [0.0] * 3, below=0.05, items=100).verdict == YES
    assert measure_seeds("any", [0.0] * 3, above=0.05, items=100).verdict == NO
    assert measure_seeds("any", [1.0], above=0.8, items=100).interval is None


# --- the least certain of several numbers ---


@pytest.mark.parametrize(("side", "sign"), [("above", 1), ("below", -1)])
def test_only_many_numbers_hide_one_on_the_other_side(side: str, sign: int) -> None:
    values = [sign * value for value in (-1.0, -2.0, -3.0)]  # an interval of 95 % ends at -2 + 4.303 / sqrt(3) = .48
    for bound, alone, of_seven in ((0.0, OPEN, OPEN), (0.6, NO, OPEN), (5.0, NO, NO)):
        found = [measure_seeds("any", values, **{side: sign * bound}, least_of=count) for count in (1, 7)]  # type: ignore[arg-type]
        assert [one.verdict for one in found] == [alone, of_seven]
        assert ends(found[0]) == ends(found[1])
    high = -2 + float(scipy.stats.t.ppf(1 - 0.025 / 7, 2)) / math.sqrt(3)
    for bound, verdict in ((high - 1e-6, OPEN), (high + 1e-6, NO)):
        assert measure_seeds("any", values, **{side: sign * bound}, least_of=7).verdict == verdict  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 7])
def test_one_number_on_the_claimed_side_speaks_for_all(count: int) -> None:
    assert measure_seeds("any", [1.0, 2.0, 3.0], above=-0.6, least_of=count).verdict == YES


def test_what_is_on_the_safe_side_supports_a_claim_and_refutes_none() -> None:
    for values, verdict in (([1.0, 2.0, 3.0], YES), ([-1.0, 0.0, 1.0], OPEN), ([-9.0, -8.0, -7.0], OPEN)):
        assert measure_seeds("any", values, above=-0.6, refutes=False).verdict == verdict
        found = measure_seeds("any", [-value for value in values], below=0.6, refutes=False)
        assert (found.verdict, found.refutes) == (verdict, False)
    low = [lambda counts, by=by: by + float(counts @ np.arange(5.0)) for by in (-99.0, -98.0, -97.0)]
    verdicts = [measure("any", low, 5, above=0.0, refutes=refutes).verdict for refutes in (True, False)]
    assert verdicts == [NO, OPEN]


def test_a_lead_of_nothing_is_hardly_ever_refuted() -> None:
    generator = np.random.default_rng(0)
    leads = generator.normal(0, 1, (2000, 22, 5))  # of 22 epochs and 5 seeds
    mean, spread = leads.mean(axis=2), leads.std(axis=2, ddof=1)
    least = [lead[(mean[i] / spread[i]).argmin()].tolist() for i, lead in enumerate(leads)]
    for count, share in ((1, (0.35, 0.5)), (22, (0.01, 0.04))):
        refuted = np.mean([measure_seeds("any", one, above=0.0, least_of=count).verdict == NO for one in least])
        assert share[0] < refuted < share[1]


# --- many measures at once ---


def p_by_hand(one: Measured) -> float:
    """Student's by scipy; of shares the binomial test's if that is larger; of equal seeds by as many fair coins."""
    side = "greater" if one.side == "above" else "less"
    equal = len(set(one.by_seed)) == 1
    ahead = (one.effect - (one.threshold or 0.0)) * (1 if one.side == "above" else -1) > 0
    student = 0.0 if equal else float(scipy.stats.ttest_1samp(one.by_seed, one.threshold, alternative=side).pvalue)
    if one.items is not None:
        count = round(one.effect * one.items)
        return max(student, float(scipy.stats.binomtest(count, one.items, one.threshold, alternative=side).pvalue))
    heads = len(one.by_seed) if ahead else 0
    coins = float(scipy.stats.binomtest(heads, len(one.by_seed), 0.5, alternative="greater").pvalue)
    return coins if equal else student


def by_hand(measures: Sequence[Measured]) -> list[str]:
    """Names left by Holm's procedure."""
    p = {one.name: p_by_hand(one) for one in measures if one.threshold is not None and not one.condition}
    left: list[str] = []
    while p and min(p.values()) <= 0.025 / len(p):
        left.append(min(p, key=p.__getitem__))
        del p[left[-1]]
    return left


def test_what_is_left_is_what_holm_says() -> None:
    draw = np.random.default_rng(3)
    for trial in range(30):
        measures = [
            measure_seeds(
                f"m{i}",
                (draw.normal(size=4) + i / 3).tolist(),
                above=0.2 if i % 3 else None,
                below=None if i % 3 else 4.0,
                condition=i == 5,
            )
            for i in range(9)
        ] + [measure_seeds("reported", [5.0, 5.1, 5.2])]
        found = [one.name for one in left_by_holm(measures)]
        assert found == by_hand(measures), trial
        assert set(found) <= {one.name for one in measures if one.verdict == "reproduced"}


@pytest.mark.parametrize("items", [20, 60])
@pytest.mark.parametrize("seeds", [3, 6])
def test_what_is_left_of_shares_and_of_equal_seeds_is_what_holm_says(items: int, seeds: int) -> None:
    draw = np.random.default_rng(items + seeds)
    left = set()
    for trial in range(30):
        above = float(draw.uniform(0.3, 0.7))
        counts = [int(draw.integers(items + 1)) for _ in range(3)]
        spread = [np.clip(np.arange(seeds) % 3 - 1 + count, 0, items) / items for count in counts]  # whole in the mean
        measures = [
            *(measure_seeds(f"equal{i}", [c / items] * seeds, above=above, items=items) for i, c in enumerate(counts)),
            *(
                measure_seeds(f"spread{i}", shares.tolist(), below=above, items=items)
                for i, shares in enumerate(spread)
                if shares.sum() * items % seeds == 0
            ),
            measure_seeds("no share", [above + 0.1] * seeds, above=above),
        ]
        found = [one.name for one in left_by_holm(measures)]
        assert found == by_hand(measures), trial
        left |= {name.rstrip("012") for name in found}
    assert {"equal", "spread"} <= left


def test_holm_leaves_what_is_alone_as_its_interval_says() -> None:
    for values in ([0.1, 0.2, 0.3], [0.1, 0.9, 0.2], [-1.0, -1.0, -1.0], [3.0], [math.nan] * 3):
        alone = measure_seeds("any", values, above=0.0)
        assert (left_by_holm([alone]) == [alone]) == (alone.verdict == "reproduced")
    for count in range(11):
        for seeds in ([count / 10] * 3, [count / 10, count / 10, min(count + 3, 10) / 10]):
            alone = measure_seeds("any", seeds, above=0.5, items=10)
            assert (left_by_holm([alone]) == [alone]) == (alone.verdict == "reproduced")


def test_equal_seeds_are_worth_a_coin_each() -> None:
    for seeds, left in ((3, False), (5, False), (6, True)):  # 1/8, 1/32, 1/64
        alone = measure_seeds("any", [2.0] * seeds, above=0.0)
        assert bool(left_by_holm([alone])) is left
        assert not left_by_holm([measure_seeds("any", [-2.0] * seeds, above=0.0)])


def test_what_a_scale_cannot_decide_is_not_tested_whatever_it_measures() -> None:
    for values in ([1.0, 1.1, 1.2], [-1.0, -1.1, -1.2]):
        measured = measure_seeds("any", values, above=0.0)
        assert decide("c", "text", [measured], tested=False).verdict == "not tested"
        assert decide("c", "text", [measured]).verdict != "not tested"
