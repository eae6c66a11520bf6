"""What the figure on unlearning makes of numbers that were made up."""

import pandas as pd
import pytest

from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.unlearning import items, measures
from turnover.experiments.plots.figure import Plotted, configured

DATASETS = ("mnist", "cifar10")
NAMES = ("forgotten accuracy", "forgotten exposure", "forgotten lower", "test accuracy")
VALUES = {
    ("plain", "trained"): (0.97, 0.9, 0.99, 0.80),
    ("plain", "tuned"): (0.7, 0.6, 0.8, 0.82),
    ("plain", "retrained"): (0.2, 0.1, 0.5, 0.85),
    ("tied", "trained"): (0.95, 0.9, 0.97, 0.70),
    ("tied", "scrubbed"): (0.25, 0.2, 0.45, 0.84),
    ("tied", "retrained"): (0.2, 0.15, 0.5, 0.83),
}


def made_up() -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "network": network, "seed": seed, "examples": 1000, "state": state, "measure": name}
        | {"value": value + (0.01 * seed if state == "trained" else 0.0)}
        for dataset in DATASETS
        for (network, state), values in VALUES.items()
        for name, value in zip(NAMES, values, strict=True)
        for seed in (1, 0, 2)
    ]
    return pd.DataFrame(rows)


def test_measures_by_hand() -> None:
    found = measures(made_up().sample(frac=1, random_state=0))
    expected = {
        "tuned_left": [0.5] * 3,
        "tuned_exposed": [0.5] * 3,
        "tuned_lower": [0.8] * 3,
        "tuned_full": [0.02, 0.01, 0.0],
        "tuned_test": [-0.03] * 3,
        "plain_trained": [0.97, 0.98, 0.99],
        "scrubbed_left": [0.05] * 3,
        "scrubbed_exposed": [0.05] * 3,
        "scrubbed_lower": [0.45] * 3,
        "scrubbed_higher": [0.55] * 3,
        "scrubbed_full": [0.14, 0.13, 0.12],
        "scrubbed_test": [0.01] * 3,
        "scrubbed_plain": [-0.01] * 3,
        "tied_trained": [0.95, 0.96, 0.97],
    }
    for dataset in DATASETS:
        for name, values in expected.items():
            assert found[f"{name}_{dataset}"] == pytest.approx(values)
    named = {name for claim in configured("unlearning").claims.values() for name in claim.measures}
    assert named == {f"{name}_{dataset}" for name in expected for dataset in DATASETS}


def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
    """Of MNIST and of CIFAR-10, where all is as made up; a claim on one says nothing of the other."""
    plotted = Plotted(numbers)
    return {claim.id: claim.verdict for claim in claims(configured("unlearning"), plotted, DATASETS, "laptop")}


@pytest.mark.parametrize(
    ("network", "state", "measure", "value", "verdict"),
    [
        ("tied", "trained", "forgotten accuracy", 0.8, "not tested"),  # it had not learnt them
        ("tied", "scrubbed", "forgotten accuracy", 0.4, "not reproduced"),
        ("tied", "scrubbed", "forgotten lower", 0.7, "not reproduced"),  # not forgotten
        ("tied", "scrubbed", "forgotten lower", 0.3, "not reproduced"),  # more than forgotten
        ("tied", "scrubbed", "test accuracy", 0.67, "not reproduced"),
        ("tied", "retrained", "test accuracy", 0.9, "not reproduced"),
        ("plain", "retrained", "test accuracy", 0.9, "not reproduced"),
        ("plain", "tuned", "forgotten accuracy", 0.3, "reproduced"),
    ],
)
def test_each_bound_decides(network: str, state: str, measure: str, value: float, verdict: str) -> None:
    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    changed = (numbers[["dataset", "network", "state", "measure"]] == ["mnist", network, state, measure]).all(axis=1)
    after = verdicts(numbers.assign(value=numbers["value"].mask(changed, value)))
    assert after["unlearn_scrubbed_mnist"] == verdict
    assert after["unlearn_scrubbed_cifar10"] == "reproduced"
    assert after["unlearn_tuned_mnist"] == ("not reproduced" if state == "tuned" else "reproduced")


def test_that_few_examples_were_learnt_is_uncertain() -> None:
    assert set(verdicts(made_up().assign(examples=7)).values()) == {"inconclusive"}
    assert set(items(made_up().assign(examples=7)).values()) == {3 * 7}, "each of three seeds forgets its own"


def test_of_one_data_set_alone_claims_on_the_other_are_not_tested() -> None:
    figure = configured("unlearning")
    decided = claims(figure, Plotted(made_up().query("dataset == 'mnist'")), ["mnist"], "laptop")
    assert [claim.verdict for claim in decided] == ["reproduced"] * 2 + ["not tested"] * 2
    assert [claim.text for claim in decided] == [claim.text for claim in figure.claims.values()]
