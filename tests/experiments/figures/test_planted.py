"""What the figure on planted examples makes of numbers that were made up, and of runs on digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from turnover.config.compose import sweep
from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.planted import items, measures, tabulate
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.runs.execute import execute
from turnover.runs.store.members import read_members
from turnover.runs.store.tables import read_scores

DATASETS = ("mnist", "cifar10")
LEARNT = {("copies", 1): 10.0, ("copies", 2): 6.0, ("copies", 8): 3.0, ("canaries", 1): 4.0, ("canaries", 8): 2.0}
RIGHT = {
    ("input_noise", 0): (1.0, 0.8),
    ("input_noise", 0.1): (1.0, 0.7),
    ("input_noise", 0.8): (0.95, 0.1),
    ("trigger", 0): (1.0, 0.8),
    ("trigger", 4): (1.0, 0.2),
    ("trigger", 256): (1.0, 0.96),
}
CLASSES = {  # by kind, label and size
    ("imbalance", 9, 10): (0.98, 0.3),
    ("imbalance", 4, 100): (0.5, 0.5),
    ("imbalance", 0, 1000): (1.0, 0.9),
    ("balanced", 9, 300): (1.0, 0.8),
    ("balanced", 4, 300): (1.0, 0.7),
    ("balanced", 0, 300): (1.0, 0.75),
}


def made_up() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for dataset in DATASETS:
        for seed in (2, 0, 1):
            about = {"dataset": dataset, "seed": seed}
            rows += [
                about
                | {"kind": kind, "size": size, "label": -1, "learnt": at, "fitted": 1 - at / 200}
                | {"examples": 1000 + size if kind == "copies" else 990 - size}
                for (kind, size), at in LEARNT.items()
            ]
            shares = {(kind, -1, size): right for (kind, size), right in RIGHT.items()} | CLASSES
            rows += [
                about
                | {"kind": kind, "size": size, "label": label}
                | {"right_with": inside, "right_without": outside - seed / 100}
                | {"memorization": inside - outside + seed / 100}
                | {"examples": 900 + (seed == 2) + int(10 * size) - 9 * (kind == "input_noise" and size > 0.5) - label}
                for (kind, label, size), (inside, outside) in shares.items()
            ]
    return pd.DataFrame(rows)


def test_measures_by_hand() -> None:
    numbers = made_up()
    numbers.loc[
        numbers.query("kind == 'copies' and size == 8 and seed == 1 and dataset == 'mnist'").index, "learnt"
    ] = 4
    found = measures(numbers.sample(frac=1, random_state=0))
    expected = {
        "copies_mnist": [0.3, 0.4, 0.3],
        "copies_cifar10": [0.3] * 3,
        "copies_visits_mnist": [2.4, 3.2, 2.4],
        "canaries_mnist": [-6.0] * 3,
        "input_noise_mnist": [0.55] * 3,
        "input_noise_fit_cifar10": [0.95] * 3,
        "trigger_mnist": [0.04 - 0.8] * 3,
        "trigger_followed_cifar10": [0.96, 0.95, 0.94],
        "copies_fit_mnist": [0.95] * 3,
        "canaries_fit_cifar10": [0.95] * 3,
        "imbalance_mnist": [0.1 - 0.68 - 0.05] * 3,
        "balanced_cifar10": [0.05] * 3,
        "imbalance_fit_mnist": [0.98] * 3,
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values), name
    assert set(found) == {name for claim in configured("planted").claims.values() for name in claim.measures}


@pytest.mark.parametrize(
    ("kind", "size", "changed", "claim"),
    [
        ("copies", 8, {"learnt": 7.0}, "planted_copies"),
        ("canaries", 1, {"learnt": 12.0}, "planted_canaries"),
        ("input_noise", 0.8, {"memorization": 0.2}, "planted_noise"),
        ("trigger", 256, {"memorization": 0.7}, "planted_trigger"),
        ("imbalance", 10, {"memorization": 0.1}, "planted_rare"),
    ],
)
def test_each_bound_decides(kind: str, size: float, changed: dict[str, float], claim: str) -> None:
    def against(numbers: pd.DataFrame) -> set[str]:
        decided = claims(configured("planted"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id for claim in decided if claim.verdict == "not reproduced"}

    numbers = made_up()
    assert not against(numbers)
    low = numbers.assign(fitted=numbers["fitted"] / 2)
    assert not against(low)  # the condition fails, which decides nothing
    where = numbers[["dataset", "kind", "size"]].eq(["mnist", kind, size]).all(axis=1)
    for column, value in changed.items():
        numbers.loc[where, column] = value + numbers["seed"] / 1000
    assert against(numbers) == {f"{claim}_mnist"}


def test_a_condition_of_few_images_does_not_hold_by_luck() -> None:
    numbers = made_up()
    rare = numbers[["dataset", "kind", "size"]].eq(["mnist", "trigger", 4]).all(axis=1)
    for examples, verdict in ((4, "inconclusive"), (12, "reproduced")):  # all of them are right, in three seeds
        numbers.loc[rare, "examples"] = examples
        decided = {claim.id: claim for claim in claims(configured("planted"), Plotted(numbers), DATASETS, "laptop")}
        assert decided["planted_trigger_mnist"].verdict == verdict
        fit = next(one for one in decided["planted_trigger_mnist"].measures if one.condition)
        assert fit.items == 3 * examples
    assert items(numbers)["imbalance_fit_cifar10"] == 3 * (900 + 100 - 9) + 1  # the rarest class
    assert items(numbers)["copies_fit_mnist"] == 3 * 1001
    assert items(numbers)["canaries_fit_mnist"] == 3 * 989  # fewer than of copies, those seen once
    assert items(numbers)["input_noise_fit_mnist"] == 3 * (900 + 8 - 9 + 1) + 1  # of the strongest, not of others


@pytest.mark.parametrize("options", [["corruption=trigger", "corruption.count=7"], ["corruption=imbalance"]])
def test_means_are_those_of_networks_with_and_without_each_example(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    [config] = sweep(
        [
            *["dataset=digits", "dataset.limit=200", "scale=smoke", "epochs=2", "logger=none", "turnover=off"],
            *["estimator=blocks", "estimator.blocks=6", "corruption.sizes=[3]", *options],
        ]
    )
    source = Source(config, execute(config))
    numbers = tabulate([source]).numbers.set_index("size" if config.corruption.kind == "trigger" else "label")
    members, scores = read_members(source.folder), read_scores(source.folder)
    by_size: dict[float, list[tuple[float, float]]] = {}
    for number, id in enumerate(members.ids.tolist()):
        size = 7.0 if scores.loc[id, "size"] else 0.0
        size = size if config.corruption.kind == "trigger" else float(scores.loc[id, "label"])
        right, inside = members.right[:, number].numpy(), members.included[:, number].numpy()
        by_size.setdefault(size, []).append((right[inside].mean(), right[~inside].mean()))
    assert set(numbers.index) == set(by_size)
    for size, shares in by_size.items():
        with_it, without = (float(np.mean(each)) for each in zip(*shares, strict=True))
        row = numbers.loc[[size]].iloc[0]
        assert row["examples"] == len(shares)
        assert row[["right_with", "right_without"]].tolist() == pytest.approx([with_it, without])
        assert row["memorization"] == pytest.approx(with_it - without)
