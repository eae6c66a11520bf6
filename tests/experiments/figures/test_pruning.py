"""What the figure on pruning makes of numbers that were made up, and that steps are as many."""

from typing import Any

import pandas as pd
import pytest

from turnover.config.compose import sweep
from turnover.experiments.figures.pruning import measures
from turnover.experiments.plots.figure import configured

EXPERIMENTS = configured("pruning").experiments


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_steps_are_equal_up_to_two_percent_and_exactly_at_one_share(experiment: str) -> None:
    steps: dict[float, set[int]] = {}
    for config in sweep([f"+experiment={experiment}", "scale=laptop", "seed=0"]):
        made = config.epochs * -(-config.trained_size // config.batch_size)
        assert made == pytest.approx(600, rel=0.02)
        steps.setdefault(config.subsets.size, set()).add(made)
    assert set(steps) == {1.0, 0.9, 0.7, 0.5, 0.2}
    assert all(len(each) == 1 for each in steps.values())


def test_measures_by_hand() -> None:
    kept = [("hardest", 0.7), ("random", 0.7), ("hardest", 0.5), ("random", 0.5), ("easiest", 0.9), ("random", 0.9)]
    kept += [("right", 0.9), ("random", 1.0)]
    tests = [0.92, 0.90, 0.95, 0.85, 0.8, 0.88, 0.91, 0.93]
    rows: list[dict[str, Any]] = [
        {"dataset": dataset, "labels": labels, "keep": keep, "kept": share, "seed": seed, "test": test - seed / 100}
        for dataset in ("mnist", "cifar10")
        for labels in ("noisy", "clean")
        for (keep, share), test in zip(kept, tests, strict=True)
        for seed in (1, 0, 2)
    ]
    rows[0]["test"] += 0.01  # of seed 1
    found = measures(pd.DataFrame(rows).sample(frac=1, random_state=0))
    assert found["hardest_70_noisy_mnist"] == pytest.approx([0.02, 0.03, 0.02])
    assert found["hardest_70_clean_mnist"] == pytest.approx([0.02] * 3)
    assert found["easiest_90_noisy_cifar10"] == pytest.approx([-0.08] * 3)
    assert found["right_90_noisy_cifar10"] == pytest.approx([0.03] * 3)
    assert found["hardest_50_clean_cifar10"] == pytest.approx([0.1] * 3)
    assert found["half_of_all_mnist"] == pytest.approx([0.02] * 3)
    named = {name for claim in configured("pruning").claims.values() for name in claim.measures}
    assert named <= set(found)
