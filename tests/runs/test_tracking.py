"""wandb beside the tables: what the offline run of a run holds, read back by wandb's own tool."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits import changed
from test_checksums import stop_after
from wandb_records import (
    EPOCHS,
    NONE,
    OFFLINE,
    Records,
    alone,
    history,
    logged_table,
    of_kind,
    offline_runs,
    read,
    records,
    set_up,
    small,
    summary,
)

from turnover.config.run import title
from turnover.runs.dashboard.summary import HISTOGRAM, MOST_MEMORIZED, QUANTILES
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import METRICS, read_metrics, read_scores, scores_by_epoch

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def _own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from alone(monkeypatch, tmp_path)


def flattened(metrics: pd.DataFrame) -> set[tuple[int, str, float]]:
    subset = metrics["subset"].map(lambda name: "" if name == "all" else f"{name}/")
    names = metrics["split"] + "/" + subset + metrics["metric"]
    return set(zip(metrics["epoch"], names, metrics["value"], strict=True))


def logged(found: Records) -> set[tuple[int, str, float]]:
    return {
        (item["epoch"], name, value)
        for item in history(found)
        for name, value in item.items()
        if name.startswith(("train/", "test/"))
    }


def md5(path: Path) -> str:
    """As wandb writes it."""
    return base64.b64encode(hashlib.md5(path.read_bytes()).digest()).decode()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a logger."""
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, tmp_path_factory.mktemp("plain"))
        return execute(small(NONE))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with wandb."""
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, tmp_path_factory.mktemp("shown"))
        return execute(small(OFFLINE))


@pytest.fixture(scope="module")
def found(shown: Path) -> Records:
    return records(shown)


@pytest.fixture(scope="module")
def artifacts(found: Records) -> dict[str, Any]:
    return {artifact["name"]: artifact for artifact in of_kind(found, "artifact")}


# --- what an offline run holds ---


def test_wandb_writes_into_the_folder_of_the_run(shown: Path) -> None:
    [offline] = offline_runs(shown)
    assert (offline / f"run-{shown.name}.wandb").stat().st_size > 0


def test_without_a_logger_there_is_no_wandb(plain: Path) -> None:
    assert not (plain / "wandb").exists()


def test_the_run_has_its_name_group_job_tags_and_config(found: Records, shown: Path) -> None:
    [run] = of_kind(found, "run")
    assert (run["run_id"], run["project"]) == (shown.name, "turnover")
    identity = shown.name.rpartition("-")[2]
    assert run["display_name"] == f"{title(small(OFFLINE))} ({identity})"  # what a person tells it from others by
    assert (run["run_group"], run["job_type"]) == ("fig99", "score")
    assert set(run["tags"]) == {"fig99", "smoke", "digits", "mlp", "turnover"}
    stored = {key: value for key, value in run["config"]["update"].items() if not key.startswith("_")}
    assert stored == small(OFFLINE).model_dump(mode="json")


def test_epoch_is_the_axis_of_everything_that_is_logged(found: Records) -> None:
    defined = of_kind(found, "metric")
    assert any(record.get("name") == "epoch" for record in defined)
    assert any((record.get("glob_name"), record.get("step_metric")) == ("*", "epoch") for record in defined)
    assert len(history(found)) > 2 * EPOCHS
    assert all("epoch" in item for item in history(found))


def test_every_metric_of_the_table_is_logged_at_its_epoch(found: Records, shown: Path) -> None:
    assert logged(found) == flattened(read_metrics(shown))


def test_the_summary_holds_the_last_epoch_and_the_best(found: Records, shown: Path) -> None:
    told, metrics = summary(found), read_metrics(shown)
    for _, name, value in flattened(metrics[metrics["epoch"] == EPOCHS]):
        assert told[name] == value
    of_test = metrics[(metrics["split"] == "test") & (metrics["metric"] == "full_loss")]
    best = of_test.sort_values("value").iloc[0]
    assert (told["best/test/full_loss"], told["best/test/full_loss/epoch"]) == (best["value"], best["epoch"])


def test_the_summary_says_how_well_scores_find_wrong_labels_and_whether_masks_leak(found: Records, shown: Path) -> None:
    told, table = summary(found), read_scores(shown)
    assert 0 < table["corrupted"].sum() < len(table)
    for name, yes in (("replaced", table["corrupted"]), ("wrong", table["label"] != table["true_label"])):
        of_yes, of_no = table["score"][yes].to_numpy()[:, None], table["score"][~yes].to_numpy()
        by_pairs = ((of_yes > of_no) + (of_yes == of_no) / 2).mean()
        assert told[f"scores/auroc_{name}_labels"] == pytest.approx(by_pairs)
    assert told["scores/median"] == pytest.approx(table["score"].median())
    leakage = json.loads((shown / "manifest.json").read_text(encoding="utf-8"))["leakage"]
    assert (told["leakage/verdict"], told["leakage/own_accuracy"]) == (leakage["verdict"], leakage["own_accuracy"])


def test_scores_of_every_scored_epoch_are_a_histogram(found: Records, shown: Path) -> None:
    told = {item["epoch"]: item for item in history(found) if f"{HISTOGRAM}.values" in item}
    scores = scores_by_epoch(shown)
    assert list(told) == list(scores.columns) == [1, EPOCHS]
    for epoch, item in told.items():
        counts, edges = np.histogram(scores[epoch].astype(float), bins=64)
        assert item[f"{HISTOGRAM}.values"] == counts.tolist()
        np.testing.assert_allclose(item[f"{HISTOGRAM}.bins"], edges)


def test_the_most_memorized_examples_are_a_table(found: Records, shown: Path) -> None:
    [offline] = offline_runs(shown)
    told = logged_table(offline, found, MOST_MEMORIZED)
    rows = pd.DataFrame(told["data"], columns=told["columns"]).set_index("id")
    highest = read_scores(shown).nlargest(200, "score")
    assert list(rows.index) == list(highest.index)
    np.testing.assert_allclose(rows["score"], highest["score"])
    assert list(rows["corrupted"]) == list(highest["corrupted"])


def test_the_distribution_of_scores_is_a_table(found: Records, shown: Path) -> None:
    [offline] = offline_runs(shown)
    told = logged_table(offline, found, QUANTILES)
    rows = pd.DataFrame(told["data"], columns=told["columns"])
    scores = read_scores(shown)["score"]
    assert len(rows) == 201
    np.testing.assert_allclose(rows["score"], scores.quantile(rows["share"].to_numpy()), rtol=1e-5)


@pytest.mark.parametrize("kind", ["metrics", "scores"])
def test_tables_are_artifacts_that_are_read_where_they_lie(kind: str, artifacts: dict[str, Any], shown: Path) -> None:
    artifact = artifacts[f"{kind}-{shown.name}"]
    [file] = artifact["manifest"]["contents"]
    path = shown / f"{kind}.parquet"
    assert artifact["type"] == kind
    assert (file["path"], file["digest"], file["local_path"]) == (path.name, md5(path), str(path))
    assert not artifact.get("use_after_commit")


def test_a_checkpoint_is_an_artifact_that_refers_to_it(artifacts: dict[str, Any], shown: Path) -> None:
    artifact = artifacts[f"checkpoint-{shown.name}"]
    [file] = artifact["manifest"]["contents"]
    path = shown / "checkpoint.pt"
    assert (file["path"], file["digest"], file["ref"]) == (path.name, md5(path), path.as_uri())
    assert "local_path" not in file


def test_a_checkpoint_is_uploaded_if_asked_for() -> None:
    folder = execute(small(OFFLINE.model_copy(update={"checkpoints": "upload"})))
    [artifact] = [each for each in of_kind(records(folder), "artifact") if each["name"] == f"checkpoint-{folder.name}"]
    [file] = artifact["manifest"]["contents"]
    assert (file["local_path"], file.get("ref")) == (str(folder / "checkpoint.pt"), None)


def test_a_run_names_the_scores_that_chose_its_examples() -> None:
    overrides = ["subsets=scores", "subsets.runs=['dataset=digits', 'model.hidden=[64]', 'epochs=2']"]
    config = small(OFFLINE, *overrides, entry="train")
    chosen = config.subsets.model_dump()
    chosen["runs"] = [each | {"logger": OFFLINE.model_dump()} for each in chosen["runs"]]
    config = changed(config, subsets=chosen)
    folder = execute(config)
    [parent] = [Run(each) for each in config.parents]
    made, used = (of_kind(records(each), "artifact") for each in (parent.folder, folder))
    name = f"scores-{parent.name}"
    [of_parent] = [each for each in made if each["name"] == name]
    [of_child] = [each for each in used if each["name"] == name]
    assert of_child["digest"] == of_parent["digest"]
    assert (of_child["use_after_commit"], of_child["user_created"]) == (True, True)
    others = {each["name"] for each in used if not each.get("use_after_commit")}
    assert others == {f"{kind}-{folder.name}" for kind in ("metrics", "checkpoint")}


def test_a_stopped_run_is_whole_in_the_last_of_its_offline_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(OFFLINE)
    run = stop_after(1, config, monkeypatch)
    time.sleep(1.1)  # wandb names them by the second
    execute(config)
    first, last = map(read, offline_runs(run.folder))
    assert {epoch for epoch, *_ in logged(first)} == {0, 1}
    assert logged(last) == flattened(read_metrics(run.folder))
    assert [[each["exit_code"] for each in of_kind(found, "exit")] for found in (first, last)] == [[1], [0]]


# --- the tables do not depend on it ---


def test_tables_are_the_same_with_and_without_wandb(plain: Path, shown: Path) -> None:
    assert plain.name == shown.name
    for table in ("metrics.parquet", "scores.parquet"):
        assert (plain / table).read_bytes() == (shown / table).read_bytes()


def test_only_documented_metrics_are_written(plain: Path) -> None:
    assert set(read_metrics(plain)["metric"]) <= set(METRICS)
