"""A whole run on real digits: its files, its tables, its cache, its failures."""

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import oracles
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from crashes import crashes_that_change_nothing
from digits import changed, digits

import turnover
from turnover.common.files import replacing
from turnover.config.estimators import ESTIMATES
from turnover.data.datasets import load
from turnover.errors import RefusedInput, RunFailed
from turnover.estimators.leakage import Swap, leakage
from turnover.models.mlp import mlp
from turnover.runs import pipeline
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import METRICS, METRICS_COLUMNS, SCORE_COLUMNS, TEXT_COLUMNS, read_metrics, read_scores
from turnover.training.loop import train

SMALL = ("epochs=3", "corruption.count=200", "dataset.limit=800", "estimator.epochs=[1]", "tracking.every=1")


@pytest.fixture
def finished() -> Path:
    return execute(digits(*SMALL))


def test_a_finished_run_has_all_its_files(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "config.yaml",
        "manifest.json",
        "metrics.parquet",
        "scores.parquet",
        "checkpoint.pt",
        "log.txt",
        "DONE",
    }
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["seconds"] > 0
    assert manifest["peak_memory"]["host"] > 1e8
    assert manifest["device"] == "cpu"
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["leakage"]["verdict"] in ("none", "partial leakage", "no difference", "not fitted")
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert finished.name.startswith("score-digits-mlp-")


def test_a_run_that_is_refused_at_its_start_leaves_no_folder_and_one_that_began_keeps_it() -> None:
    large = "augmentation.transforms=[{name: RandomCrop, size: 32}]"
    config = digits("augmentation=torchvision", large, "dataset.limit=100", "epochs=1")
    with pytest.raises(RefusedInput, match="larger than input image size"):
        execute(config)
    assert not Run(config).folder.exists()
    Run(config).folder.mkdir(parents=True)
    (Run(config).folder / "manifest.json").write_text('{"status": "interrupted", "precision": "float32"}')
    with pytest.raises(RefusedInput):
        execute(config)
    assert Run(config).manifest["status"] == "failed"


def test_every_column_is_documented_in_the_file(finished: Path) -> None:
    others = {*ESTIMATES, *TEXT_COLUMNS, "size", "prediction", "probability"}
    of_turnover = {name: column for name, column in SCORE_COLUMNS.items() if name not in others}
    for name, columns in (("metrics", METRICS_COLUMNS), ("scores", of_turnover)):
        schema = pq.read_schema(finished / f"{name}.parquet")
        assert schema.names == list(columns)
        assert all(schema.field(column).metadata[b"doc"].decode() == doc for column, (_, doc) in columns.items())


def test_metrics_of_every_epoch(finished: Path) -> None:
    metrics = read_metrics(finished)
    assert set(metrics["metric"]) <= set(METRICS)
    assert set(metrics["subset"]) == {"all"}
    per_epoch = metrics.groupby(["epoch", "split"])["metric"].agg(set)
    parts = ("own", "flipped", "full", "constant")
    evaluated = {f"{part}_{kind}" for part in parts for kind in ("loss", "accuracy")}
    assert per_epoch[0, "train"] == evaluated
    for epoch in (1, 2, 3):
        assert per_epoch[epoch, "train"] == evaluated | {"lr", "loss", "accuracy"}
        assert per_epoch[epoch, "test"] == {"full_loss", "full_accuracy", "fresh_loss", "fresh_accuracy"}
    full = metrics[(metrics["split"] == "test") & (metrics["metric"] == "full_accuracy")].set_index("epoch")["value"]
    assert full[3] > 0.35 > full[0]


def test_scores_are_those_of_the_stored_weights(finished: Path) -> None:
    config = digits(*SMALL)
    data = load(config.dataset, config.corruption)
    model = turnover.attach(mlp(64, [64], 10), seed=config.seed)
    model.load_state_dict(torch.load(finished / "checkpoint.pt", weights_only=True)["model"])
    expected = turnover.score(model, data.inputs(data.train.images), data.train.labels, data.train.ids)
    found = read_scores(finished)
    assert found.index.tolist() == data.train.ids.tolist()
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-6)
    assert found["corrupted"].sum() == 200
    assert found["corrupted"].tolist() == data.train.corrupted.tolist()
    assert found["label"].tolist() == data.train.labels.tolist()
    assert set(found["split"]) == {"train"}
    assert found["true_label"].tolist() == data.train.true_labels.tolist()
    assert (found["score"] - (found["flipped_loss"] - found["own_loss"])).abs().max() < 1e-6
    metrics = read_metrics(finished).set_index(["epoch", "split", "metric"])["value"]
    assert metrics[3, "train", "own_accuracy"] == pytest.approx((found["own_prediction"] == found["label"]).mean())
    early = read_scores(finished, epoch=1)
    assert not np.allclose(early["score"], found["score"])


