"""Scores of one ordinary run, against a training of their own and plain Python; a run that dies and goes on."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import score_oracles as oracles
import torch
from crashes import crashes_that_change_nothing
from digits import digits
from torch import Tensor, nn

from turnover.config.estimators import SCORES, OneRunEstimator
from turnover.config.run import RunConfig
from turnover.data.augmentation import augmented
from turnover.estimators import one_run as watching
from turnover.runs import checkpoint
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.tables import SCORE_COLUMNS, read_metrics, read_scores
from turnover.training.loop import Observer, train

ALWAYS = ["split", "label", "true_label", "corrupted", "score"]
SMALL = (
    *("turnover=off", "dataset.limit=120", "model.hidden=[16]", "batch_size=32", "corruption.count=30"),
    *("optimizer.lr=0.1", "optimizer.momentum=0.9"),
)


@cache
def config_of(*overrides: str) -> RunConfig:
    return digits(*SMALL, "estimator=one_run", "epochs=5", "estimator.early=2", *overrides)


class Notes(Observer):
    """Every logit of a training, by epoch and example."""

    def __init__(self) -> None:
        self.logits: list[dict[int, list[float]]] = []

    @contextmanager
    def forward(self, epoch: int, batch: int) -> Iterator[None]:
        if len(self.logits) < epoch:
            self.logits.append({})
        yield

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        self.logits[-1] |= dict(zip(index.tolist(), logits.detach().double().tolist(), strict=True))


def networks_of(config: RunConfig, *observers: Observer) -> tuple[list[nn.Module], list[Tensor], list[int]]:
    """The network after every epoch, in float64, with the inputs and labels that it is trained on."""
    parts = build(config, torch.device("cpu"))
    networks: list[nn.Module] = []
    for _ in train(
        parts.model,
        augmented(parts.train, config.augmentation),
        parts.optimizer,
        lambda step: config.optimizer.lr,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        observers=observers,
    ):
        networks.append(copy.deepcopy(parts.model).double().eval())
    return networks, list(parts.dataset.inputs(parts.train.inputs).double()), parts.train.labels.tolist()


def by_hand(config: RunConfig, early: int) -> dict[str, list[float]]:
    """Every score of the run, by training its network again and going through the examples one at a time."""
    notes = Notes()
    networks, x, labels = networks_of(config, notes)
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for i, label in enumerate(labels):
        logits = [epoch[i] for epoch in notes.logits]
        right = [each.index(max(each)) == label for each in logits]
        found["forgetting"].append(oracles.forgetting_events(right))
        found["first_learning"].append(oracles.earliest_epoch(right))
        found["aum"].append(-oracles.mean([oracles.margin(each, label) for each in logits]))
        found["cumulative_loss"].append(oracles.mean([-np.log(oracles.softmax(each)[label]) for each in logits]))
        last, soon = (networks[epoch - 1](x[i][None])[0].tolist() for epoch in (config.epochs, early))
        found["final_loss"].append(-np.log(oracles.softmax(last)[label]))
        found["learning"].append(np.log(oracles.softmax(last)[label]) - np.log(oracles.softmax(soon)[label]))
        found["confidence"].append(oracles.unconfidence(last, label))
        found["el2n"].append(oracles.el2n(soon, label))
        found["grand"].append(oracles.grand(networks[early - 1], x[i], label))
    found["vog"] = oracles.standardised(oracles.variance_of_gradients(networks, x, labels), labels)
    return found


# --- the scores ---


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_every_column_equals_its_definition(augmentation: str) -> None:
    every = ["cumulative_loss", *(name for name in SCORES if name != "cumulative_loss")]
    config = config_of(f"augmentation={augmentation}", f"estimator.scores=[{','.join(every)}]")
    folder = execute(config)
    table = read_scores(folder)
    expected = by_hand(config, early=2)
    assert [name for name in SCORES if not expected[name]] == [], "without a line in by_hand"
    assert list(table.columns) == [*ALWAYS, *[name for name in SCORE_COLUMNS if name in SCORES]]
    for name in SCORES:
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
        assert table[name].nunique() > 2, f"{name} tells examples apart"
    assert table["score"].tolist() == table["cumulative_loss"].astype(np.float32).tolist()
    late = by_hand(config, early=3)
    for name in ("el2n", "grand", "learning"):
        assert not np.allclose(table[name], late[name], rtol=0.01), f"{name} depends on its epoch"


def test_the_table_knows_every_example() -> None:
    config = config_of("estimator.scores=[aum]")
    folder = execute(config)
    table, data = read_scores(folder), build(config, torch.device("cpu")).dataset.train
    assert table.index.tolist() == data.ids.tolist()
    assert table["label"].tolist() == data.labels.tolist()
    assert table["true_label"].tolist() == data.true_labels.tolist()
    assert table["corrupted"].tolist() == data.corrupted.tolist()
    assert set(table["split"]) == {"train"}
    schema = pq.read_schema(folder / "scores.parquet")
    assert schema.names == ["epoch", "id", *ALWAYS, "aum"]
    assert set(pd.read_parquet(folder / "scores.parquet")["epoch"]) == {5}


def test_only_what_is_asked_for_is_measured_and_the_first_is_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_scores(execute(config_of()))
    with monkeypatch.context() as patch:
        for name in ("grand", "el2n", "GradientVariance"):
            patch.setattr(watching, name, lambda *_: pytest.fail("measured"))
        cheap = read_scores(execute(config_of("estimator.scores=[forgetting,final_loss]")))
    dear = read_scores(execute(config_of("estimator.scores=[vog,grand]")))
    assert list(cheap.columns) == [*ALWAYS, "forgetting", "final_loss"]
    assert list(dear.columns) == [*ALWAYS, "grand", "vog"]
    for table, first in ((cheap, "forgetting"), (dear, "vog"), (whole, "cumulative_loss")):
        pd.testing.assert_frame_equal(table[table.columns[5:]], whole[table.columns[5:]])
        assert table["score"].tolist() == table[first].astype(np.float32).tolist()


def test_scores_after_several_epochs_are_those_of_each() -> None:
    table = read_scores(execute(config_of("estimator.scores=[el2n,aum,grand]", "estimator.early=[1,3,5]")))
    assert list(table.columns) == [
        *ALWAYS,
        "aum",
        *(f"{name}/{epoch}" for name in ("el2n", "grand") for epoch in (1, 3, 5)),
    ]
    for epoch in (1, 3, 5):
        single = read_scores(execute(config_of("estimator.scores=[el2n,grand]", f"estimator.early={epoch}")))
        for name in ("el2n", "grand"):
            assert table[f"{name}/{epoch}"].tolist() == single[name].tolist()
    assert table["score"].tolist() == table["el2n/1"].astype(np.float32).tolist()


@pytest.mark.parametrize("window", ["early", "late"])
@pytest.mark.parametrize("of", ["logit", "probability"])
def test_gradients_of_a_third_of_the_epochs(of: str, window: str) -> None:
    options = (f"estimator.vog_of={of}", f"estimator.vog_epochs={window}", "estimator.scores=[vog]", "epochs=7")
    config = config_of(*options)
    table = read_scores(execute(config))
    networks, x, labels = networks_of(config)
    third = networks[:3] if window == "early" else networks[4:]
    expected = oracles.standardised(oracles.variance_of_gradients(third, x, labels, of), labels)
    np.testing.assert_allclose(table["vog"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_each_of_them_alone(name: str) -> None:
    config = digits(*SMALL, f"estimator={name}", "epochs=3")
    assert isinstance(config.estimator, OneRunEstimator)
    assert (config.estimator.scores, config.estimator.early) == ([name], 1)
    table = read_scores(execute(config))
    assert list(table.columns) == [*ALWAYS, name]
    assert table["score"].tolist() == table[name].astype(np.float32).tolist()
    assert np.isfinite(table[name]).all()


def test_examples_of_a_subset_that_is_trained_on_alone_keep_what_is_known_of_them() -> None:
    subsets = ("subsets=labels", "subsets.size=20", "subsets.train_on=difficult")
    config = config_of(*subsets, "estimator.scores=[aum,vog,el2n]")
    folder = execute(config)
    table, data = read_scores(folder), build(config, torch.device("cpu")).dataset.train
    chosen = pd.read_parquet(folder / "subsets.parquet").query("subset == 'difficult'")
    assert sorted(table.index) == sorted(chosen["id"])
    assert table["corrupted"].all()
    known = pd.DataFrame({"label": data.labels, "true_label": data.true_labels}, index=data.ids.numpy())
    assert (table[["label", "true_label"]] == known.loc[table.index]).all(axis=None)
    assert (table["label"] != table["true_label"]).any()


def test_test_examples_that_are_trained_on_are_named_so() -> None:
    config = config_of("dataset.include_test=true", "dataset.test_limit=40", "estimator.scores=[el2n]", "epochs=2")
    table = read_scores(execute(config))
    assert table.groupby("split").size().to_dict() == {"train": 120, "test": 40}
    assert ((table.index >= 1500) == (table["split"] == "test")).all()
    assert not table["corrupted"][table["split"] == "test"].any()
    parts = build(config, torch.device("cpu"))
    assert table["true_label"].tolist() == parts.dataset.train.true_labels.tolist()


# --- a run that dies and goes on ---


def test_a_crash_before_or_after_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("epochs=3", "dataset.limit=60")
    writes = crashes_that_change_nothing(config, tmp_path, monkeypatch)
    told = (
        "config, manifest, in 3 epochs notes, variances, checksums, checkpoint and the one before, 2 tables, manifest"
    )
    assert writes == 21, told + ", checksums, DONE"


@pytest.mark.parametrize("window", ["early", "late"])
def test_a_run_that_follows_gradients_for_a_third_of_its_epochs_goes_on(
    window: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (f"estimator.vog_epochs={window}", "estimator.scores=[vog]", "epochs=4", "dataset.limit=40")
    crashes_that_change_nothing(config_of(*options), tmp_path, monkeypatch)


def test_variances_of_three_epochs_are_kept_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are as large as the images; the rest is a few numbers of each example."""
    config, kept = config_of("dataset.limit=60"), []
    save = checkpoint.save

    def look(path: Path, *arguments: Any) -> None:
        kept.append(sorted(each.name for each in (path.parent / "scratch").glob("variances-*")))
        save(path, *arguments)

    monkeypatch.setattr(checkpoint, "save", look)
    execute(config)
    names = [f"variances-0000{epoch}.npz" for epoch in range(1, 6)]
    assert kept == [names[max(0, epoch - 3) : epoch] for epoch in range(1, 6)], (
        "of the last checkpoints, and of the next one"
    )


# --- beside other things ---


def test_it_watches_without_changing_the_run() -> None:
    watched = execute(config_of())
    plain = execute(digits(*SMALL, "epochs=5", "estimator=none", entry="train"))
    assert (watched / "metrics.parquet").read_bytes() == (plain / "metrics.parquet").read_bytes()
    ours, theirs = (torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (watched, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    manifest = json.loads((watched / "manifest.json").read_text())
    assert manifest["examples_trained"] == 5 * 120
    assert "leakage" not in manifest


@pytest.mark.parametrize("backend", ["exact", "backpack"])
def test_gradients_are_tracked_beside_it(backend: str) -> None:
    options = ("tracking=gradients", "tracking.every=2", f"tracking.backend={backend}", "dataset.limit=60", "epochs=3")
    both = execute(config_of(*options))
    alone = execute(config_of("dataset.limit=60", "epochs=3"))
    tracked = execute(digits(*SMALL, *options, "estimator=none", entry="train"))
    assert (both / "scores.parquet").read_bytes() == (alone / "scores.parquet").read_bytes()
    found, expected = read_metrics(both), read_metrics(tracked)
    pd.testing.assert_frame_equal(found, expected)
    assert {"batch_cosine", "contribution", "set_cosine"} <= set(found["metric"])
