"""What the figure on factors makes of runs and of numbers that were made up."""

from pathlib import Path

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
import yaml

from turnover.config.compose import sweep
from turnover.experiments.figures.factors import exposure, factor_of, masses, measures, memorized, tail
from turnover.experiments.figures.interface import claims
from turnover.experiments.plots.early_stops import stopped
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.runs.execute import execute
from turnover.runs.store.members import Members, read_members
from turnover.runs.store.tables import read_scores

CONF = Path(__file__).resolve().parents[3] / "conf"


def test_a_factor_is_found_by_what_it_sets() -> None:
    variants = yaml.safe_load((CONF / "experiment" / "factors.yaml").read_text())["variants"]
    given = ["scale=laptop", "seed=0", "corruption=tenth"]
    for experiment in ("factors_random", "factors_random_cifar10"):
        for scale in ("smoke", "laptop"):
            made = sweep([f"+experiment={experiment}", f"scale={scale}", "seed=0"])
            assert [factor_of(config) for config in made] == ["base", "light_decay", "dropout_half", "shifts"]
    for name in variants:
        [config] = sweep(["+experiment=factors", *given, f"variant={name}"])
        assert factor_of(config) == name
    of_mlp, of_conv = (
        [factor_of(config) for config in sweep([f"+experiment={experiment}", *given])]
        for experiment in ("factors", "factors_cifar10")
    )
    for found in (of_mlp, of_conv):
        assert len(set(found)) == len(found)
        assert {"base", "narrow", "wide"} < set(found) < set(variants)
    assert {*of_mlp, *of_conv} == set(variants)


def test_masses_of_a_run_one_example_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    small = ["dataset=digits", "dataset.limit=100", "corruption=tenth", "scale=smoke", "epochs=5", "logger=none"]
    [config] = sweep([*small, "turnover=off", "estimator=blocks"])
    folder = execute(config)
    members, scores = read_members(folder), read_scores(folder)
    table = memorized(Source(config, folder))
    most = tail([table])
    mass = oracles.memorization_mass(members.right.numpy(), members.included.numpy())
    corrupted = scores["corrupted"].reindex(members.ids).to_numpy()
    assert corrupted.sum() == 10
    assert len(most) == 9
    inside = np.isin(members.ids, most)
    assert not corrupted[inside].any()
    assert mass[inside].min() >= mass[~inside & ~corrupted].max() - 1e-12
    found = masses(table, most)
    assert found["wrong"] == pytest.approx(mass[corrupted].mean())
    assert found["tail"] == pytest.approx(mass[inside].mean())
    assert found["rest"] == pytest.approx(mass[~inside & ~corrupted].mean())
    right, inside = members.right.numpy()[:, ~corrupted], members.included.numpy()[:, ~corrupted]
    fit = (right & inside).sum() / inside.sum()
    assert found["fit"] == pytest.approx(fit)
    confidence = members.confidence.numpy().ravel()
    assert exposure(members) == pytest.approx(oracles.auroc(confidence, members.included.numpy().ravel()))


def test_the_tail_has_the_highest_mean_over_tables() -> None:
    def table(masses: list[float]) -> pd.DataFrame:
        return pd.DataFrame({"with": masses, "without": 0.0, "corrupted": [True] + [False] * 20})

    first = [1.0, *np.linspace(0, 0.5, 20)]
    second = [1.0, *np.linspace(0.5, 0, 20)]
    second[7] = 1.0
    assert set(tail([table(first)])) == {19, 20}
    assert 7 in tail([table(first), table(second)])
    assert 0 not in tail([table(second)])


LESS = ["weight_decay", "dropout", "small_rate", "smoothing", "gce", "crop", "clipping", "narrow"]
# fit of clean examples, mass of wrong labels, test accuracy of the setting after so many epochs; two fit no more
PATH: dict[int, tuple[float, ...]] = {
    1: (0.8, 0.1, 0.7),
    2: (0.94, 0.2, 0.86),
    4: (0.96, 0.5, 0.88),
    6: (0.95, 0.6, 0.8),
    10: (0.955, 0.7, 0.8),
    30: (0.99, 0.8, 0.85),
}


RANDOM = {"base": 1.0, "light_decay": 0.97, "dropout_half": 0.96, "shifts": 0.98}  # fit of random labels


def made_up() -> pd.DataFrame:
    """Of two data sets and three seeds: mass, accuracy and fit of every factor that claims name."""
    of_base = {"wrong": 0.8, "tail": 0.5, "test": 0.85, "membership": 0.7, "fit": 0.99}
    less = {"wrong": 0.05, "tail": 0.4, "test": 0.9, "membership": 0.71, "fit": 0.95}
    values = {"base": of_base, "wide": of_base | {"test": 0.92}} | dict.fromkeys(LESS, less)
    for epochs, (fit, wrong, test) in PATH.items():
        if epochs < 30:
            values[f"after_{epochs}"] = of_base | {"wrong": wrong, "test": test, "fit": fit, "tail": 0.3}
    values["smoothing"] = less | {"wrong": 0.75}
    rows = [
        {"dataset": dataset, "labels": labels, "factor": name, "seed": seed}
        | {"epochs": int(name[6:]) if name.startswith("after_") else 30}
        | {key: value + 0.001 * seed for key, value in of_factor.items()}
        for dataset in ("mnist", "cifar10")
        for labels in ("noisy", "clean")
        for name, of_factor in values.items()
        for seed in (2, 0, 1)
    ]
    rows += [
        {"dataset": dataset, "labels": "random", "factor": name, "seed": seed, "epochs": 100, "fit": fit - seed / 100}
        for dataset in ("mnist", "cifar10")
        for name, fit in RANDOM.items()
        for seed in (2, 0, 1)
    ]
    return pd.DataFrame(rows)


