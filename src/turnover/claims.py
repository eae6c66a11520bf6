"""Claims of the paper: effect, bootstrap interval and verdict, against thresholds fixed in conf/figure before the runs.

Every measure is one number of one run. Its effect is the mean over runs with different seeds. Its 95 % interval is

- where the measure is a statistic of examples: the middle of bootstrap replicates in which both the seeds and the
  examples are drawn anew (the same examples for every seed, since the seeds share them);
- where it is a number of a curve, so that only seeds vary: Student's t interval. A bootstrap over three seeds would
  cover the truth about three times in four.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student_t

from turnover.seeding import numpy_generator

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
Statistic = Callable[[np.ndarray], float]  # how often each example was drawn, int [n] -> the measure of one run

REPLICATES = 1000


@dataclass(frozen=True)
class Measured:
    """One measure of a claim and what became of it."""

    name: str
    effect: float
    interval: tuple[float, float]
    by_seed: tuple[float, ...]
    side: Literal["above", "below"]
    threshold: float | None  # None: reported, but no part of the verdict
    verdict: Verdict | None


@dataclass(frozen=True)
class Claim:
    """One claim with all its measures."""

    id: str
    text: str
    verdict: Verdict
    measures: tuple[Measured, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for json."""
        return asdict(self)


def bootstrap(runs: Sequence[Statistic], examples: int, replicates: int = REPLICATES) -> np.ndarray:
    """Replicates of the mean of a statistic over runs, seeds and examples drawn with replacement.  # [replicates]"""
    generator = numpy_generator(0, "bootstrap")
    values = np.empty(replicates)
    for replicate in range(replicates):
        drawn = np.bincount(generator.integers(examples, size=examples), minlength=examples)
        seeds = np.bincount(generator.integers(len(runs), size=len(runs)), minlength=len(runs))
        values[replicate] = sum(times * run(drawn) for run, times in zip(runs, seeds, strict=True) if times) / len(runs)
    return values


def measure(
    name: str,
    runs: Sequence[Statistic],
    examples: int,
    *,
    above: float | None = None,
    below: float | None = None,
    replicates: int = REPLICATES,
) -> Measured:
    """A measure over runs of several seeds, held against a threshold that it must lie above or below.

    reproduced: the whole interval lies on the claimed side. not reproduced: the whole interval lies on the other side.
    inconclusive: the interval holds the threshold.
    """
    once = np.ones(examples, dtype=np.int64)
    by_seed = [float(run(once)) for run in runs]
    low, high = np.quantile(bootstrap(runs, examples, replicates), [0.025, 0.975])
    return _held(name, by_seed, (float(low), float(high)), above=above, below=below)


def measure_seeds(
    name: str, by_seed: Sequence[float], *, above: float | None = None, below: float | None = None
) -> Measured:
    """A measure that is one number a run, with Student's t interval over seeds: mean ± t s / √n, t of n - 1 degrees.

    Held against a threshold as in `measure`. One seed has no interval, so its verdict is inconclusive.
    """
    n = len(by_seed)
    mean = float(np.mean(by_seed))
    half = float(student_t.ppf(0.975, n - 1) * np.std(by_seed, ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    return _held(name, by_seed, (mean - half, mean + half), above=above, below=below)


def _held(
    name: str, by_seed: Sequence[float], interval: tuple[float, float], *, above: float | None, below: float | None
) -> Measured:
    low, high = interval
    threshold = above if above is not None else below
    verdict: Verdict | None = None
    if threshold is not None:
        claimed, contrary = low > threshold, high <= threshold
        if above is None:
            claimed, contrary = high < threshold, low >= threshold
        verdict = "reproduced" if claimed else "not reproduced" if contrary else "inconclusive"
    return Measured(
        name,
        effect=float(np.mean(by_seed)),
        interval=interval,
        by_seed=tuple(by_seed),
        side="below" if above is None and below is not None else "above",
        threshold=threshold,
        verdict=verdict,
    )


def decide(id: str, text: str, measures: Sequence[Measured]) -> Claim:
    """A claim is reproduced if all its measures are, not reproduced if one of them is not, else inconclusive."""
    verdicts = [each.verdict for each in measures if each.verdict is not None]
    verdict: Verdict = "inconclusive"
    if "not reproduced" in verdicts:
        verdict = "not reproduced"
    elif verdicts and all(each == "reproduced" for each in verdicts):
        verdict = "reproduced"
    return Claim(id, text, verdict, tuple(measures))
