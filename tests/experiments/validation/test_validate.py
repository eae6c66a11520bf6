"""`make validate` at smoke scale, end to end on real data; its table against numbers computed by hand."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
import yaml
from ensemble_oracles import kept, log_likelihood_ratios
from looking import finish_and_look
from PIL import Image
from scipy.stats import spearmanr
from wandb_records import NONE, OFFLINE, history, of_kind, records

from turnover.common.files import checkout
from turnover.config.compose import sweep
from turnover.config.estimators import OneRunEstimator, SubsamplingEstimator, TurnoverEstimator
from turnover.config.options import NoLogger, WandbLogger
from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.experiments.plots.style import style
from turnover.experiments.validation import make as validate
from turnover.experiments.validation.earlier import Earlier
from turnover.experiments.validation.estimates import SIZES, TITLES, Condition, gather
from turnover.experiments.validation.make import ValidateJob, make
from turnover.experiments.validation.other_truths import influence_agreement, split_seeds
from turnover.experiments.validation.plots import early
from turnover.experiments.validation.table import COLUMNS, rows
from turnover.experiments.validation.truth import known as truth_of
from turnover.experiments.validation.truth import read_examples, truth, write_examples
from turnover.runs.execute import execute
from turnover.runs.store.members import Members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_influences, read_metrics, read_scores

PICTURES = ("agreement", "detection", "cost", "exposure", "early")


def job(logger: NoLogger | WandbLogger = NONE, **options: Any) -> ValidateJob:
    values = yaml.safe_load((checkout() / "conf" / "validate.yaml").read_text())
    names = {name: values[name] for name in ("truth", "estimates", "leave_one_out", "influence")}
    return ValidateJob(**names | options, scale="smoke", logger=logger)


@cache
def runs_of(name: str) -> list[RunConfig]:
    return sweep([f"+experiment={name}", "scale=smoke", "logger=none"])


def configs(names: list[str]) -> list[RunConfig]:
    return [config for name in names for config in runs_of(name)]


def masked_runs() -> list[RunConfig]:
    """Those of turn-over dropout among the runs whose scores are validated."""
    return [config for config in configs(["validate_scores"]) if config.estimator.name == "turnover"]


def everything() -> list[RunConfig]:
    return configs([*job().truth, *job().estimates, *job().leave_one_out, *job().influence])


@pytest.fixture(scope="module")
def outputs_of_all(tmp_path_factory: pytest.TempPathFactory, few_replicates: None) -> Path:
    """All runs, the table and the pictures, made once."""
    folder = tmp_path_factory.mktemp("validate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(folder))
        patch.setattr(validate, "finish", finish_and_look)
        with pytest.raises(RunFailed, match="is not finished: make it with: make validate SCALE=smoke"):
            make(job())
        for config in everything():
            execute(config)
        patch.delenv("WANDB_MODE")
        assert make(job(OFFLINE)) == folder / "validate" / "smoke" / "table.csv"
    return folder


@pytest.fixture
def folder(outputs_of_all: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(outputs_of_all))
    return outputs_of_all / "validate" / "smoke"


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "table.csv")


def test_every_estimator_has_its_rows(table: pd.DataFrame) -> None:
    assert {name.partition("/")[0] for name in table["estimator"]} == set(TITLES)
    plain = [str(column).removesuffix("_low").removesuffix("_high") for column in table]
    assert set(plain) == set(COLUMNS)
    assert not table[["auroc", "precision", "cost", "seconds", "memory"]].isna().any().any()
    known = table[table["spearman"].notna()]
    assert set(known["estimator"]) == set(table["estimator"])
    assert set(known["wrong"]) == {20}
    for measure in ("auroc", "spearman", "precision"):
        assert (known[f"{measure}_low"] <= known[measure] + 1e-4).all()
        assert (known[measure] <= known[f"{measure}_high"] + 1e-4).all()


def test_an_estimator_is_added_to_an_earlier_validation(
    folder: Path, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all had been made at once; the ground truth is that of the tables, its runs are gone."""
    names, earlier = ["blocks", "blocks_memorization"], tmp_path / "earlier"
    shutil.copytree(folder, earlier)
    without = table[~table["estimator"].isin(names)].drop(columns=["slope", "slope_low", "slope_high"])
    without.to_csv(earlier / "table.csv", index=False)
    for path in earlier.glob("examples_*.parquet"):
        examples = read_examples(path).reset_index()
        write_examples(path, examples.drop(columns=[name for name in names if name in examples]))
    outputs = tmp_path / "outputs"
    for config in configs(["validate_blocks"]):
        shutil.copytree(Run(config).folder, outputs / "runs" / Run(config).folder.name)
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(outputs))
    make(job(estimates=["validate_blocks"], onto=str(earlier)))
    made = outputs / "validate" / "smoke"
    found, keys = pd.read_csv(made / "table.csv"), ["estimator", "networks", "seeds", "wrong", "noise", "augmentation"]
    pd.testing.assert_frame_equal(found.drop(columns=list(found.filter(like="slope"))), table[[*without]])
    known = table.merge(found[[*keys, "dataset", "slope"]], on=[*keys, "dataset"], suffixes=("", "_again"))
    again = known[known["slope_again"].notna()]
    assert set(again["estimator"]) == set(SIZES), "of the rows whose scores are kept"
    np.testing.assert_allclose(again["slope_again"], again["slope"], atol=1e-4)
    pd.testing.assert_frame_equal(
        read_examples(made / "examples_mnist.parquet"), read_examples(folder / "examples_mnist.parquet")
    )
    about, whole = (json.loads((each / "validate.json").read_text()) for each in (made, folder))
    for name in ("truth", "leave_one_out", "influence", "settings", "commits", "machines"):
        assert about[name] == whole[name]
    assert about["runs"] == whole["runs"] + len(configs(["validate_blocks"]))
    assert about["onto"] == [{name: whole[name] for name in ("made", "commit")}]
    make(job(estimates=["validate_blocks"], onto=str(made)))
    again = json.loads((made / "validate.json").read_text())
    assert {name: again[name] for name in ("runs", "added", "training_seconds")} == {
        name: about[name] for name in ("runs", "added", "training_seconds")
    }, "runs that were added before count once"


