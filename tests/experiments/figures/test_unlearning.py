"""What the figure on unlearning makes of numbers that were made up."""

import pandas as pd
import pytest

from turnover.experiments.figures.unlearning import measures
from turnover.experiments.plots.figure import configured

VALUES = {
    ("plain", "trained"): (1.0, 0.9, 0.80),
    ("plain", "tuned"): (0.7, 0.6, 0.82),
    ("plain", "retrained"): (0.2, 0.1, 0.85),
    ("tied", "trained"): (0.95, 0.9, 0.70),
    ("tied", "scrubbed"): (0.25, 0.2, 0.84),
    ("tied", "retrained"): (0.2, 0.15, 0.83),
}


def test_measures_by_hand() -> None:
    names = ("forgotten accuracy", "forgotten exposure", "test accuracy")
    rows = [
        {"dataset": dataset, "network": network, "seed": seed, "state": state, "measure": name}
        | {"value": value + (0.01 * seed if state == "trained" else 0.0)}
        for dataset in ("mnist", "cifar10")
        for (network, state), values in VALUES.items()
        for name, value in zip(names, values, strict=True)
        for seed in (1, 0)
    ]
    found = measures(pd.DataFrame(rows).sample(frac=1, random_state=0))
    expected = {
        "tuned_left": [0.5, 0.5],
        "tuned_exposed": [0.5, 0.5],
        "plain_trained": [1.0, 1.01],
        "scrubbed_left": [0.05, 0.05],
        "scrubbed_exposed": [0.05, 0.05],
        "scrubbed_test": [0.01, 0.01],
        "tied_trained": [0.95, 0.96],
    }
    for dataset in ("mnist", "cifar10"):
        for name, values in expected.items():
            assert found[f"{name}_{dataset}"] == pytest.approx(values)
    named = {name for claim in configured("unlearning").claims.values() for name in claim.measures}
    assert named == {f"{name}_{dataset}" for name in expected for dataset in ("mnist", "cifar10")}
