"""What the figure on pruning makes of numbers that were made up, and that steps are as many."""

from typing import Any

import pandas as pd
import pytest

from turnover.config.compose import sweep
from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.pruning import measures
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
EXPERIMENTS = configured("pruning").experiments


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_steps_are_equal_up_to_two_percent_and_exactly_at_one_share(experiment: str) -> None:
    steps: dict[float, set[int]] = {}
    for config in sweep([f"+experiment={experiment}", "scale=laptop", "seed=0"]):
        made = config.epochs * -(-config.trained_size // config.batch_size)
        assert made == pytest.approx(600, rel=0.02)
        steps.setdefault(config.subsets.size, set()).add(made)
    assert set(steps) >= {1.0, 0.9, 0.7, 0.5}
    assert all(len(each) == 1 for each in steps.values())


KEPT = {
    ("hardest", 0.7): (0.80, 0.92),
    ("easiest", 0.7): (0.91, 0.87),
    ("right", 0.7): (0.92, None),
    ("random", 0.7): (0.89, 0.90),
    ("hardest", 0.5): (0.70, 0.95),
    ("random", 0.5): (0.84, 0.85),
    ("easiest", 0.9): (0.91, 0.80),
    ("random", 0.9): (0.88, 0.88),
    ("right", 0.9): (0.93, None),
    ("random", 1.0): (0.90, 0.94),
}  # test accuracy with wrong labels, and without


def made_up() -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {"dataset": dataset, "labels": labels, "keep": keep, "kept": share, "seed": seed, "test": test - seed / 100}
        for dataset in DATASETS
        for (keep, share), tests in KEPT.items()
        for labels, test in zip(("noisy", "clean"), tests, strict=True)
        if test is not None
        for seed in (1, 0, 2)
    ]
    return pd.DataFrame(rows)


def test_measures_by_hand() -> None:
    numbers = made_up()
    first = numbers.query(
        "dataset == 'mnist' and labels == 'noisy' and keep == 'easiest' and kept == 0.7 and seed == 1"
    )
    numbers.loc[first.index, "test"] += 0.01
    found = measures(numbers.sample(frac=1, random_state=0))
    assert found["easiest_70_noisy_mnist"] == pytest.approx([0.02, 0.03, 0.02])
    assert found["easiest_70_noisy_cifar10"] == pytest.approx([0.02] * 3)
    assert found["right_70_noisy_mnist"] == pytest.approx([0.03] * 3)
    assert found["hardest_70_clean_mnist"] == pytest.approx([0.02] * 3)
    assert found["easiest_90_clean_cifar10"] == pytest.approx([-0.08] * 3)
    assert found["right_90_noisy_cifar10"] == pytest.approx([0.05] * 3)
    assert found["hardest_50_clean_cifar10"] == pytest.approx([0.1] * 3)
    assert found["half_of_all_mnist"] == pytest.approx([0.01] * 3)
    named = {name for claim in configured("pruning").claims.values() for name in claim.measures}
    assert named <= set(found)


@pytest.mark.parametrize(
    ("labels", "keep", "kept", "test", "claim"),
    [
        ("noisy", "easiest", 0.7, 0.88, "prune_noise_mnist"),
        ("clean", "easiest", 0.9, 0.89, "prune_clean_mnist"),
        ("clean", "hardest", 0.7, 0.89, "prune_easy_mnist"),
        ("clean", "random", 0.5, 0.96, "prune_half_mnist"),
        ("clean", "random", 1.0, 0.97, "prune_half_mnist"),
        ("noisy", "easiest", 0.9, 0.70, None),  # as many as are wrong: only reported
    ],
)
def test_each_bound_decides(labels: str, keep: str, kept: float, test: float, claim: str | None) -> None:
    def against(numbers: pd.DataFrame) -> set[str]:
        decided = claims(configured("pruning"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id for claim in decided if claim.verdict == "not reproduced"}

    numbers = made_up()
    assert not against(numbers)
    changed = (numbers[["dataset", "labels", "keep", "kept"]] == ["mnist", labels, keep, kept]).all(axis=1)
    assert against(numbers.assign(test=numbers["test"].mask(changed, test - numbers["seed"] / 100))) == (
        {claim} if claim else set()
    )