def test_scores_under_other_wrong_labels_are_not_held_against_a_ground_truth(folder: Path) -> None:
    known = Earlier.of(folder, "smoke").truths()
    [(condition, estimates)] = gather(masked_runs(), masked_runs()).items()
    swapped = [
        replace(each, wrong=each.wrong.sample(frac=1, random_state=0).set_axis(each.wrong.index)) for each in estimates
    ]
    assert list(rows({condition: estimates}, known))
    with pytest.raises(RunFailed, match="other labels are wrong than those of the ground truth"):
        list(rows({condition: swapped}, known))


def test_a_data_set_without_ground_truth_has_no_ordinary_network(folder: Path) -> None:
    [of_cifar10] = configs(["validate_truth_cifar10"])
    with pytest.raises(RunFailed, match=r"of mnist, of which no experiment of truth is"):
        gather(masked_runs(), [of_cifar10])


def test_an_earlier_ground_truth_is_that_of_its_rows(folder: Path, tmp_path: Path) -> None:
    """Of the condition under which the table has correlations with it, whatever kind of wrong labels that is."""
    for path in folder.glob("*"):
        if path.suffix in (".csv", ".json", ".parquet"):
            shutil.copy(path, tmp_path)
    table = pd.read_csv(folder / "table.csv")
    table.replace({"noise": {"symmetric": "pair", "pair": "symmetric"}}).to_csv(tmp_path / "table.csv", index=False)
    [of_rows], [swapped] = (Earlier.of(where, "smoke").examples for where in (folder, tmp_path))
    assert of_rows == Condition.of(masked_runs()[0])
    assert swapped == replace(of_rows, noise="pair")


def test_only_a_validation_of_the_same_scale_is_added_to(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"there is no validate\.json; give a folder that make validate has written"):
        make(job(onto=str(tmp_path)))
    shutil.copytree(folder, tmp_path / "laptop")
    about = json.loads((folder / "validate.json").read_text()) | {"scale": "laptop"}
    (tmp_path / "laptop" / "validate.json").write_text(json.dumps(about))
    with pytest.raises(RunFailed, match="it is of laptop scale, not smoke: give scale=laptop"):
        make(job(onto=str(tmp_path / "laptop")))


