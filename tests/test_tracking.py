"""wandb beside the tables: what an offline run holds, and that no trouble with it ever reaches a run."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from turnover.config import RunConfig
from turnover.experiments import sweep
from turnover.figures.make import FigureConfig, FigureJob, make
from turnover.options import NoLogger, WandbLogger
from turnover.run import execute
from turnover.store import Run
from turnover.tables import METRICS, Metric, read_metrics
from turnover.tracking import Dashboard, Tracker, dashboard

wandb = pytest.importorskip("wandb")

EPOCHS = 2
OFFLINE = WandbLogger(name="wandb", mode="offline", project="turnover", entity=None)
NONE = NoLogger(name="none")
Records = list[dict[str, Any]]


def small(logger: WandbLogger | NoLogger) -> RunConfig:
    overrides = ["dataset=digits", "scale=smoke", f"epochs={EPOCHS}", "device=cpu"]
    [config] = sweep(overrides, config_name="score")
    return config.model_copy(update={"logger": logger, "experiment": "fig99"})


def set_up(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """wandb on, its caches and the outputs in `folder`."""
    patch.delenv("WANDB_MODE", raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        patch.setenv(name, str(folder / "home"))
    patch.setenv("TURNOVER_OUTPUTS", str(folder / "outputs"))


@pytest.fixture(autouse=True)
def _own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    set_up(monkeypatch, tmp_path)
    yield
    monkeypatch.undo()
    if wandb.run is not None:
        wandb.finish()


def offline_run(folder: Path) -> Path:
    """The one offline run below `folder`/wandb."""
    [found] = (folder / "wandb").glob("offline-run-*")
    return found


def records(folder: Path) -> Records:
    """Every record of the offline run, read back by wandb's own tool."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline_run(folder))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(found: Records, kind: str) -> Records:
    return [record[kind] for record in found if record["type"] == kind]


def flattened(metrics: pd.DataFrame) -> set[tuple[int, str, float]]:
    subset = metrics["subset"].map(lambda name: "" if name == "all" else f"{name}/")
    names = metrics["split"] + "/" + subset + metrics["metric"]
    return set(zip(metrics["epoch"], names, metrics["value"], strict=True))


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


# --- what an offline run holds ---


def test_wandb_writes_into_the_folder_of_the_run(shown: Path) -> None:
    assert (offline_run(shown) / f"run-{shown.name}.wandb").stat().st_size > 0


def test_without_a_logger_there_is_no_wandb(plain: Path) -> None:
    assert not (plain / "wandb").exists()


def test_the_run_has_its_name_group_job_tags_and_config(found: Records, shown: Path) -> None:
    [run] = of_kind(found, "run")
    assert (run["run_id"], run["display_name"], run["project"]) == (shown.name, shown.name, "turnover")
    assert (run["run_group"], run["job_type"]) == ("fig99", "score")
    assert set(run["tags"]) == {"fig99", "smoke", "digits", "mlp"}
    stored = {key: value for key, value in run["config"]["update"].items() if not key.startswith("_")}
    assert stored == small(OFFLINE).model_dump(mode="json")


def test_epoch_is_the_axis_of_every_metric(found: Records) -> None:
    defined = of_kind(found, "metric")
    assert any(record.get("name") == "epoch" for record in defined)
    assert any((record.get("glob_name"), record.get("step_metric")) == ("*", "epoch") for record in defined)
    logged = [record["item"] for record in of_kind(found, "history")]
    numbers = [item for item in logged if any("/" in name for name in item)]
    assert numbers
    assert all("epoch" in item for item in numbers)


def test_every_metric_of_the_table_is_logged_at_its_epoch(found: Records, shown: Path) -> None:
    logged = {
        (item["epoch"], name, value)
        for item in (record["item"] for record in of_kind(found, "history"))
        for name, value in item.items()
        if name.startswith(("train/", "test/"))
    }
    assert logged == flattened(read_metrics(shown))


def test_the_summary_holds_the_last_epoch(found: Records, shown: Path) -> None:
    summary: dict[str, Any] = {}
    for record in of_kind(found, "summary"):
        summary |= record.get("update", {})
    table = read_metrics(shown)
    for _, name, value in flattened(table[table["epoch"] == EPOCHS]):
        assert summary[name] == value


def test_scores_are_shown_and_kept_as_an_artifact(found: Records, shown: Path) -> None:
    items = [record["item"] for record in of_kind(found, "history")]
    names = {name.split(".")[0] for item in items for name in item}
    assert {"scores", "most_memorized"} <= names
    assert list(offline_run(shown).glob("files/media/table/most_memorized*.table.json"))
    assert any(artifact.get("name") == f"scores-{shown.name}" for artifact in of_kind(found, "artifact"))


def test_a_figure_logs_its_picture_and_verdicts(tmp_path: Path) -> None:
    figure = FigureConfig(name="fig1", title="The mechanism", experiments=[], claims={})
    png = make(FigureJob(figure=figure, scale="smoke", overrides=[], logger=OFFLINE))
    read = records(png.parent)
    [run] = of_kind(read, "run")
    assert (run["job_type"], set(run["tags"])) == ("figure", {"fig1", "smoke"})
    assert any(name.startswith("fig1") for record in of_kind(read, "history") for name in record["item"])
    [picture] = offline_run(png.parent).glob("files/media/images/fig1*.png")
    assert picture.read_bytes() == png.read_bytes()


