"""What the figure on similarity makes of numbers that were made up."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.similarity import _ratios, measures
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
SUBSETS = (1, 0, 2)
WRONG = {"real": 0.0, "few": 0.2, "many": 0.4, "random": 0.9}
# measure, group, by layer or of none: with real labels, some wrong ones, more wrong ones, random labels; NaN: not there
TABLE: dict[tuple[str, str, int | None], tuple[float, float, float, float]] = {
    ("pwcca", "test", 1): (0.75, 0.7, 0.7, 0.74),
    ("pwcca", "test", 2): (0.72, 0.7, 0.6, 0.58),
    ("cka", "test", 1): (0.9, 0.9, 0.9, 0.8),
    ("cka", "test", 2): (0.87, 0.8, 0.7, 0.51),
    ("dimension", "test", 1): (10.5, 10.6, 10.6, 10.8),
    ("dimension", "test", 2): (9.1, 9.5, 10.0, 10.9),
    ("spearman", "all", None): (0.41, 0.4, 0.4, 0.26),
    ("spearman", "clean", None): (0.4, 0.3, 0.3, 0.2),
    ("spearman", "noisy", None): (math.nan, 0.5, 0.5, 0.3),
    ("ratio", "noisy", 1): (math.nan, 1.04, 1.06, 1.0),
    ("ratio", "noisy", 2): (math.nan, 1.14, 1.2, 1.01),
    ("nc1", "test", 1): (3.0, 3.2, 3.3, 9.0),
    ("nc1", "test", 2): (2.0, 3.0, 4.0, 9.0),
    ("fit", "all", None): (1.0, 0.98, 0.98, 0.97),
    ("fit", "noisy", None): (math.nan, 0.96, 0.95, 0.97),
}


def made_up(seed: int = 0) -> pd.DataFrame:
    """As in the table of the figure, each number a little beside those above."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for dataset in DATASETS:
        for subset in SUBSETS:
            for (measure, group, layer), values in TABLE.items():
                for (labels, wrong), value in zip(WRONG.items(), values, strict=True):
                    if not math.isnan(value):
                        kind = labels if labels in ("real", "random") else "mixed"
                        share = wrong if kind != "random" else wrong + 0.01 * subset
                        row = {"dataset": dataset, "subset": subset, "labels": kind, "wrong": share, "measure": measure}
                        beside = value * (1 + random.uniform(-0.002, 0.002))
                        rows.append(row | {"group": group, "layer": layer or math.nan, "value": beside})
    return pd.DataFrame(rows)


def slow(numbers: pd.DataFrame, dataset: str) -> dict[str, list[float]]:
    """The measures one number at a time."""
    result: dict[str, list[float]] = {}
    for subset in sorted(SUBSETS):
        known: dict[tuple[Any, ...], float] = {}
        for row in numbers.to_dict("records"):
            if row["dataset"] == dataset and row["subset"] == subset:
                labels = {0.2: "few", 0.4: "many"}.get(row["wrong"], row["labels"])
                layer = 0 if math.isnan(row["layer"]) else row["layer"]
                known[labels, row["measure"], row["group"], layer] = row["value"]
        values = {
            "pwcca": known["real", "pwcca", "test", 2] - known["random", "pwcca", "test", 2],
            "pwcca_first": known["real", "pwcca", "test", 1] - known["random", "pwcca", "test", 1],
            "cka": known["real", "cka", "test", 2] - known["random", "cka", "test", 2],
            "dimension": known["random", "dimension", "test", 2] - known["real", "dimension", "test", 2],
            "dimension_first": known["random", "dimension", "test", 1] - known["real", "dimension", "test", 1],
            "order": known["real", "spearman", "all", 0] - known["random", "spearman", "all", 0],
            "order_wrong": known["few", "spearman", "noisy", 0] - known["few", "spearman", "clean", 0],
            "dilation": known["few", "ratio", "noisy", 2],
            "dilation_first": known["few", "ratio", "noisy", 1],
            "dose": known["many", "ratio", "noisy", 2] - known["few", "ratio", "noisy", 2],
            "dilation_random": known["random", "ratio", "noisy", 2],
            "collapse": known["few", "nc1", "test", 2] / known["real", "nc1", "test", 2],
            "collapse_more": known["many", "nc1", "test", 2] / known["few", "nc1", "test", 2],
            "fit_real": known["real", "fit", "all", 0],
            "fit_random": known["random", "fit", "all", 0],
            "fit_few": known["few", "fit", "noisy", 0],
            "fit_many": known["many", "fit", "noisy", 0],
        }
        for name, value in values.items():
            result.setdefault(f"{name}_{dataset}", []).append(value)
    return result