def test_a_row_is_what_its_runs_say(folder: Path, table: pd.DataFrame) -> None:
    """Turn-over dropout at 10 %: one run and the mean of two, from the score tables themselves."""
    runs = masked_runs()
    tables = [read_scores(Run(config).folder) for config in runs]
    real = read_scores(Run(configs(["validate_truth"])[0]).folder)["memorization"].astype(np.float32)
    wrong = (tables[0]["label"] != tables[0]["true_label"]).to_numpy()
    mine = table[(table["estimator"] == "turnover") & table["spearman"].notna()].set_index("seeds")
    single = [spearmanr(each["score"], real).statistic for each in tables]
    mean = np.mean([each["score"].to_numpy(dtype=float) for each in tables], axis=0)
    assert mine.loc[1, "spearman"] == pytest.approx(np.mean(single), abs=1e-4)
    assert mine.loc[2, "spearman"] == pytest.approx(spearmanr(mean, real).statistic, abs=1e-4)
    assert mine.loc[2, "spearman_clean"] == pytest.approx(spearmanr(mean[~wrong], real[~wrong]).statistic, abs=1e-4)
    assert mine.loc[2, "auroc"] == pytest.approx(oracles.auroc(mean, wrong), abs=1e-4)
    assert mine.loc[2, "pearson"] == pytest.approx(np.corrcoef(mean, real)[0, 1], abs=1e-4)


def test_every_example_is_kept_with_its_scores(folder: Path) -> None:
    examples = read_examples(folder / "examples_mnist.parquet")
    tables = [read_scores(Run(config).folder) for config in masked_runs()]
    mean = np.mean([each["score"].to_numpy(dtype=float) for each in tables], axis=0)
    np.testing.assert_allclose(examples["turnover"], mean, rtol=1e-5, atol=1e-6)
    real = read_scores(Run(configs(["validate_truth"])[0]).folder)
    np.testing.assert_allclose(examples["true_memorization"], real["memorization"], atol=1e-6)


def test_costs_are_trainings_of_the_ordinary_network(folder: Path, table: pd.DataFrame) -> None:
    costs = table[table["seeds"] == 1].groupby(["estimator", "networks"])["cost"].mean()
    assert costs["cumulative_loss", 1] == pytest.approx(1)
    assert costs["turnover", 1] == pytest.approx(2, abs=0.03)  # twice as wide, but for the biases of the logits
    assert costs["second_split", 1] == pytest.approx(2)
    assert costs["confident_learning", 5] == pytest.approx(4)
    assert costs["memorization", 10] == pytest.approx(7)
    assert costs["memorization", 40] == pytest.approx(28)
    assert costs["vog", 1] == pytest.approx(2)
    assert costs["el2n", 1] == pytest.approx(1 / 3, abs=1e-4), "known after the first of three epochs"
    assert costs["grand", 1] == pytest.approx(2 / 3, abs=1e-4), "with a gradient pass"
    assert costs["el2n/2", 1] == pytest.approx(2 / 3, abs=1e-4)
    assert costs["grand/3", 1] == pytest.approx(4 / 3, abs=1e-4)
    assert costs["vog_probability", 1] == pytest.approx(2)
    assert costs["vog_early", 1] == pytest.approx(4 / 3, abs=1e-4), "two of three epochs, with as many passes"
    assert costs["vog_late", 1] == pytest.approx(5 / 3, abs=1e-4), "all of them, with two passes"