def test_a_finished_run_is_never_trained_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    monkeypatch.setattr(pipeline, "work", lambda *arguments: pytest.fail("trained again"))
    again = digits(*SMALL)
    assert execute(changed(again, device="auto", experiment="other")) == finished
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_a_crash_before_or_after_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits("epochs=2", "estimator.epochs=[1]", "dataset.limit=300")
    writes = crashes_that_change_nothing(config, tmp_path, monkeypatch)
    assert writes == 14, (
        "config, manifest, 2 scores, 2 checkpoints with checksums, one before, 2 tables, manifest, checksums, DONE"
    )


def test_a_diverging_run_is_failed_and_not_finished() -> None:
    config = digits("optimizer.lr=1e30")
    for _ in range(2):
        with pytest.raises(RunFailed, match=r"epoch 1, step \d+ of 6, at learning rate 1e\+30"):
            execute(config)
        run = Run(config)
        assert not run.finished
        assert run.manifest["status"] == "failed"
        assert "learning rate 1e+30" in run.manifest["message"]
        assert not (run.folder / "scores.parquet").exists()


def test_without_turn_over_dropout_only_the_full_network_is_tracked() -> None:
    folder = execute(digits("epochs=2", "tracking.every=5", "turnover=off", entry="train"))
    metrics = read_metrics(folder)
    assert folder.name.startswith("train-")
    assert not (folder / "scores.parquet").exists()
    assert not metrics["metric"].str.contains("own|flipped|fresh|constant").any()
    evaluated = metrics[metrics["metric"] == "full_loss"]["epoch"].unique().tolist()
    assert evaluated == [0, 2], "always before the first epoch and after the last"