def test_measures_by_hand() -> None:
    found = measures(made_up().sample(frac=1, random_state=0))
    for name in ("mnist", "cifar10"):
        decay, width = f"factor_weight_decay_{name}", f"factor_width_{name}"
        assert found[f"{decay} wrong_{name}"] == pytest.approx([-0.75] * 3)
        assert found[f"{decay} test_{name}"] == pytest.approx([0.05] * 3)
        assert found[f"{decay} fit_{name}"] == pytest.approx([0.95, 0.951, 0.952])
        assert found[f"{decay} matched_{name}"] == pytest.approx([0.05 - 0.2] * 3)  # after 2 epochs, as 4 fit more
        assert found[f"{decay} passed_{name}"] == pytest.approx([0.05 - 0.5] * 3)
        # half way between the stops after 2 and 4 epochs
        assert found[f"{decay} line_{name}"] == pytest.approx([0.05 - 0.35] * 3)
        assert found[f"{decay} test_matched_{name}"] == pytest.approx([0.9 - 0.86] * 3)
        assert found[f"{width} wrong_{name}"] == pytest.approx([0.75] * 3)
        assert found[f"{width} matched_{name}"] == pytest.approx([0.05 - 0.2] * 3)  # of the narrow ones
        assert found[f"factor_smoothing_{name} membership_{name}"] == pytest.approx([0.01] * 3)
        left = [(0.4 + s) / (0.5 + s) - (0.05 + s) / (0.8 + s) for s in (0, 0.001, 0.002)]
        assert found[f"factor_tail_{name} tail_{name}"] == pytest.approx(left)
        # after 2 epochs, not after 4, when less of it is spared
        control = [(0.3 + s) / (0.5 + s) - (0.2 + s) / (0.8 + s) for s in (0, 0.001, 0.002)]
        assert found[f"factor_tail_{name} tail_matched_{name}"] == pytest.approx(control)
        assert found[f"factor_tail_{name} tail_beyond_{name}"] == pytest.approx(np.subtract(left, control))
        assert found[f"factor_tail_{name} fit_{name}"] == pytest.approx([0.95, 0.951, 0.952])
        assert found[f"random_{name}"] == pytest.approx([0.96, 0.95, 0.94])
        assert found[f"random_decay_{name}"] == pytest.approx([0.97, 0.96, 0.95])
        found |= {f"factor_random_{name} {key}": found[key] for key in found if key.startswith("random_")}
    named = {f"{id} {name}" for id, claim in configured("factors").claims.items() for name in claim.measures}
    assert named <= set(found)


@pytest.mark.parametrize("fit", [0.7, 0.8, 0.87, 0.94, 0.95, 0.96, 0.97, 0.99, 1.0])
def test_the_setting_is_stopped_before_it_fits_more(fit: float) -> None:
    rows = made_up().query("dataset == 'mnist' and labels == 'noisy'")
    early = rows[rows["factor"].str.startswith("after_") | (rows["factor"] == "base")]
    before, after = stopped(early.sample(frac=1, random_state=1), pd.Series({0: fit}))
    assert before["wrong"].tolist() == pytest.approx([oracles.before_passing(PATH, fit)])
    assert after["wrong"].tolist() == pytest.approx([oracles.after_passing(PATH, fit)])


def verdicts(numbers: pd.DataFrame) -> dict[str, str]:
    decided = claims(configured("factors"), Plotted(numbers), ("mnist", "cifar10"), "laptop")
    return {claim.id: claim.verdict for claim in decided}


def test_what_only_trains_less_inhibits_nothing_and_one_data_set_says_nothing_of_another() -> None:
    numbers = made_up()
    assert set(verdicts(numbers).values()) == {"reproduced"}
    mnist = numbers["dataset"] == "mnist"
    early = mnist & (numbers["factor"].isin(["after_2", "after_4"]))  # of equal fit, and equally little memorized
    after = verdicts(numbers.assign(wrong=numbers["wrong"].mask(early, numbers["wrong"] * 0.05)))
    controlled = {"weight_decay", "dropout", "width", "rate", "loss", "augmentation", "clipping"}
    assert {id for id, verdict in after.items() if verdict == "not reproduced"} == {
        f"factor_{name}_mnist" for name in controlled
    }
    first = mnist & (numbers["factor"] == "after_2")  # that fits less, so to have more than it proves nothing
    after = verdicts(numbers.assign(wrong=numbers["wrong"].mask(first, numbers["wrong"] * 0.1)))
    assert {id: verdict for id, verdict in after.items() if verdict != "reproduced"} == {
        f"factor_{name}_mnist": "inconclusive" for name in controlled
    }
    after = verdicts(numbers.assign(fit=numbers["fit"].mask(mnist & (numbers["factor"] == "crop"), 0.85)))
    assert [id for id, verdict in after.items() if verdict != "reproduced"] == ["factor_augmentation_mnist"]


def test_exposure_of_networks_that_give_away_what_they_were_trained_on() -> None:
    included = torch.tensor([[True, False], [False, True]])
    ids, none = np.array([3, 5]), torch.zeros(2, 0)
    members = Members(ids, ids[:0], included, torch.tensor([0.5, 0.5]), included.float(), included, none, none.bool())
    assert exposure(members) == 1.0
