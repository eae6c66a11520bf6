"""What the figure on features of random labels makes of numbers that were made up."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from turnover.experiments.figures.benign import best_layers, measures
from turnover.experiments.figures.interface import claims
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
SEEDS = (2, 0, 1)
STATES: dict[str, list[float]] = {  # accuracy of neighbours, by hidden layer
    "initial": [0.50, 0.48, 0.45],
    "plain": [0.52, 0.49, 0.40],
    "shifted": [0.56, 0.57, 0.48],
}


def made_up(seed: int = 0) -> pd.DataFrame:
    """As in the table of the figure, each number a little beside those above."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for dataset in DATASETS:
        for number in SEEDS:
            of_run = {"dataset": dataset, "seed": number}
            rows.append(of_run | {"state": "plain", "layer": 0, "measure": "neighbours", "value": 0.6})
            for state, values in STATES.items():
                if state != "initial":
                    rows.append(of_run | {"state": state, "layer": np.nan, "measure": "fit", "value": 0.97})
                for layer, value in enumerate(values, start=1):
                    beside = value + random.uniform(-0.004, 0.004)
                    rows.append(of_run | {"state": state, "layer": layer, "measure": "neighbours", "value": beside})
    return pd.DataFrame(rows)


def slow(numbers: pd.DataFrame, dataset: str) -> dict[str, list[float]]:
    """The measures one number at a time."""
    known: dict[tuple[Any, ...], float] = {
        (row["seed"], row["state"], row["layer"]): row["value"]
        for row in numbers.to_dict("records")
        if row["dataset"] == dataset and row["measure"] == "neighbours"
    }
    result: dict[str, list[float]] = {}
    for seed in sorted(SEEDS):
        totals: dict[int, float] = {}
        for layer in (1, 2, 3):
            totals[layer] = sum(known[other, "shifted", layer] for other in SEEDS if other != seed)
        best = max(totals, key=lambda layer: totals[layer])
        at = {state: known[seed, state, best] for state in STATES}
        last = {state: known[seed, state, 3] for state in STATES}
        values = {
            "gain": at["shifted"] - at["initial"],
            "over_plain": at["shifted"] - at["plain"],
            "plain_gain": at["plain"] - at["initial"],
            "over_pixels": at["shifted"] - known[seed, "plain", 0],
            "behind": last["shifted"] - at["shifted"],
            "behind_initial": (last["shifted"] - at["shifted"]) - (last["initial"] - at["initial"]),
            "last_gain": last["shifted"] - last["initial"],
            "last_plain_gain": last["plain"] - last["initial"],
            "fit_shifted": 0.97,
            "fit_plain": 0.97,
        }
        for name, value in values.items():
            result.setdefault(f"{name}_{dataset}", []).append(value)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_measures_one_number_at_a_time(seed: int) -> None:
    numbers = made_up(seed).sample(frac=1, random_state=seed)
    numbers["value"] += np.random.default_rng(seed).normal(0, 0.02, len(numbers)) * (numbers["layer"] > 0)
    found = measures(numbers)
    expected = slow(numbers, "mnist") | slow(numbers, "cifar10")
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-12), name
    assert set(found) == {name for claim in configured("benign").claims.values() for name in claim.measures}


def test_a_seed_does_not_choose_its_own_layer() -> None:
    trained = pd.DataFrame({1: [0.9, 0.5, 0.4], 2: [0.5, 0.6, 0.6]}, index=[0, 1, 2])
    assert best_layers(trained) == [2, 1, 1]
    assert best_layers(trained.iloc[:1]) == [1]


def test_the_layer_is_not_chosen_by_what_it_gains() -> None:
    numbers = made_up()
    lower = (numbers["state"] == "initial") & (numbers["layer"] == 3)
    found = measures(numbers.assign(value=numbers["value"].mask(lower, 0.1)))
    assert max(found["gain_mnist"]) < 0.2


@pytest.mark.parametrize(
    ("state", "layer", "value", "claim", "verdict"),
    [
        ("initial", 2, 0.6, "benign_aug", "not reproduced"),
        ("plain", 2, 0.6, "benign_plain", "not reproduced"),
        ("initial", 3, 0.35, "benign_last", "not reproduced"),  # it was as far behind without any training
        ("shifted", None, 0.8, "benign_aug", "not tested"),
        ("shifted", None, 0.8, "benign_plain", "not tested"),
        ("shifted", None, 0.8, "benign_last", "not tested"),
        ("plain", None, 0.8, "benign_plain", "not tested"),
    ],
)
def test_each_bound_decides(state: str, layer: int | None, value: float, claim: str, verdict: str) -> None:
    def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
        decided = claims(configured("benign"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id: claim.verdict for claim in decided}

    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    changed = (numbers["dataset"] == "mnist") & (numbers["state"] == state)
    changed &= numbers["layer"].isna() if layer is None else numbers["layer"] == layer
    after = verdicts(numbers.assign(value=numbers["value"].mask(changed, value)))
    assert after[f"{claim}_mnist"] == verdict
    assert {id: each for id, each in after.items() if id.endswith("cifar10")} == {
        f"{name}_cifar10": "reproduced" for name in ("benign_aug", "benign_plain", "benign_last")
    }
