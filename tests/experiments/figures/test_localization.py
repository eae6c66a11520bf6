"""What the figure on localization makes of numbers that were made up."""

from typing import Any

import pandas as pd
import pytest

from turnover.experiments.figures.localization import _states, early_epoch, measures
from turnover.experiments.plots.figure import configured

# share of wrong labels and of clean examples right, by state and layer
RIGHT: dict[tuple[str, int | None], tuple[float, float]] = {
    ("then", None): (0.2, 0.9),
    ("early", 1): (0.4, 0.99),
    ("early", 2): (0.8, 1.0),
    ("early", 3): (0.95, 1.0),
    ("retrained", 1): (0.02, 0.9),
    ("retrained", 2): (0.1, 0.95),
    ("retrained", 3): (0.5, 1.0),
    ("whole", None): (1.0, 1.0),
    ("never", None): (0.01, 0.97),
}
UNITS: dict[str, list[float]] = {"noisy": [1, 2, 3], "matched": [2, 4, float("inf")], "clean": [5, 6, 7]}

BLOCKS = [(0, "all"), (1, "first"), (2, "second")]


def made_up(shift: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for (state, layer), shares in RIGHT.items():
        for group, share in zip(("noisy", "clean"), shares, strict=True):
            rows.append({"state": state, "layer": layer, "group": group, "measure": "accuracy", "value": share - shift})
    for group, counts in UNITS.items():
        for measure, factor in (("units", 1.0), ("random_units", -1.0), ("margin", -2.0), ("others_lost", 0.01)):
            rows += [
                {"state": "units", "layer": None, "group": group, "measure": measure, "value": factor * count}
                for count in counts
            ]
    return rows


def test_measures_by_hand() -> None:
    numbers = pd.concat([pd.DataFrame(made_up(shift)).assign(seed=seed) for seed, shift in ((0, 0.0), (1, 0.1))])
    both = pd.concat([numbers.assign(dataset="mnist"), numbers[numbers["seed"] == 1].assign(dataset="cifar10")])
    found = measures(both.sample(frac=1, random_state=0))
    expected = {
        "late": [0.95, 0.85],
        "then": [0.2, 0.1],
        "fitted": [1.0, 0.9],
        "early_minus_late": [-0.55, -0.55],
        "early_clean": [0.99, 0.89],
        "retrained": [0.49, 0.49],
        "matched_margin": [1 - (2.5 + 3 + 2) / 9] * 2,  # margins here are twice the units, below 0
        "beyond_margin": [2 * (2.5 + 3 + 2) / 9 - 1] * 2,
        "matched": [(2.5 + 3 + 2) / 9] * 2,  # of 1: three pairs, of 2: two and a tie, of 3: two
        "clean": [1.0, 1.0],
        "margin": [0.0, 0.0],
        "random_units": [1 - (2.5 + 3 + 2) / 9] * 2,
        "others_lost": [0.02, 0.02],
    }
    assert set(found) == {name for claim in configured("localization").claims.values() for name in claim.measures}
    for name, values in expected.items():
        assert found[f"{name}_mnist"] == pytest.approx(values), name
        assert found[f"{name}_cifar10"] == pytest.approx(values[1:]), name


def test_the_early_epoch_has_the_largest_lead_in_the_mean() -> None:
    def whole(leads: dict[int, float]) -> pd.DataFrame:
        rows = [
            (epoch, group, lead if group == "clean" else 0.0)
            for epoch, lead in leads.items()
            for group in ("clean", "noisy")
        ]
        table = pd.DataFrame(rows, columns=["epoch", "group", "value"])
        return table.assign(probe="rewind", block="all", measure="accuracy")

    assert early_epoch([whole({0: 1.0, 1: 0.2, 2: 0.6, 3: 0.5})]) == 2  # never the initial weights
    assert early_epoch([whole({1: 0.2, 2: 0.6, 3: 0.5}), whole({1: 0.1, 2: 0.2, 3: 0.4})]) == 3


def test_states_are_those_of_the_epoch_that_others_choose() -> None:
    rows = [
        {"probe": probe, "block": block, "epoch": epoch, "group": "noisy", "measure": "accuracy", "value": value}
        for probe, block, epoch, value in (
            ("rewind", "none", 30, 1.0),
            *(("rewind", block, epoch, epoch / 10 + layer / 100) for epoch in (0, 2, 4) for layer, block in BLOCKS),
            *(("retrain", block, 30, 0.5 + layer / 100) for layer, block in BLOCKS),
            ("neurons", "all", 30, 7.0),
        )
    ]
    table = _states(pd.DataFrame(rows), 2).set_index("state")["value"]
    expected = {
        "initial": [0.01, 0.02],
        "early": [0.21, 0.22],
        "then": [0.2],
        "whole": [1.0],
        "retrained": [0.51, 0.52],
        "never": [0.5],
        "units": [7.0],
    }
    assert {state: values.tolist() for state, values in table.groupby(level=0)} == {
        state: pytest.approx(values) for state, values in expected.items()
    }
