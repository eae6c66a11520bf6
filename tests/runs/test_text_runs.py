"""Runs on text, from config to tables: what is trained, scored and stored, and a run that is killed and goes on."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from test_signals import signalled
from texts import installed, text_run
from torch import Tensor

from turnover.common.signals import Stopped
from turnover.config.compose import sweep
from turnover.config.parse import recorded
from turnover.config.run import RunConfig
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.errors import RefusedInput
from turnover.runs import checkpoint
from turnover.runs.build import RunTask, build
from turnover.runs.execute import execute
from turnover.runs.store.members import read_members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_metrics, read_scores
from turnover.training.fit import fit
from turnover.training.loop import Observer, visits

PLANTED = ("planting=canaries", "planting.duplicates=2", "planting.counts=[1,4]")
SUBSAMPLING = ("estimator=subsampling", "estimator.models=16", "estimator.fractions=[0.5]")
KINDS = {
    "turnover": ("turnover=language", "estimator.epochs=[1]"),
    "one_run": ("estimator=one_run", "estimator.scores=[learning,cumulative_loss,final_loss]", "estimator.early=2"),
    "subsampling": (*SUBSAMPLING, "estimator.score=memorization_loss"),
    "blocks": ("estimator=blocks",),
}
TEXT = {"tokens", "copies", "kind", "code", "text", "split", "score"}
COLUMNS = {
    "turnover": {"own_loss", "flipped_loss", "own_accuracy", "flipped_accuracy"},
    "one_run": {"learning", "cumulative_loss", "final_loss"},
    "subsampling": {"memorization", "memorization_loss", "out_accuracy", "in_loss", "out_loss", "inconsistency"},
    "blocks": {"memorization_loss", "memorization_se", "in_loss", "out_loss"},
}


@pytest.fixture(autouse=True)
def _speeches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tmp_path / "data", repeated=20)


def config_of(kind: str) -> RunConfig:
    return text_run(*PLANTED, *KINDS[kind])


def task_of(config: RunConfig) -> RunTask:
    return build(config, torch.device("cpu"))


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return read


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_has_its_scores_and_its_facts(kind: str) -> None:
    config = config_of(kind)
    folder = execute(config)
    table, task = read_scores(folder), task_of(config)
    assert set(table) >= TEXT | COLUMNS[kind]
    assert not set(table) & {"label", "true_label", "corrupted"}
    assert table.index.tolist() == task.train.ids.tolist()
    facts = task.dataset.texts.loc[table.index]
    for name in ("tokens", "copies", "kind", "text"):
        assert table[name].tolist() == facts[name].tolist()
    assert table["code"].dropna().tolist() == facts["code"].dropna().tolist()
    assert table["code"].notna().sum() == (table["kind"] == "canary").sum() == 4
    assert np.isfinite(table["score"]).all()
    assert (folder / "tokenizer.json").read_text(encoding="utf-8") == task.dataset.tokenizer.to_str(pretty=True)
    assert "tokenizer.json" in (folder / "checksums.txt").read_text(encoding="utf-8")
    stored = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert recorded(stored) == config


def test_scores_are_losses_of_sub_networks_of_the_stored_network() -> None:
    config = config_of("turnover")
    folder = execute(config)
    task, table = task_of(config), read_scores(folder)
    assert checkpoint.load(folder / "checkpoint.pt", task.model, task.optimizer) is not None
    own, flipped = evaluate(task.model, task.train, (own_units, flipped_units))
    np.testing.assert_allclose(table["own_loss"], own.loss, rtol=1e-5)
    np.testing.assert_allclose(table["score"], flipped.loss - own.loss, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(table["own_accuracy"], own.right, rtol=1e-5)
    epochs = pq.read_table(folder / "scores.parquet")["epoch"].to_pandas()
    assert epochs.unique().tolist() == [1, config.epochs]
    held_out = read_metrics(folder).query("metric == 'full_loss' and split == 'test'")
    [test] = evaluate(task.model, task.groups["test", "all"])
    assert held_out["value"].iloc[-1] == pytest.approx(float(test.loss.double().mean()), rel=1e-5)
    assert "difference" in manifest(folder)["leakage"]  # of first tokens


class Counts(Observer):
    """How often a training visits every example."""

    def __init__(self, n: int) -> None:
        self.visits = torch.zeros(n, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        self.visits.index_add_(0, index, torch.ones_like(index))


def test_an_epoch_trains_on_every_copy_and_its_losses_are_means_over_them() -> None:
    config = text_run(*PLANTED, "estimator=final_loss", "optimizer.lr=1e-30", "optimizer.weight_decay=0", "epochs=2")
    task = task_of(config)
    copies = torch.tensor(task.known.loc[task.train.ids.tolist(), "copies"].tolist())
    assert visits(task.train) == copies.sum() > len(copies)
    counts = Counts(len(copies))
    first, _ = fit(config, task.model, task.train, observers=[counts])
    assert torch.equal(counts.visits, 2 * copies)
    [still] = evaluate(task.model, task.train)  # a network that does not move has the same loss at every visit
    torch.testing.assert_close(first.losses, still.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.correct, still.right, rtol=1e-4, atol=1e-5)


def test_the_loss_of_an_example_is_a_mean_over_its_visits_while_weights_move() -> None:
    """Against the loss of every step, computed again from what the observer sees."""
    config = text_run(*PLANTED, "estimator=final_loss", "epochs=1")
    task = task_of(config)
    seen: dict[int, list[float]] = {}

    class Notes(Observer):
        def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
            losses = task.train.loss(logits.detach(), labels)
            for position, loss in zip(index.tolist(), losses.tolist(), strict=True):
                seen.setdefault(position, []).append(loss)

    [epoch] = fit(config, task.model, task.train, observers=[Notes()])
    expected = [sum(seen[position]) / len(seen[position]) for position in range(len(task.train))]
    np.testing.assert_allclose(epoch.losses, expected, rtol=1e-5)
    assert max(map(len, seen.values())) == 4


def test_networks_of_subsampling_leave_texts_out_with_all_of_their_copies() -> None:
    config = config_of("subsampling")
    folder = execute(config)
    members, table = read_members(folder), read_scores(folder)
    losses, inside = -members.confidence.double().numpy(), members.included.numpy()
    by_hand = [losses[~of, n].mean() - losses[of, n].mean() for n, of in enumerate(inside.T)]
    np.testing.assert_allclose(table["memorization_loss"], by_hand, rtol=1e-5)
    trained = int((inside * table["copies"].to_numpy()).sum())
    assert manifest(folder)["examples_trained"] == trained * config.epochs


@pytest.fixture(params=KINDS)
def whole(request: pytest.FixtureRequest) -> tuple[RunConfig, dict[str, bytes]]:
    """A run of each kind, and its tables when nothing stops it."""
    config = config_of(request.param)
    folder = execute(config)
    names = ("scores.parquet", "metrics.parquet", "tokenizer.json")
    return config, {name: (folder / name).read_bytes() for name in names}


def test_stopped_at_any_step_a_run_goes_on_bit_for_bit(
    whole: tuple[RunConfig, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tables = whole
    for at in (1, 6, 11):
        monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / f"stopped {at}"))
        with signalled(monkeypatch, at, signal.SIGTERM), pytest.raises(Stopped, match="SIGTERM"):
            execute(config)
        assert not Run(config).finished
        folder = execute(config)
        for name, content in tables.items():
            assert (folder / name).read_bytes() == content, f"{name}, stopped at {at}"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=mlp"], ["model.name = 'mlp'", "set model=gpt"]),
        (["optimizer=sgd"], ["optimizer.name = 'sgd'", "set optimizer=adamw_gpt"]),
        (["corruption=labels"], ["corruption: is of images", "sotu is text", "set corruption=none"]),
        (["augmentation=crop"], ["augmentation: is of images", "set augmentation=none"]),
        (["subsets=labels"], ["subsets: is of images", "set subsets=none"]),
        (["method=label_smoothing"], ["method: is of images", "set method=plain"]),
        (["class_weights=balanced"], ["class_weights: is of images", "set class_weights=none"]),
        (["tracking=gradients"], ["tracking: is of images", "set tracking=accuracy"]),
        (["estimator=turnover", "estimator.targets=3"], ["estimator.targets = 3", "set it to 0"]),
        (["estimator=el2n"], ["estimator.scores: el2n", "cumulative_loss, final_loss, learning"]),
        (["estimator=one_run"], ["forgetting, first_learning, aum, confidence, el2n, grand, vog"]),
        (["estimator=confident_learning"], ["'confident_learning': needs classes", "turnover, extraction, blocks"]),
        (["estimator=second_split"], ["'second_split': needs classes"]),
        (["estimator=leave_one_out"], ["'leave_one_out': needs classes"]),
        (["dataset.limit=91"], ["dataset.limit = 91", "at most 90"]),
        (["dataset.vocabulary=257"], ["dataset.vocabulary = 257", "greater than or equal to 258"]),
        (["dataset.context=1"], ["dataset.context = 1", "greater than or equal to 2"]),
        (["planting=canaries", "planting.template='no name is {code}'"], ["planting.template", "must have {name}"]),
        (["planting=canaries", "planting.template='{name} has {code} '"], ["planting.template", "{code} at its end"]),
        (["planting=canaries", "planting.counts=[]"], ["planting.counts = []", "at least 1 item"]),
    ],
)
def test_what_has_no_meaning_for_text_is_refused_with_what_has(overrides: list[str], parts: list[str]) -> None:
    changed = {each.partition("=")[0] for each in overrides}
    small = [
        *("dataset=sotu", "scale=smoke", "logger=none", "schedule.warmup=0"),
        *(["model=gpt"] if "model" not in changed else ["optimizer=adamw", "schedule=constant"]),
    ]
    with pytest.raises(RefusedInput) as caught:
        sweep([*small, *overrides])
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=gpt"], "model.name = 'gpt': reads text; set dataset=sotu"),
        (["planting=canaries"], "planting: is of texts, and digits has images"),
    ],
)
def test_what_is_of_text_is_refused_for_images(overrides: list[str], told: str) -> None:
    with pytest.raises(RefusedInput, match=told):
        sweep(["dataset=digits", "scale=smoke", *overrides])


def test_what_is_of_images_is_no_field_of_texts() -> None:
    values = text_run().model_dump()
    values["dataset"]["normalization"] = "unit"
    with pytest.raises(ValueError, match="normalization"):
        RunConfig.model_validate(values)
