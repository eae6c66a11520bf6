"""What the figure on training rules makes of numbers that were made up, and which rule a run has."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from turnover.config.compose import sweep
from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.methods import measures, method_of
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
CURVES = {  # test accuracy after epochs 0 to 3
    "plain": (0.1, 0.80, 0.85, 0.60),
    "gce": (0.1, 0.70, 0.88, 0.86),
    "rll": (0.1, 0.60, 0.80, 0.84),
    "elr": (0.1, 0.80, 0.86, 0.75),
    "small_loss": (0.1, 0.75, 0.80, 0.82),
    "co_teaching": (0.1, 0.70, 0.86, 0.87),
    "label_smoothing": (0.1, 0.80, 0.84, 0.62),
    "right": (0.1, 0.85, 0.90, 0.91),
}
SHARES = {  # after the last epoch: clean, wrong, true
    "plain": (1.0, 0.99, 0.0),
    "gce": (0.97, 0.15, 0.8),
    "rll": (0.96, 0.1, 0.8),
    "elr": (0.99, 0.6, 0.4),
    "small_loss": (0.98, 0.2, 0.7),
    "co_teaching": (0.98, 0.2, 0.75),
    "label_smoothing": (1.0, 0.98, 0.01),
}


def made_up() -> pd.DataFrame:
    rows: list[tuple[str, str, int, int, float]] = []
    for name in DATASETS:
        for seed in (2, 0, 1):
            for method, curve in CURVES.items():
                rows += [(f"{name} test", method, seed, epoch, value + seed / 100) for epoch, value in enumerate(curve)]
            for method, shares in SHARES.items():
                parts = zip(("clean", "wrong", "true"), shares, strict=True)
                rows += [(f"{name} {part}", method, seed, 3, value) for part, value in parts]
    return pd.DataFrame(rows, columns=["panel", "curve", "seed", "epoch", "value"])


def value(numbers: pd.DataFrame, panel: str, curve: str, seed: int, epoch: int) -> float:
    """Look one number up, row by row."""
    [found] = [row[-1] for row in numbers.itertuples(index=False) if tuple(row[:-1]) == (panel, curve, seed, epoch)]
    return float(found)


def best_epoch(numbers: pd.DataFrame, panel: str, curve: str, seeds: Sequence[int]) -> int:
    means = [sum(value(numbers, panel, curve, seed, epoch) for seed in seeds) / len(seeds) for epoch in range(4)]
    return means.index(max(means))


def test_measures_by_hand() -> None:
    numbers = made_up()
    lucky = numbers.query("panel == 'mnist test' and curve == 'plain' and seed == 1 and epoch == 1").index
    numbers.loc[lucky, "value"] = 0.95  # of this seed alone, so it may choose no epoch of its own
    found = measures(numbers.sample(frac=1, random_state=0))
    expected: dict[str, Any] = {}
    for name in DATASETS:
        by_seed: dict[str, list[float]] = {}
        for seed in range(3):

            def last(part: str, method: str, name: str = name, seed: int = seed) -> float:
                return value(numbers, f"{name} {part}", method, seed, 3)

            others = [other for other in range(3) if other != seed]
            best = best_epoch(numbers, f"{name} test", "plain", others)
            peak = value(numbers, f"{name} test", "plain", seed, best)
            of_seed = {"plain_fall": peak - last("test", "plain"), "plain_wrong": last("wrong", "plain")}
            best = best_epoch(numbers, f"{name} test", "right", others)
            of_seed["right_fall"] = value(numbers, f"{name} test", "right", seed, best) - last("test", "right")
            for method in ("gce", "rll", "elr", "small_loss", "co_teaching"):
                of_seed[f"{method}_wrong"] = last("wrong", method) - last("wrong", "plain")
                of_seed[f"{method}_last"] = last("test", method) - last("test", "plain")
                of_seed[f"{method}_best"] = last("test", method) - peak
                of_seed[f"{method}_true"] = last("true", method) - last("true", "plain")
                of_seed[f"{method}_clean"] = last("clean", method)
            for measure, number in of_seed.items():
                by_seed.setdefault(measure, []).append(number)
        expected |= {f"{measure}_{name}": pytest.approx(values, abs=1e-12) for measure, values in by_seed.items()}
    assert found == expected
    named = {name for claim in configured("methods").claims.values() for name in claim.measures}
    assert named == set(found)
    assert found["plain_fall_mnist"] != pytest.approx(found["plain_fall_cifar10"]), "the lucky seed is seen by others"


@pytest.mark.parametrize(
    ("part", "method", "number", "claim", "verdict"),
    [
        ("test", "plain", 0.9, "ce_mnist", "not reproduced"),
        ("wrong", "plain", 0.8, "ce_mnist", "not reproduced"),
        ("wrong", "gce", 0.8, "gce_mnist", "not reproduced"),
        ("test", "elr", 0.6, "elr_mnist", "not reproduced"),
        ("clean", "rll", 0.7, "rll_mnist", "not tested"),  # it has not learnt them
        ("clean", "small_loss", 0.6, "small_loss_mnist", "not tested"),
        ("true", "co_teaching", 0.0, None, ""),  # only reported
    ],
)
def test_each_bound_decides(part: str, method: str, number: float, claim: str | None, verdict: str) -> None:
    def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
        decided = claims(configured("methods"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id: claim.verdict for claim in decided}

    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    changed = (numbers[["panel", "curve", "epoch"]] == [f"mnist {part}", method, 3]).all(axis=1)
    after = verdicts(numbers.assign(value=numbers["value"].mask(changed, number + numbers["seed"] / 1000)))
    if claim is not None:
        assert after.pop(claim) == verdict
    others = {id: verdict for id, verdict in after.items() if not (method == "plain" and id.endswith("_mnist"))}
    assert set(others.values()) == {"reproduced"}


@pytest.mark.parametrize("end", ["", "_cifar10"])
def test_rules_are_told_apart_and_know_the_share_of_wrong_labels(end: str) -> None:
    configs = sweep([f"+experiment=methods{end}", "scale=laptop", "seed=0"])
    names = [method_of(config) for config in configs]
    assert len(set(names)) == len(names) == 9
    for config in configs:
        share = getattr(config.method, "share", None)
        assert share in (None, config.corruption.count / config.train_size)
    [right] = sweep([f"+experiment=methods{end}_right", "scale=laptop", "seed=0"])
    assert method_of(right) == "right"
    assert right.trained_size == right.train_size - right.corruption.count
    steps = [run.epochs * -(-run.trained_size // run.batch_size) for run in (right, configs[0])]
    assert steps[0] == pytest.approx(steps[1], rel=0.02)