def test_scores_along_a_training_have_their_epoch_and_its_accuracy(folder: Path, table: pd.DataFrame) -> None:
    runs = configs(["validate_early"])
    moments = next(run for run in runs if isinstance(run.estimator, OneRunEstimator) and "el2n" in run.estimator.scores)
    metrics = read_metrics(Run(moments).folder)
    accuracy = metrics[(metrics["metric"] == "accuracy") & (metrics["split"] == "train")].set_index("epoch")["value"]
    parts = {each.name: each for each in gather([moments], [moments])[Condition.of(moments)]}
    scores = read_scores(Run(moments).folder)
    assert set(parts) == {f"{name}/{epoch}" for name in ("el2n", "grand") for epoch in (1, 2, 3)}
    for name, part in parts.items():
        assert name.endswith(f"/{part.epoch}")
        assert part.accuracy == accuracy[part.epoch or 0]
        assert part.scores.tolist() == scores[name].tolist()
    single = table[table["seeds"] == 1].set_index("estimator")
    along = single.loc[[f"el2n/{epoch}" for epoch in (1, 2, 3)]]
    assert along["epoch"].tolist() == [1, 2, 3]
    assert single.loc[["vog_early"], ["epoch", "train_accuracy"]].isna().to_numpy().all()
    with style():
        picture, title, note = early(table)
        finish_and_look(picture, title, [note])
    curve = picture.axes[0].lines[0]
    assert np.asarray(curve.get_xdata()).tolist() == [1, 2, 3]
    assert np.asarray(curve.get_ydata()).tolist() == along["spearman"].tolist()


def test_seconds_are_those_of_the_runs(table: pd.DataFrame) -> None:
    """Scores of one run took as long as that run; of an ensemble's networks the first ten took their share."""
    known = table[(table["seeds"] == 1) & table["spearman"].notna()].set_index(["estimator", "networks"])["seconds"]
    runs = [
        Run(config).manifest["seconds"] for config in configs(["validate_scores"]) if config.estimator.name == "one_run"
    ]
    assert known["vog", 1] == known["aum", 1] == pytest.approx(np.median(runs), rel=1e-4)
    assert known["memorization", 10] == pytest.approx(known["memorization", 40] / 4, rel=1e-4)


