"""The config group `estimator`: every option runs and writes its score, and what cannot be is refused in one line."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from digits import digits

from turnover.config.compose import composed, resolved, sweep
from turnover.config.estimator_names import ALIASES
from turnover.config.estimators import NoEstimator, TurnoverEstimator, score_of
from turnover.config.run import RunConfig, identity
from turnover.errors import RefusedInput
from turnover.runs.execute import execute
from turnover.runs.store.tables import SCORE_COLUMNS, read_scores

ROOT = Path(__file__).resolve().parents[2]
# extraction is of text
OPTIONS = sorted({*ALIASES, *(path.stem for path in (ROOT / "conf" / "estimator").glob("*.yaml"))} - {"extraction"})
ORDINARY = [name for name in OPTIONS if name not in ("none", "turnover", "turnover_tuned")]
SEVERAL = ["blocks", "c_score", "confident_learning", "leave_one_out", "membership", "second_split", "subsampling"]
SMALL = ("dataset.limit=40", "model.hidden=[8]", "epochs=2")
DIFFICULT = ("subsets=labels", "subsets.size=10", "subsets.train_on=difficult", "corruption.count=30")


def config_of(*overrides: str) -> RunConfig:
    """Of 100 examples of digits, unless the overrides say otherwise."""
    fixed = ["dataset=digits", "scale=smoke", "dataset.limit=100"]
    return resolved(composed([*fixed, *overrides]))


def refusal(*overrides: str) -> str:
    with pytest.raises(RefusedInput) as caught:
        config_of(*overrides)
    return str(caught.value)


# --- every option ---


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "none"])
def test_every_option_runs_and_writes_its_score(name: str) -> None:
    config = digits(f"estimator={name}", *SMALL, *(["turnover=off"] if name in ORDINARY else []))
    folder = execute(config)
    assert folder.name.startswith("score-digits-mlp-")
    table = read_scores(folder)
    stored = pd.read_parquet(folder / "scores.parquet")
    assert list(stored.columns) == [column for column in SCORE_COLUMNS if column in stored]
    assert set(stored["epoch"]) == {2}
    assert len(table) == (4 if name == "leave_one_out" else 40)
    assert np.isfinite(table["score"]).any()
    if not name.startswith("turnover"):
        column = "memorization" if name == "leave_one_out" else score_of(config.estimator)
        assert table["score"].tolist() == pytest.approx(table[column].astype(np.float32).tolist(), nan_ok=True, abs=0)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished"
    assert manifest["examples_trained"] > 0
    assert ("leakage" in manifest) == isinstance(config.estimator, TurnoverEstimator)
    assert ("networks" in manifest) == (name in SEVERAL and name != "second_split")
    assert (folder / "metrics.parquet").exists()
    assert not (folder / "scratch").exists()


def test_without_an_estimator_there_are_no_scores() -> None:
    config = digits(*SMALL, "estimator=none", entry="train")
    assert isinstance(config.estimator, NoEstimator)
    folder = execute(config)
    assert folder.name.startswith("train-digits-mlp-")
    assert not (folder / "scores.parquet").exists()


# --- what is refused ---


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_networks_have_no_turn_over_dropout(name: str) -> None:
    told = refusal(f"estimator={name}", "turnover=all_layers")
    assert re.fullmatch(r"estimator\.name = '\w+' scores ordinary networks: set turnover=off", told)


def test_turn_over_dropout_is_scored_where_it_is() -> None:
    told = refusal("estimator=turnover", "turnover=off")
    assert told == "estimator=turnover needs turn-over dropout: set turnover=all_layers"


@pytest.mark.parametrize("name", SEVERAL)
def test_several_networks_have_no_gradients_to_track(name: str) -> None:
    told = refusal(f"estimator={name}", "tracking=gradients")
    assert re.fullmatch(r"estimator\.name = '\w+' trains several networks: set tracking=accuracy", told)


REFUSED = {
    ("estimator=one_run", "epochs=5", "estimator.early=6"): (
        "estimator.early = 6 is too large: at most 5, the number of epochs"
    ),
    (
        "estimator=one_run",
        "estimator.early=0",
    ): "estimator.early = 0: must be an epoch, at least 1, or a list of such epochs",
    ("estimator=one_run", "epochs=5", "estimator.early=[1,3,3]"): "estimator.early = [1, 3, 3]: must be an epoch",
    ("estimator=one_run", "epochs=5", "estimator.early=[1,6]"): "estimator.early = 6 is too large: at most 5",
    ("estimator=vog", "estimator.vog_of=loss"): "estimator.vog_of = 'loss': should be 'logit' or 'probability'",
    ("estimator=one_run", "estimator.scores=[aum,vog,aum]"): (
        "estimator.scores = ['aum', 'vog', 'aum']: each must be named at most once"
    ),
    ("estimator=one_run", "estimator.scores=[aum,loss]"): (
        "estimator.scores.1 = 'loss': should be 'forgetting', 'first_learning', 'aum', 'cumulative_loss', "
        "'final_loss', 'confidence', 'el2n', 'grand', 'learning' or 'vog'"
    ),
    ("estimator=one_run", "estimator.scores=[]"): "estimator.scores = []: ",
    ("estimator=leave_one_out", "estimator.examples=101"): (
        "estimator.examples = 101 is too large: at most 100, the examples trained on"
    ),
    ("estimator=leave_one_out", "estimator.examples=1"): "estimator.examples = 1: should be greater than or equal to 2",
    ("estimator=leave_one_out", "estimator.seeds=0"): "estimator.seeds = 0: should be greater than or equal to 1",
    ("estimator=confident_learning", "estimator.folds=101"): (
        "estimator.folds = 101 is too large: at most 100, the examples trained on"
    ),
    ("estimator=confident_learning", "estimator.folds=1"): "estimator.folds = 1: should be greater than or equal to 2",
    ("estimator=subsampling", "estimator.fractions=[0.5,0.001]"): (
        "estimator.fractions = 0.001: none or all of 100 examples; take another share"
    ),
    ("estimator=subsampling", "estimator.fractions=[0.999]"): (
        "estimator.fractions = 0.999: none or all of 100 examples; take another share"
    ),
    ("estimator=subsampling", "estimator.fractions=[1.0]"): "estimator.fractions.0 = 1.0: should be less than 1",
    ("estimator=subsampling", "estimator.models=1"): (
        "estimator.models = 1: at least 2 networks are needed, one with and one without an example"
    ),
    ("estimator=subsampling", "estimator.score=memory"): (
        "estimator.score = 'memory': should be 'memorization', 'memorization_loss', 'inconsistency' or 'membership'"
    ),
    ("estimator=second_split", "estimator.epochs=0"): "estimator.epochs = 0: should be greater than or equal to 1",
    ("estimator=second_split", "dataset.limit=1"): (
        "estimator.name = 'second_split' trains on halves: at least 2 examples are needed, there is 1"
    ),
    # of a subset that is trained on alone
    ("estimator=leave_one_out", "estimator.examples=11", *DIFFICULT): (
        "estimator.examples = 11 is too large: at most 10, the examples trained on"
    ),
    ("estimator=confident_learning", "estimator.folds=11", *DIFFICULT): (
        "estimator.folds = 11 is too large: at most 10, the examples trained on"
    ),
    ("estimator=subsampling", "estimator.fractions=[0.04]", *DIFFICULT): (
        "estimator.fractions = 0.04: none or all of 10 examples; take another share"
    ),
}


@pytest.mark.parametrize("overrides", REFUSED, ids=" ".join)
def test_one_line_names_the_field_its_value_and_what_is_allowed(overrides: tuple[str, ...]) -> None:
    told = refusal(*overrides)
    assert told.startswith(REFUSED[overrides])
    assert "\n" not in told


@pytest.mark.parametrize(
    "overrides",
    [
        ("estimator=one_run", "epochs=5", "estimator.early=5"),
        ("estimator=leave_one_out", "estimator.examples=100"),
        ("estimator=confident_learning", "estimator.folds=100"),
        ("estimator=subsampling", "estimator.fractions=[0.01,0.99]", "estimator.models=1"),
        ("estimator=leave_one_out", "estimator.examples=10", *DIFFICULT),
        ("estimator=leave_one_out", "estimator.examples=120", "dataset.include_test=true", "dataset.test_limit=20"),
    ],
    ids=" ".join,
)
def test_the_largest_values_are_allowed(overrides: tuple[str, ...]) -> None:
    assert config_of(*overrides).trained_size in (10, 100, 120)


SCORED = ("subsets=scores", "subsets.size=12")


def scored_by(*overrides: str) -> str:
    listed = ",".join(f'"{override}"' for override in ("dataset=digits", "dataset.limit=100", *overrides))
    return f"subsets.runs=[{listed}]"


@pytest.mark.parametrize(
    ("train_on", "size"),
    [("all", 100), ("easy", 12), ("random", 12), ("without_difficult", 88), ("without_random", 88)],
)
def test_how_many_are_trained_on(train_on: str, size: int) -> None:
    config = config_of(*SCORED, f"subsets.train_on={train_on}", scored_by("seed=0"))
    assert config.trained_size == size


def test_scores_of_several_estimators_are_not_averaged() -> None:
    told = refusal(*SCORED, scored_by("turnover=off", "estimator=vog,aum,c_score"))
    assert told == "subsets.runs: the score runs give different scores, aum, inconsistency, vog; choose one of them"
    config_of(*SCORED, scored_by("turnover=off", "estimator=aum", "seed=0,1"))


# --- which networks an estimator scores ---


@pytest.mark.parametrize("entry", ["train", "score"])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "none"])
def test_an_estimator_brings_the_networks_that_it_scores(name: str, entry: str) -> None:
    """With scripts/train.py and scripts/score.py alike, and as if turn-over dropout had been asked for by name."""
    masks = "turnover=all_layers" if name.startswith("turnover") else "turnover=off"
    [config] = sweep([f"estimator={name}"], entry)
    [asked] = sweep([masks, f"estimator={name}"], "train")
    assert config == asked
    assert identity(config) == identity(asked)


def test_options_of_turn_over_dropout_go_with_its_estimator() -> None:
    [config] = sweep(["estimator=turnover", "turnover.p=0.3"], "train")
    assert (config.turnover.name, config.turnover.p) == ("all_layers", 0.3)  # type: ignore[union-attr]
    both = sweep(["dataset=digits", "estimator=turnover,aum"], "train")
    assert [each.turnover.name for each in both] == ["all_layers", "off"], "in one sweep"
    [plain] = sweep([], "train")
    assert plain.turnover.name == "off"
