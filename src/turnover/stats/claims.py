"""Claims of the paper: effect, 95 % interval and verdict, against thresholds fixed in conf/figure before the runs.

Every measure is one number of one run. Its effect is the mean over n runs with different seeds, its interval Student's:
mean ± t √(s²/n + v), with t of n - 1 degrees of freedom, s² the variance between seeds and, where the measure is a
statistic of examples, v its variance under a bootstrap of the examples (the same examples for every seed, since the
seeds share them). A bootstrap over three seeds would cover the truth about three times in four. Of a share of few
counted items, on which all seeds may agree, the interval is the exact one of Clopper and Pearson (1934) as far as it is
wider: items that the seeds share count once, as more seeds are no more items.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from turnover.common.seeding import numpy_generator
from turnover.stats.measures import Statistic

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not tested"]

REPLICATES = 1000
_LEVEL = 0.025  # of one side: a measure is on the claimed side if its two-sided 95 % interval is
_EQUAL = 1e-12  # standard error, in parts of the effect, below which seeds differ by the rounding of their mean alone


@dataclass(frozen=True)
class Measured:
    """One measure of a claim: effect, interval and verdict."""

    name: str
    effect: float
    interval: tuple[float, float] | None  # None: one seed has no interval
    by_seed: tuple[float, ...]
    side: Literal["above", "below"]
    threshold: float | None  # None: reported, but no part of the verdict
    verdict: Verdict | None
    condition: bool = False  # whether it only decides if the claim can be decided
    items: int | None = None  # that were counted, where each seed's number is a share; None: it is no such share
    least_of: int = 1  # of so many numbers it is the least certain one
    refutes: bool = True  # whether the other side of the threshold speaks against the claim


@dataclass(frozen=True)
class Claim:
    """One claim with all its measures."""

    id: str
    text: str
    verdict: Verdict
    measures: tuple[Measured, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for json."""
        return asdict(self)


def bootstrap(runs: Sequence[Statistic], examples: int, replicates: int = REPLICATES) -> np.ndarray:
    """Compute replicates of the mean of a statistic over runs, examples drawn with replacement.  # [replicates]"""
    generator = numpy_generator(0, "bootstrap")
    means = np.empty(replicates)
    for replicate in range(replicates):
        drawn = np.bincount(generator.integers(examples, size=examples), minlength=examples)
        means[replicate] = np.mean([run(drawn) for run in runs])
    return means


def measure(
    name: str,
    runs: Sequence[Statistic],
    examples: int,
    *,
    above: float | None = None,
    below: float | None = None,
    condition: bool = False,
    refutes: bool = True,
    replicates: int = REPLICATES,
) -> Measured:
    """Compare a statistic of examples, in runs of several seeds, with a threshold.

    reproduced: the whole interval lies on the claimed side. not reproduced: the whole interval lies on the other side.
    inconclusive: the interval holds the threshold, or there is one seed only, which has no interval.
    """
    once = np.ones(examples, dtype=np.int64)
    by_seed = [float(run(once)) for run in runs]
    variance = float(bootstrap(runs, examples, replicates).var(ddof=1)) if len(runs) > 1 else 0.0
    sides: dict[str, Any] = {"above": above, "below": below, "condition": condition, "refutes": refutes}
    return measure_seeds(name, by_seed, **sides, variance=variance)


def measure_seeds(
    name: str,
    by_seed: Sequence[float],
    *,
    above: float | None = None,
    below: float | None = None,
    condition: bool = False,
    refutes: bool = True,
    variance: float = 0.0,
    items: int | None = None,
    least_of: int = 1,
) -> Measured:
    """Compare a number of each run, such as one of a curve, with a threshold as in `measure`.

    Args:
        condition: the claim can only be decided if this measure lies on its side.
        refutes: to lie on the other side speaks against the claim; else that leaves it inconclusive.
        variance: of the mean, besides that between seeds.
        items: the numbers are shares of so many counted items, those that seeds share counted once; None: they are no
            shares.
        least_of: the numbers were chosen as the least certain of so many to be on the claimed side. If they are, all
            are; that they are not says so only by an interval that is as much wider (Bonferroni).
    """
    from scipy.special import stdtrit  # an extra, which the rest of the library does without

    n, mean = len(by_seed), float(np.mean(by_seed))
    interval, wider = None, 0.0
    if n > 1:
        error = math.sqrt(np.var(by_seed, ddof=1) / n + variance)
        half = float(stdtrit(n - 1, 1 - _LEVEL)) * error
        wider = float(stdtrit(n - 1, 1 - _LEVEL / least_of)) * error - half
        interval = (mean - half, mean + half)
        if items is not None:
            exact = clopper_pearson(mean * items, items)
            interval = (min(interval[0], exact[0]), max(interval[1], exact[1]))
    low, high = interval or (-math.inf, math.inf)
    threshold = above if above is not None else below
    verdict: Verdict | None = None
    if threshold is not None:
        claimed, contrary = low > threshold, high + wider <= threshold
        if above is None:
            claimed, contrary = high < threshold, low - wider >= threshold
        verdict = "reproduced" if claimed else "not reproduced" if contrary and refutes else "inconclusive"
    return Measured(
        name,
        effect=mean,
        interval=interval,
        by_seed=tuple(by_seed),
        side="below" if above is None and below is not None else "above",
        threshold=threshold,
        verdict=verdict,
        condition=condition,
        items=items,
        least_of=least_of,
        refutes=refutes,
    )