@pytest.mark.parametrize(
    ("swaps", "said"), [((0.9, 0.1), "MASK LEAKAGE"), ((0.1, 0.9), "FLIPPED AT CHANCE"), ((0.1, 0.1), "FLIPPED")]
)
def test_leakage_is_said_loudly(
    swaps: tuple[float, float], said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = leakage(0.99, 0.1, 0.1, 1000, Swap(*swaps, 0.05, 1000))
    monkeypatch.setattr(pipeline, "verdict_on", lambda *arguments, batch_size: found)
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    with caplog.at_level("WARNING", logger="turnover"):
        told = pipeline.verdict(build(digits(), torch.device("cpu")), digits(), pd.DataFrame())
    assert told == found.as_dict()
    assert said in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_the_leakage_of_a_run_is_that_of_its_last_scores(finished: Path) -> None:
    found, table = json.loads((finished / "manifest.json").read_text())["leakage"], read_scores(finished)
    assert found["own_accuracy"] == pytest.approx((table["own_prediction"] == table["label"]).mean())
    assert found["flipped_accuracy"] == pytest.approx((table["flipped_prediction"] == table["label"]).mean())
    assert 0 <= found["mask_accuracy"] <= 1


def test_a_device_that_is_not_there_is_refused_before_any_folder_is_made(outputs: Path) -> None:
    with pytest.raises(RefusedInput, match="CUDA devices"):
        execute(digits("device=cuda:77"))
    assert not outputs.exists()


def test_a_file_that_fails_half_way_keeps_its_old_content(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_training_examples_never_see_fresh_ids() -> None:
    """Fresh masks start beyond every id of a dataset."""
    from turnover.core.evaluation import FRESH

    data = load(digits("dataset.include_test=true").dataset, digits().corruption)
    assert int(data.train.ids.max()) == 1796 < FRESH


def test_tracking_of_gradients_adds_to_what_is_measured(outputs: Path) -> None:
    common = (
        "corruption=labels",
        "corruption.count=40",
        "subsets=labels",
        "subsets.size=20",
        "turnover=off",
        "epochs=5",
    )
    plain = read_metrics(execute(digits(*common, entry="train")))
    folder = execute(digits(*common, "tracking=gradients", "tracking.every=3", "tracking.layers=true", entry="train"))
    found = read_metrics(folder)
    key = ["epoch", "split", "subset", "metric"]
    same = found.merge(plain, on=key)
    assert (same["value_x"] == same["value_y"]).all(), "watching changes nothing"
    assert {"loss", "full_accuracy"} <= set(same["metric"])
    train = found[found["split"] == "train"]
    for metric, epochs in {"contribution": [1, 3, 5], "batch_cosine": [1, 3, 5], "set_cosine": [0, 3, 5]}.items():
        rows = train[train["metric"] == metric]
        assert sorted(rows["epoch"].unique()) == epochs
        assert {"all", "easy", "difficult"} <= set(rows["subset"])
    layers = train[train["metric"].str.startswith("set_cosine/")]
    assert layers["metric"].nunique() == len(list(build(digits(entry="train"), torch.device("cpu")).model.parameters()))
    assert not found[found["split"] == "test"]["metric"].str.contains("cosine|contribution").any()


def test_the_first_epochs_are_watched_by_steps(outputs: Path) -> None:
    common = ("turnover=off", "epochs=3", "dataset.limit=101", "batch_size=25", "model.hidden=[16]")  # 5 steps an epoch
    config = digits(*common, "tracking.every=1", "tracking.steps=[2,5,8]", entry="train")
    folder, plain = execute(config), execute(digits(*common, "tracking.every=1", entry="train"))
    pd.testing.assert_frame_equal(read_metrics(folder), read_metrics(plain), check_exact=True)
    assert "step" not in pd.read_parquet(plain / "metrics.parquet")
    rows = read_metrics(folder, within=True)
    rows = rows[rows["step"] > 0]
    assert set(zip(rows["epoch"], rows["step"], strict=True)) == {(0, 2), (1, 3)}, "the fifth step ends an epoch"
    weights: list[dict[str, torch.Tensor]] = []
    task = build(config, torch.device("cpu"))

    def step_taken() -> None:
        weights.append({name: value.clone() for name, value in task.model.state_dict().items()})

    steps = train(
        *(task.model, task.train, task.optimizer, lambda step: config.optimizer.lr),
        epochs=3,
        batch_size=25,
        seed=config.seed,
        on_step=step_taken,
    )
    assert len(list(steps)) == 3
    test = task.groups["test", "all"]
    for epoch, step in ((0, 2), (1, 3)):
        task.model.load_state_dict(weights[5 * epoch + step - 1])
        model = task.model.double().eval()
        logits = [model(test.prepare(test.inputs[i : i + 1]).double())[0] for i in range(len(test))]
        found = rows[(rows["epoch"] == epoch) & (rows["split"] == "test")].set_index("metric")["value"]
        right = [int(each.argmax()) == int(label) for each, label in zip(logits, test.labels, strict=True)]
        losses = [oracles.cross_entropy(each, int(label)) for each, label in zip(logits, test.labels, strict=True)]
        assert found["full_accuracy"] == pytest.approx(float(np.mean(right)), abs=1e-12)
        assert found["full_loss"] == pytest.approx(float(np.mean(losses)), rel=1e-5)


@pytest.mark.parametrize("bars", [True, False])
def test_a_watched_step_may_end_an_epoch_that_is_not(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, bars: bool
) -> None:
    if not bars:  # as under TQDM_DISABLE=1, where they count nothing
        off = SimpleNamespace(update=lambda steps: None)
        monkeypatch.setattr("turnover.runs.one_network.progress", lambda *of: nullcontext(off))
    common = ("turnover=off", "epochs=3", "dataset.limit=101", "batch_size=25", "model.hidden=[16]")  # 5 steps an epoch
    folder = execute(digits(*common, "tracking.every=3", "tracking.steps=[5,7]", entry="train"))
    rows = read_metrics(folder, within=True)
    rows = rows[(rows["split"] == "test") & (rows["metric"] == "full_loss")]
    assert list(zip(rows["epoch"], rows["step"], strict=True)) == [(0, 0), (1, 0), (1, 2), (3, 0)]


def test_steps_beyond_the_last_are_refused(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("turnover=off", "epochs=3", "dataset.limit=101", "batch_size=25", "model.hidden=[16]")  # 5 steps an epoch
    with pytest.raises(RefusedInput, match=r"\[16\] are beyond the last step, 15"):
        digits(*common, "tracking.steps=[2,15,16]", entry="train")
    # 20 of the examples are there 6 times
    copies = ("corruption=copies", "corruption.count=20", "corruption.sizes=[6]", "tracking.steps=[16,27]")
    late = digits(*common, *copies[:-1], "tracking.steps=[16,27,28]", entry="train")
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "opened", lambda run: pytest.fail("a dashboard is opened"))
        with pytest.raises(RefusedInput, match=r"\[28\] are beyond the last step, 27"):
            execute(late)
    assert not Run(late).folder.exists()
    rows = read_metrics(execute(digits(*common, *copies, entry="train")), within=True)
    rows = rows[rows["split"] == "test"]
    assert set(zip(rows["epoch"], rows["step"], strict=True)) == {(0, 0), (1, 7), (3, 0)}


def test_backpack_tracks_the_same(outputs: Path) -> None:
    common = ("epochs=2", "tracking=gradients", "tracking.every=1", "dataset.limit=60", "model.hidden=[8]")
    tables = []
    for backend in ("exact", "backpack"):
        tables.append(read_metrics(execute(digits(*common, f"tracking.backend={backend}"))))
    ours, theirs = (table.set_index(["epoch", "split", "subset", "metric"])["value"] for table in tables)
    assert ours.index.equals(theirs.index)
    assert ours.to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-4, abs=1e-5)