@pytest.mark.parametrize("seed", range(3))
def test_measures_one_number_at_a_time(seed: int) -> None:
    numbers = made_up(seed).sample(frac=1, random_state=seed)
    found = measures(numbers)
    expected = slow(numbers, "mnist") | slow(numbers, "cifar10")
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-12), name
    assert set(found) == {name for claim in configured("similarity").claims.values() for name in claim.measures}


def test_dilation_is_a_ratio_of_each_network_and_layer() -> None:
    rows = [
        {"run": run, "layer": layer, "measure": measure, "group": group, "value": value * (1 + layer)}
        for run, wrong in (("first", 3.0), ("second", 8.0))
        for layer in (1, 2)
        for measure, group, value in (
            ("distance", "noisy", wrong),
            ("distance", "clean", 2.0),
            ("distance", "test", 5.0),
            ("dilation", "noisy", 7.0),
        )
    ]
    table = pd.DataFrame(rows)
    found = _ratios(table.sample(frac=1, random_state=0)).set_index(["run", "layer"])
    assert found["value"].to_dict() == {
        (run, layer): value for run, value in (("first", 1.5), ("second", 4.0)) for layer in (1, 2)
    }
    assert _ratios(table[table["group"] != "noisy"]).empty


@pytest.mark.parametrize(
    ("labels", "measure", "group", "layer", "value", "claim", "verdict"),
    [
        ("random", "pwcca", "test", 2, 0.75, "alike", "not reproduced"),
        ("random", "pwcca", "test", 1, 0.9, "alike", "reproduced"),
        ("random", "dimension", "test", 2, 9.0, "dimension", "not reproduced"),
        ("random", "spearman", "all", None, 0.5, "order", "not reproduced"),
        ("few", "ratio", "noisy", 2, 0.98, "dilation", "not reproduced"),
        ("many", "ratio", "noisy", 2, 1.1, "dose", "not reproduced"),
        ("many", "fit", "noisy", None, 0.5, "dose", "not tested"),
        ("many", "fit", "noisy", None, 0.5, "dilation", "reproduced"),
        ("few", "fit", "noisy", None, 0.5, "dilation", "not tested"),
        ("real", "fit", "all", None, 0.5, "alike", "not tested"),
        ("random", "fit", "all", None, 0.5, "dimension", "not tested"),
        ("random", "fit", "all", None, 0.5, "order", "not tested"),
    ],
)
def test_each_bound_decides(
    labels: str, measure: str, group: str, layer: int | None, value: float, claim: str, verdict: str
) -> None:
    def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
        decided = claims(configured("similarity"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id: claim.verdict for claim in decided}

    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    changed = (numbers[["dataset", "measure", "group"]] == ["mnist", measure, group]).all(axis=1)
    changed &= numbers["layer"].isna() if layer is None else numbers["layer"] == layer
    changed &= numbers["labels"] == labels if labels in ("real", "random") else numbers["wrong"] == WRONG[labels]
    after = verdicts(numbers.assign(value=numbers["value"].mask(changed, value)))
    assert after[f"{claim}_mnist"] == verdict
    assert {each for id, each in after.items() if id.endswith("cifar10")} == {"reproduced"}