def clopper_pearson(count: float, items: int) -> tuple[float, float]:
    """Return the exact 95 % interval of the share of which `count` of `items` is an example.

    Args:
        count: at least 0 and at most `items`; a mean over seeds need not be whole.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(count, items - count + 1, _LEVEL)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, items - count, 1 - _LEVEL)) if count < items else 1.0
    return low, high


def decide(id: str, text: str, measures: Sequence[Measured], *, tested: bool = True) -> Claim:
    """Decide a claim: reproduced if all its measures are, not reproduced if one of them is not, else inconclusive.

    Where a condition does not hold its measures test nothing: not tested; inconclusive where a condition is. It is
    not tested either where runs of this size cannot decide it, whatever they give, nor if nothing is measured.
    """
    conditions = [measured.verdict for measured in measures if measured.condition]
    if not tested or not measures or "not reproduced" in conditions:
        return Claim(id, text, "not tested", tuple(measures))
    verdicts = [measured.verdict for measured in measures if measured.verdict is not None and not measured.condition]
    verdict: Verdict = "inconclusive"
    if any(verdict != "reproduced" for verdict in conditions):
        pass
    elif "not reproduced" in verdicts:
        verdict = "not reproduced"
    elif verdicts and all(verdict == "reproduced" for verdict in verdicts):
        verdict = "reproduced"
    return Claim(id, text, verdict, tuple(measures))


def role(*, condition: bool, refutes: bool) -> str:
    """Return what a threshold is for, to be written behind it; nothing where it can decide a claim either way."""
    return " (condition)" if condition else "" if refutes else " (supports only)"


def left_by_holm(measures: Sequence[Measured]) -> list[Measured]:
    """Return those that lie on the claimed side after Holm's correction (1979) for all that decide a claim.

    Of m of them, the one with the k-th smallest p-value must have at most 0.025 / (m - k + 1), as must all before it.
    p is of one side: Student's, by the interval; of a share of counted items the larger one of Student's and the
    binomial test's. Seeds that all gave the same number have no spread to go by: p is that of a sign test, 2^-n of n
    seeds. Those without an interval have p = 1.
    """
    deciding = [measured for measured in measures if measured.threshold is not None and not measured.condition]
    ranked = sorted(deciding, key=_p_value)
    left = []
    for place, measured in enumerate(ranked):
        if _p_value(measured) > _LEVEL / (len(ranked) - place):
            break
        left.append(measured)
    return left


def _p_value(measured: Measured) -> float:
    from scipy.special import stdtr, stdtrit

    assert measured.threshold is not None
    if measured.interval is None or not math.isfinite(measured.effect):
        return 1.0
    ahead = measured.effect - measured.threshold
    ahead = ahead if measured.side == "above" else -ahead
    degrees = len(measured.by_seed) - 1
    if measured.items is None:
        error = (measured.interval[1] - measured.interval[0]) / 2 / float(stdtrit(degrees, 1 - _LEVEL))
        equal = 0.5 ** len(measured.by_seed)
    else:
        error = float(np.std(measured.by_seed, ddof=1)) / math.sqrt(len(measured.by_seed))
        equal = _binomial(measured.effect * measured.items, measured.items, measured.threshold, measured.side)
    if error <= _EQUAL * abs(measured.effect):
        return equal if ahead > 0 else 1.0
    student = float(stdtr(degrees, -ahead / error))
    return student if measured.items is None else max(student, equal)


def _binomial(count: float, items: int, share: float, side: Literal["above", "below"]) -> float:
    """Return how probable so many items or more (above), or so few or fewer (below), are if each is one by `share`."""
    from scipy.special import betainc

    if side == "below":
        count, share = items - count, 1 - share
    return float(betainc(count, items - count + 1, share)) if count > 0 else 1.0