def test_the_ground_truth_is_that_of_its_networks(folder: Path) -> None:
    [config] = configs(["validate_truth"])
    members = kept(Run(config).folder)
    known = truth(config)
    n = len(members["ids"])
    assert isinstance(config.estimator, SubsamplingEstimator)
    assert members["included"].shape == (config.estimator.models, n) == (known.networks, n)
    for column in (0, n // 2, n - 1):
        inside = members["included"][:, column]
        right = members["right"][:, column].astype(float)
        expected = right[inside].mean() - right[~inside].mean()
        assert known.table["probability"].iloc[column] == np.float32(expected)
    assert all(0 <= known.ceiling(*key.split("/")) <= 1 for key in known.reliability)


def test_what_differs_by_rounding_alone_is_a_tie() -> None:
    shares = [0.3, 0.7 - 0.4, 0.31]
    assert len(set(shares)) == 3
    labels = pd.Series([1, 2, 3])
    scores = {"memorization": shares, "memorization_loss": shares, "out_accuracy": shares}
    found = truth_of(pd.DataFrame({**scores, "label": labels, "true_label": labels}))
    for form in ("probability", "loss", "error"):
        assert found[form].nunique() == 2
    assert not found["wrong"].any()


def test_small_ensembles_are_disjoint_parts_of_one(folder: Path, table: pd.DataFrame) -> None:
    [config] = configs(["validate_subsampling"])
    members = kept(Run(config).folder)
    parts = [each for each in gather([config], [config])[Condition.of(config)] if each.networks == 10]
    assert len(parts) == 4
    for number, part in enumerate(parts):
        rows = slice(10 * number, 10 * number + 10)
        included, right = members["included"][rows], members["right"][rows].astype(float)
        known = (included.sum(0) > 0) & (included.sum(0) < 10)
        first = np.flatnonzero(known)[0]
        inside = included[:, first]
        assert part.scores.iloc[first] == pytest.approx(right[inside, first].mean() - right[~inside, first].mean())
        assert part.scored == known.sum() < len(known), "some examples are in all ten or in none"
        assert (part.scores[~known] == part.scores[known].median()).all()
    row = table[(table["estimator"] == "memorization") & (table["networks"] == 10)]
    assert row[["seeds", "runs"]].to_numpy().tolist() == [[1, 4]]
    assert row["scored"].item() == round(np.mean([part.scored for part in parts]))


def test_ranks_against_the_error_of_networks_without_the_example(folder: Path, table: pd.DataFrame) -> None:
    [config] = configs(["validate_c_score"])
    [known] = configs(["validate_truth"])
    scores, real = (read_scores(Run(each).folder) for each in (config, known))
    both = (each.astype(np.float32) for each in (scores["inconsistency"], 1 - real["out_accuracy"]))
    expected = spearmanr(*both).statistic
    found = table[(table["estimator"] == "inconsistency") & table["spearman"].notna()]["spearman_error"].item()
    assert found == pytest.approx(expected, abs=1e-4)


def test_leave_one_out_is_held_against_every_estimator(folder: Path, table: pd.DataFrame) -> None:
    found = pd.read_csv(folder / "leave_one_out.csv")
    [config] = configs(["validate_leave_one_out"])
    exact = read_scores(Run(config).folder)
    assert {name.partition("/")[0] for name in found["estimator"]} == {*TITLES, "truth"}
    assert set(found["examples"]) == {len(exact)} == {4}
    assert set(found["wrong"]) == {2}
    runs = masked_runs()
    mean = np.mean([read_scores(Run(each).folder)["score"].reindex(exact.index) for each in runs], axis=0)
    mine = found[(found["estimator"] == "turnover") & (found["seeds"] == 2)].iloc[0]
    assert mine["pearson"] == pytest.approx(np.corrcoef(mean, exact["memorization"])[0, 1], abs=1e-4)
    [known] = configs(["validate_truth"])
    real = read_scores(Run(known).folder)["memorization"].reindex(exact.index)
    assert found.set_index("estimator").loc["truth", "pearson_loss"] == pytest.approx(
        np.corrcoef(real, exact["memorization_loss"])[0, 1], abs=1e-4
    )
    said = json.loads((folder / "validate.json").read_text())["leave_one_out"]["mnist"]
    assert said["reliability"] == pytest.approx(split_seeds(config))


def test_the_reliability_of_leave_one_out_is_that_of_its_seeds(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Three examples left out by six seeds; of each seed one network an example, in the order of the examples."""
    draw = np.random.default_rng(0)
    left = np.array([4, 0, 7])
    right = draw.random((18, 9)) < 0.6
    included = np.ones((18, 9), dtype=bool)
    included[np.arange(18), np.tile(left, 6)] = False
    halves = []
    for parity in (0, 1):
        rows = [row for row in range(18) if row // 3 % 2 == parity]
        halves.append(
            [
                right[[row for row in rows if included[row, i]], i].mean()
                - right[[row for row in rows if not included[row, i]], i].mean()
                for i in sorted(left)
            ]
        )
    r = spearmanr(*halves).statistic
    nothing = torch.zeros(18, 0)
    members = Members(
        np.arange(9),
        np.arange(0),
        torch.from_numpy(included),
        torch.from_numpy(included.mean(1)),
        nothing,
        torch.from_numpy(right),
        nothing,
        nothing,
    )
    monkeypatch.setattr("turnover.experiments.validation.other_truths.read_members", lambda run: members)
    [config] = configs(["validate_leave_one_out"])
    assert split_seeds(config) == pytest.approx(2 * r / (1 + r))


def test_the_forms_of_turn_over_scores(folder: Path) -> None:
    config = masked_runs()[0]
    assert isinstance(config.estimator, TurnoverEstimator)
    scores = read_scores(Run(config).folder)
    found = {each.name: each.scores for each in gather([config], [config])[Condition.of(config)]}
    probability = np.exp(-scores["own_loss"]) - np.exp(-scores["flipped_loss"])
    assert set(found) == {"turnover", "turnover_probability", "turnover_flipped"}
    np.testing.assert_allclose(found["turnover_probability"], probability)
    np.testing.assert_allclose(found["turnover"], scores["flipped_loss"] - scores["own_loss"], atol=1e-5)


def test_influences_are_held_against_those_of_the_networks(folder: Path) -> None:
    """By loops: for each test example, over training examples, means over networks with and without them."""
    [known] = configs(["validate_truth"])
    runs = configs(["validate_influence"])
    members = kept(Run(known).folder)
    n, tests = len(members["ids"]), len(members["test_ids"])
    losses = np.log1p(np.exp(-members["confidence"][:, n:].astype(np.float64)))
    single = []
    for run in runs:
        found = read_influences(Run(run).folder)
        by_test = []
        for t in range(tests):
            real = [
                losses[~members["included"][:, i], t].mean() - losses[members["included"][:, i], t].mean()
                for i in range(n)
            ]
            by_test.append(np.corrcoef(real, found[members["test_ids"][t]].reindex(members["ids"]))[0, 1])
        single.append(np.mean(by_test))
    result = influence_agreement(known, runs)
    assert result["one_run"] == pytest.approx(np.mean(single), abs=1e-6)
    assert result["runs"] == len(runs) == 2
    assert json.loads((folder / "validate.json").read_text())["influence"]["mnist"] == pytest.approx(result)


def test_exposure_is_told_for_every_tenth(folder: Path) -> None:
    exposed = pd.read_csv(folder / "exposure.csv")
    [config] = [each for each in configs(["validate_truth"]) if each.dataset.name == "mnist"]
    members = kept(Run(config).folder)
    included = members["included"]
    ratios = np.array(
        log_likelihood_ratios(members["confidence"][:, : len(members["ids"])].tolist(), included.tolist())
    )
    scores = read_scores(Run(config).folder)
    order = np.lexsort((scores["memorization_loss"], scores["memorization"]))
    wrong = (scores["label"] != scores["true_label"]).to_numpy()
    for _, part in exposed.groupby("dataset"):
        assert list(part["tenth"]) == list(range(11))
        tenths = part[part["tenth"] > 0]
        assert tenths["examples"].sum() == part["examples"].iloc[0]
        assert tenths["memorization"].is_monotonic_increasing
        assert part["mistaken_at_0.01"].iloc[0] <= 0.01 + 1e-6
        assert part["mistaken_at_0.001"].iloc[0] <= 0.001 + 1e-6
    mine = exposed[exposed["dataset"] == "mnist"].set_index("tenth")
    limit = sorted(ratios[~included], reverse=True)[int(0.01 * (~included).sum())]
    for tenth, places in enumerate([order, *np.array_split(order, 10)]):
        inside, above = included[:, places], ratios[:, places] > limit
        assert mine.loc[tenth, "found_at_0.01"] == pytest.approx(above[inside].mean(), abs=1e-4)
        assert mine.loc[tenth, "mistaken_at_0.01"] == pytest.approx(above[~inside].mean(), abs=1e-4)
        assert mine.loc[tenth, "wrong"] == pytest.approx(wrong[places].mean(), abs=1e-4)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn(name: str, folder: Path) -> None:
    image = Image.open(folder / f"{name}.png")
    assert image.width >= 800
    assert len(np.unique(np.asarray(image.convert("L")))) > 20, "the picture is empty"
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_what_it_was_made_from_is_recorded(folder: Path) -> None:
    result = json.loads((folder / "validate.json").read_text())
    assert result["runs"] == len({Run(config).name for config in everything()})
    assert result["commit"]
    assert result["training_seconds"] > 0
    assert set(result["truth"]) == {"mnist", "cifar10"}
    assert any("smoke" in line for line in result["settings"])
    count = next(config.corruption.count for config in everything() if config.corruption.count)
    assert any(f"; ground truth with {count:,} wrong labels by " in line for line in result["settings"])


def test_pictures_table_and_the_runs_behind_them_are_logged(folder: Path) -> None:
    pytest.importorskip("wandb")
    told = records(folder)
    [run] = of_kind(told, "run")
    assert (run["display_name"], run["run_group"]) == ("validate-smoke", "validate")
    [captions] = [item["figures.captions"] for item in history(told) if "figures.captions" in item]
    assert len(captions) == len(PICTURES)
    used = {each["name"] for each in of_kind(told, "artifact") if each.get("use_after_commit")}
    assert used >= {f"scores-{Run(config).name}" for config in everything()}
    [made] = [each for each in of_kind(told, "artifact") if each["name"] == "figure-validate-smoke"]
    files = {each["path"] for each in made["manifest"]["contents"]}
    assert files >= {"table.csv", "validate.json", *(f"{name}.png" for name in PICTURES)}
