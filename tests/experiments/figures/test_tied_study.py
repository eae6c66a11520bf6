"""What the figure on example-tied dropout makes of numbers that were made up, and which network a run has."""

import pandas as pd
import pytest

from turnover.config.compose import sweep
from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.tied import measures, network_of
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
VALUES = {  # clean, wrong, true, test
    ("plain", "full"): (1.0, 0.99, 0.01, 0.88),
    ("dropout", "full"): (0.99, 0.5, 0.45, 0.91),
    ("turnover", "own"): (1.0, 1.0, 0.0, None),
    ("turnover", "full"): (0.97, 0.05, 0.9, 0.92),
    ("turnover", "flipped"): (0.7, 0.02, 0.7, 0.80),
    ("tied", "own"): (1.0, 0.98, 0.02, None),
    ("tied", "full"): (0.8, 0.1, 0.7, 0.75),
    ("tied", "flipped"): (0.95, 0.1, 0.8, 0.89),
}


def made_up() -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "network": network, "units": units, "seed": seed, "share": share}
        | {"value": value - (0.002 * seed if share == "test" and network != "plain" else 0.0)}
        for dataset in DATASETS
        for (network, units), values in VALUES.items()
        for share, value in zip(("clean", "wrong", "true", "test"), values, strict=True)
        if value is not None
        for seed in (1, 0, 2)
    ]
    return pd.DataFrame(rows)


def test_measures_by_hand() -> None:
    numbers = made_up().sample(frac=1, random_state=0)
    one = (numbers["dataset"] == "mnist") & (numbers["network"] == "tied") & (numbers["seed"] == 2)
    numbers.loc[one & (numbers["share"] == "wrong"), "value"] += 0.01

    def value(seed: int, *key: str) -> float:
        names = ["dataset", "network", "units", "share", "seed"]
        [found] = [row["value"] for _, row in numbers.iterrows() if tuple(row[names]) == (*key, seed)]
        return float(found)

    expected = {}
    for name in DATASETS:
        for measure, (network, units, share) in {
            "shared_wrong": ("tied", "flipped", "wrong"),
            "shared_clean": ("tied", "flipped", "clean"),
            "shared_true": ("tied", "flipped", "true"),
            "own_wrong": ("tied", "own", "wrong"),
            "flipped_wrong": ("turnover", "flipped", "wrong"),
            "flipped_clean": ("turnover", "flipped", "clean"),
            "dropout_wrong": ("dropout", "full", "wrong"),
            "shared_test": ("tied", "flipped", "test"),
            "dropout_test": ("dropout", "full", "test"),
            "flipped_test": ("turnover", "flipped", "test"),
            "full_test": ("tied", "full", "test"),
        }.items():
            minus = [value(seed, name, "plain", "full", "test") if share == "test" else 0.0 for seed in range(3)]
            values = [value(seed, name, network, units, share) - minus[seed] for seed in range(3)]
            expected[f"{measure}_{name}"] = pytest.approx(values, abs=1e-12)
    assert measures(numbers) == expected
    assert {name for claim in configured("tied").claims.values() for name in claim.measures} == set(expected)


@pytest.mark.parametrize(
    ("network", "units", "share", "number", "claim", "verdict"),
    [
        ("tied", "flipped", "wrong", 0.4, "tied_drop", "not reproduced"),
        ("tied", "flipped", "clean", 0.8, "tied_drop", "not reproduced"),
        ("tied", "own", "wrong", 0.5, "tied_drop", "not tested"),
        ("tied", "flipped", "test", 0.8, "tied_test", "not reproduced"),
        ("plain", "full", "test", 0.93, "tied_test", "not reproduced"),
        ("dropout", "full", "test", 0.99, None, ""),  # a control, which decides nothing
    ],
)
def test_each_bound_decides(
    network: str, units: str, share: str, number: float, claim: str | None, verdict: str
) -> None:
    def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
        decided = claims(configured("tied"), Plotted(numbers), DATASETS, "laptop")
        return {claim.id: claim.verdict for claim in decided}

    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    keys = ["dataset", "network", "units", "share"]
    changed = (numbers[keys] == ["mnist", network, units, share]).all(axis=1)
    after = verdicts(numbers.assign(value=numbers["value"].mask(changed, number)))
    if claim is not None:
        assert after.pop(f"{claim}_mnist") == verdict
    assert set(after.values()) == {"reproduced"}


def test_networks_are_told_apart_and_equally_wide() -> None:
    for ends in (("", "_dropout"), ("_cifar10", "_cifar10_dropout")):
        configs = [config for end in ends for config in sweep([f"+experiment=tied{end}", "scale=laptop", "seed=0"])]
        assert [network_of(config) for config in configs] == ["plain", "turnover", "tied", "dropout"]
        assert len({repr(config.model.model_dump() | {"dropout": 0}) for config in configs}) == 1
        assert len({(config.epochs, config.batch_size, config.schedule.name) for config in configs}) == 1