# --- the tables do not depend on it ---


def test_tables_are_the_same_with_and_without_wandb(plain: Path, shown: Path) -> None:
    assert plain.name == shown.name
    for table in ("metrics.parquet", "scores.parquet"):
        assert (plain / table).read_bytes() == (shown / table).read_bytes()


def test_only_documented_metrics_are_written(plain: Path) -> None:
    assert set(read_metrics(plain)["metric"]) <= set(METRICS)


class WandbTroubleError(Exception):
    """Anything that may go wrong in wandb."""


def fail(*args: object, **kwargs: object) -> None:
    raise WandbTroubleError("no such luck")


@pytest.mark.parametrize(
    "broken",
    [
        "wandb.init",
        "wandb.Settings",
        "wandb.Run.define_metric",
        "wandb.Run.log",
        "wandb.sdk.wandb_summary.Summary.update",
        "wandb.Histogram",
        "wandb.Table",
        "wandb.Artifact.add_file",
        "wandb.Run.log_artifact",
        "wandb.Run.finish",
    ],
)
def test_trouble_with_wandb_is_told_once_and_never_ends_a_run(
    broken: str, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken, fail)
    check_the_run_goes_on(plain, "WandbTroubleError: no such luck")


def test_a_wandb_that_cannot_be_imported_is_told_once_and_never_ends_a_run(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    check_the_run_goes_on(plain, "wandb")


def check_the_run_goes_on(plain: Path, message: str) -> None:
    config = small(OFFLINE)
    folder = execute(config)
    assert Run(config).manifest["status"] == "finished"
    assert (folder / "DONE").exists()
    for table in ("metrics.parquet", "scores.parquet"):
        assert (folder / table).read_bytes() == (plain / table).read_bytes()
    warnings = [line for line in (folder / "log.txt").read_text(encoding="utf-8").splitlines() if "wandb" in line]
    assert len(warnings) == 1, warnings
    assert "WARNING" in warnings[0]
    assert message in warnings[0]


def test_a_figure_is_drawn_without_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wandb.init", fail)
    figure = FigureConfig(name="fig1", title="The mechanism", experiments=[], claims={})
    png = make(FigureJob(figure=figure, scale="smoke", overrides=[], logger=OFFLINE))
    assert {path.suffix for path in png.parent.iterdir() if path.is_file() and path.suffix != ".lock"} == {
        ".png",
        ".pdf",
        ".csv",
        ".json",
    }


def test_wandb_is_closed_when_the_run_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        dashboard(OFFLINE, folder=tmp_path, name="x", job="train", group=None, tags=[], config={}),
    ):
        raise ZeroDivisionError
    assert wandb.run is None
    assert of_kind(records(tmp_path), "exit")


def test_wandb_mode_disabled_in_the_environment_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with dashboard(OFFLINE, folder=tmp_path, name="x", job="train", group=None, tags=[], config={}) as live:
        live.log({"epoch": 0})
    assert not list(tmp_path.glob("wandb/offline-run-*"))


# --- the parts alone ---


class Fake:
    """Stands for a wandb run."""

    def __init__(self, broken: str = "") -> None:
        self.calls: list[Any] = []
        self.summary = self
        self.broken = broken

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: Any) -> None:
            self.calls.append((name, *args))
            if name == self.broken:
                raise WandbTroubleError(name)

        return call


def test_every_logged_number_is_a_row_and_one_call() -> None:
    run, rows = Fake(), [Metric(0, "train", "all", "loss", 3.0)]
    tracker = Tracker(Dashboard(run), rows)
    tracker.log(1, "test", {"full_loss": 1.0, "full_accuracy": 0.5})
    tracker.log(1, "train", {"loss": 2.0}, "easy")
    assert rows[1:] == [
        Metric(1, "test", "all", "full_loss", 1.0),
        Metric(1, "test", "all", "full_accuracy", 0.5),
        Metric(1, "train", "easy", "loss", 2.0),
    ]
    assert run.calls == [
        ("log", {"epoch": 1, "test/full_loss": 1.0, "test/full_accuracy": 0.5}),
        ("log", {"epoch": 1, "train/easy/loss": 2.0}),
    ]


def test_after_the_first_error_wandb_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    run = Fake(broken="log")
    board = Dashboard(run)
    with caplog.at_level(logging.WARNING, logger="turnover"):
        board.summarise({"a": 1})
        for _ in range(3):
            board.log({"epoch": 0})
        board.close(failed=False)
    assert [call[0] for call in run.calls] == ["update", "log"]
    assert caplog.text.count("wandb failed and is off from here on: WandbTroubleError: log") == 1


def test_an_undocumented_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="'acuracy' is not documented"):
        Tracker(Dashboard(), []).log(1, "test", {"acuracy": 1.0})


def test_an_interruption_is_not_swallowed() -> None:
    class Interrupted(Fake):
        def log(self, values: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Dashboard(Interrupted()).log({"epoch": 0})
