"""Trouble with wandb never reaches what it shows; the parts of a dashboard alone."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from wandb_records import NONE, OFFLINE, alone, of_kind, records, set_up, small

from turnover.runs.dashboard.wandb import ROWS, Dashboard, Files, Tracker, bounded, dashboard, identifier
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import Metric

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def _own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from alone(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a logger."""
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, tmp_path_factory.mktemp("plain"))
        return execute(small(NONE))


# --- trouble ---


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
        "wandb.Table.__init__",
        "wandb.Artifact.add_file",
        "wandb.Artifact.add_reference",
        "wandb.Run.log_artifact",
        "wandb.Run.finish",
        "turnover.runs.dashboard.summary.quantiles",
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

    def __init__(self, broken: str = "", *, resumed: bool = False) -> None:
        self.calls: list[Any] = []
        self.summary = self
        self.broken = broken
        self.resumed = resumed

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: Any) -> None:
            self.calls.append((name, *args))
            if name == self.broken:
                raise WandbTroubleError(name)

        return call


def test_every_logged_number_is_a_row_and_one_call() -> None:
    run = Fake()
    tracker = Tracker(Dashboard(run), [])
    tracker.log(1, "test", {"full_loss": 1.0, "full_accuracy": 0.5})
    tracker.log(1, "train", {"loss": 2.0}, "easy")
    assert tracker.rows == [
        Metric(1, "test", "all", "full_loss", 1.0),
        Metric(1, "test", "all", "full_accuracy", 0.5),
        Metric(1, "train", "easy", "loss", 2.0),
    ]
    assert run.calls == [
        ("log", {"epoch": 1, "test/full_loss": 1.0, "test/full_accuracy": 0.5}),
        ("log", {"epoch": 1, "train/easy/loss": 2.0}),
    ]


RESTORED = [
    Metric(0, "test", "all", "full_loss", 3.0),
    Metric(1, "train", "all", "loss", 2.0),
    Metric(1, "test", "easy", "full_loss", 1.0),
]


def test_what_a_stopped_run_had_logged_is_logged_again() -> None:
    run = Fake()
    Tracker(Dashboard(run), RESTORED)
    assert run.calls == [
        ("log", {"epoch": 0, "test/full_loss": 3.0}),
        ("log", {"epoch": 1, "train/loss": 2.0, "test/easy/full_loss": 1.0}),
    ]


def test_where_wandb_itself_goes_on_with_the_run_nothing_is_logged_twice() -> None:
    run = Fake(resumed=True)
    Tracker(Dashboard(run), RESTORED)
    assert run.calls == []


def test_a_histogram_is_of_the_finite_values() -> None:
    run = Fake()
    Dashboard(run).show({"h": np.array([0.0, np.nan, 1.0, np.inf])}, epoch=3)
    [(_, values)] = run.calls
    assert values["epoch"] == 3
    assert (sum(values["h"].histogram), values["h"].bins[0], values["h"].bins[-1]) == (2, 0.0, 1.0)


@pytest.mark.parametrize("rows", [1, ROWS, ROWS + 1, 7 * ROWS])
def test_a_table_is_bounded_and_keeps_its_ends(rows: int) -> None:
    run = Fake()
    Dashboard(run).show({"t": pd.DataFrame({"place": range(rows)})})
    [(_, values)] = run.calls
    places = [row[0] for row in values["t"].data]
    assert len(places) == min(rows, ROWS)
    assert (places[0], places[-1]) == (0, rows - 1)
    assert set(np.diff(places)) <= {rows // ROWS, rows // ROWS + 1}
    assert len(bounded(pd.DataFrame({"place": range(rows)}))) == len(places)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("score-mnist-mlp-0123456789", "score-mnist-mlp-0123456789"),
        ("fig2-seed=0-laptop", "fig2-seed_0-laptop"),
        ("fig2-model.hidden=[64,64]", "fig2-model.hidden_64_64_"),
        ("ablation-größe", "ablation-gr_e"),
    ],
)
def test_an_identifier_is_the_name_with_what_wandb_allows(name: str, told: str) -> None:
    assert identifier(name) == told
    wandb.Artifact(Files("kind", name, ()).name, type="kind")  # or it raises


def test_identifiers_of_long_names_differ() -> None:
    names = [identifier("x" * 200 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert {len(name) for name in names} == {100}


def test_copies_that_wandb_makes_stay_in_the_folder_of_their_run(tmp_path: Path) -> None:
    for name in ("a", "b"):  # in one process
        file = tmp_path / f"{name}.txt"
        file.write_text(name)
        with dashboard(OFFLINE, folder=tmp_path / name, name=name, job="x", group=None, tags=[], config={}) as live:
            live.keep(Files("kind", name, (file,), how="copy"))
        [staged] = [path for path in (tmp_path / name / "wandb" / "artifacts").rglob("*") if path.is_file()]
        assert staged.read_text() == name
    assert "WANDB_DATA_DIR" not in os.environ


def test_where_wandb_is_told_to_make_copies_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "mine"))
    file = tmp_path / "a.txt"
    file.write_text("a")
    with dashboard(OFFLINE, folder=tmp_path / "run", name="x", job="x", group=None, tags=[], config={}) as live:
        live.keep(Files("kind", "x", (file,), how="copy"))
    assert [path.read_text() for path in (tmp_path / "mine").rglob("*") if path.is_file()] == ["a"]
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "mine")


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


def test_an_interruption_is_not_swallowed() -> None:
    class Interrupted(Fake):
        def log(self, values: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Dashboard(Interrupted()).log({"epoch": 0})
