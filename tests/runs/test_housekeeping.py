"""Looking after the store: kinds of runs, and removing some while other processes begin, work or finish."""

import itertools
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from digits import changed, digits
from test_checksums import SMALL, same, stop_after
from test_cli import invoke

from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.runs.execute import execute
from turnover.runs.store import checksums, housekeeping
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_scores


def test_kinds_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    finished, stopped, other = (digits(*SMALL, f"seed={seed}") for seed in range(3))
    execute(finished)
    stop_after(2, stopped, monkeypatch)
    with pytest.raises(RunFailed):
        execute(digits(*SMALL, "optimizer.lr=1e30"))
    run = Run(other)
    with run.lock():
        (run.folder / "manifest.json").write_text(json.dumps({"status": "running", "message": ""}))
        states = {each.folder.name: each.state for each in housekeeping.runs()}
        [held] = [each for each in housekeeping.runs() if each.state == "running"]
        assert not housekeeping.remove(held), "a process works on it"
    assert states[Run(finished).name] == "finished"
    assert states[Run(stopped).name] == "interrupted"
    assert states[run.name] == "running"
    assert sorted(states.values()) == ["failed", "finished", "interrupted", "running"]


def test_a_run_of_an_earlier_stage_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = execute(digits(*SMALL))
    monkeypatch.setattr("turnover.config.run.STAGE_VERSION", 99)
    monkeypatch.setattr("turnover.runs.store.housekeeping.STAGE_VERSION", 99)
    [found] = housekeeping.runs()
    assert (found.state, found.about) == ("old", "made by stage 2, the code is at 99")
    assert not Run(digits(*SMALL)).finished, "it is not used"
    assert folder.exists()


def by_a_newer_checkout(config: RunConfig) -> Path:
    """A folder of the store as a checkout of stage 3 writes it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("config.run", "runs.store.run"):
            patch.setattr(f"turnover.{module}.STAGE_VERSION", 3)
        return execute(config)


def test_no_run_of_a_newer_stage_is_removed(tmp_path: Path) -> None:
    config = digits(*SMALL)
    newer, ours = by_a_newer_checkout(config), execute(config)
    assert newer != ours
    unfinished = by_a_newer_checkout(digits(*SMALL, "seed=1"))
    (unfinished / "DONE").unlink()
    strange = by_a_newer_checkout(digits(*SMALL, "seed=2"))
    (strange / "config.yaml").write_text("an: option of tomorrow\n")
    states = {each.folder: each.state for each in housekeeping.runs(thorough=True)}
    assert states == {ours: "finished", newer: "newer", unfinished: "newer", strange: "newer"}
    every = [f"--{state}" for state in housekeeping.REMOVABLE]
    done = invoke(tmp_path / "outputs", "runs.py", "gc", *every, "--yes")
    assert done.code == 0, done.err
    assert all(folder.exists() for folder in states)
    manifest = json.loads((ours / "manifest.json").read_text())
    (ours / "manifest.json").write_text(json.dumps(manifest | {"stage": 3}))
    [found] = [each for each in housekeeping.runs() if each.folder == ours]
    assert found.state == "finished", "its name says that it is of this stage"


def test_a_run_that_was_logged_before_checkpoints_could_be_is_still_known() -> None:
    logger = {"name": "wandb", "mode": "offline", "project": "turnover", "entity": None, "checkpoints": "reference"}
    folder = execute(changed(digits(*SMALL), logger=logger))
    path = folder / "config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["logger"]["checkpoints"]
    path.write_text(yaml.safe_dump(values))
    [found] = housekeeping.runs()
    assert (found.state, found.about) == ("finished", "")


def test_a_run_that_is_finished_meanwhile_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    run = stop_after(2, config, monkeypatch)
    [found] = housekeeping.runs(thorough=True)
    assert found.state == "interrupted"
    execute(config)
    assert not housekeeping.remove(found)
    assert run.finished
    assert not checksums.damaged(run.folder)


def test_who_waits_while_a_run_is_removed_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    whole = execute(config)
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "removed"))
    run = stop_after(2, config, monkeypatch)
    [found] = housekeeping.runs(thorough=True)
    child = 0

    def slowly(path: Path, **options: Any) -> None:
        nonlocal child
        child = os.fork()
        if not child:
            patch.undo()
            try:
                execute(config)
                os._exit(0)
            finally:
                os._exit(1)
        assert not run.folder.exists(), "at once out of the way"
        for each in sorted(path.rglob("*"), reverse=True):
            time.sleep(0.05)
            each.rmdir() if each.is_dir() else each.unlink()
        path.rmdir()

    with monkeypatch.context() as patch:
        patch.setattr("turnover.runs.store.housekeeping.shutil.rmtree", slowly)
        assert housekeeping.remove(found)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    same(run.folder, whole)
    assert run.manifest["starts"] == 1
    assert [each.state for each in housekeeping.runs(thorough=True)] == ["finished"]


def test_who_waits_for_the_lock_of_a_removed_run_makes_its_folder_again(tmp_path: Path) -> None:
    run = Run(digits(*SMALL))
    entered = threading.Event()

    def wait() -> None:
        with run.lock():
            entered.set()

    with run.lock():
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        away = run.folder.rename(tmp_path / "away")
        shutil.rmtree(away)
    thread.join()
    assert entered.is_set()
    assert run.folder.exists()


def test_a_finished_run_whose_table_is_gone_is_not_old(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    scored = execute(digits(*SMALL))
    read_scores(scored).head(6).reset_index()[["id", "split"]].assign(subset="mine").to_csv(path, index=False)
    shutil.rmtree(scored)
    execute(digits(*SMALL, "subsets=table", f"subsets.path={path}", "subsets.train_on=all", entry="train"))
    assert [each.state for each in housekeeping.runs()] == ["finished"]
    path.unlink()
    [found] = housekeeping.runs()
    assert (found.state, "orphaned" in housekeeping.REMOVABLE) == ("orphaned", False)
    manifest = json.loads((found.folder / "manifest.json").read_text())
    del manifest["stage"]  # as of runs that were made before it was noted
    (found.folder / "manifest.json").write_text(json.dumps(manifest))
    assert [each.state for each in housekeeping.runs()] == ["orphaned"]


def test_the_run_of_an_earlier_stage_is_told_when_it_is_made_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = digits(*SMALL)
    old = execute(config)
    for module in ("config.run", "runs.store.housekeeping", "runs.execute", "runs.store.run"):
        monkeypatch.setattr(f"turnover.{module}.STAGE_VERSION", 3)
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    with caplog.at_level("INFO", logger="turnover"):
        assert execute(config) != old
    assert f"{old.name} was made by stage 2 of the code, whose numbers were others: made again" in caplog.messages
    assert sorted(each.state for each in housekeeping.runs()) == ["finished", "old"]


@pytest.mark.parametrize("field", ["seconds", "starts", "status", "message"])
@pytest.mark.parametrize("value", [None, "x", [], float("nan")])
def test_a_manifest_that_makes_no_sense_is_told(field: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if field in ("status", "message") and value == "x":
        return
    config = digits(*SMALL)
    run = stop_after(2, config, monkeypatch)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    (run.folder / "manifest.json").write_text(json.dumps(manifest | {field: value}))
    [found] = housekeeping.runs()
    assert found.state == "unreadable"
    assert f"{field} = {value!r}" in found.about
    execute(config)
    assert run.manifest["starts"] == 1
    assert run.manifest["seconds"] > 0


def test_a_store_that_changes_is_listed(outputs: Path) -> None:
    folder = execute(digits(*SMALL))
    over = threading.Event()

    def change() -> None:
        for number in itertools.cycle(range(50)):
            if over.is_set():
                return
            path = folder / f".checkpoint.pt.{number}"
            path.write_bytes(b"x")
            path.replace(folder / "churn.bin")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert [each.state for each in housekeeping.runs()] == ["finished"]
    finally:
        over.set()
        thread.join()


def test_of_a_linked_run_the_link_alone_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stop_after(2, digits(*SMALL), monkeypatch)
    elsewhere = run.folder.rename(tmp_path / "elsewhere")
    run.folder.symlink_to(elsewhere)
    [found] = housekeeping.runs(thorough=True)
    assert housekeeping.remove(found)
    assert not run.folder.is_symlink()
    assert (elsewhere / "checkpoint.pt").exists()


def test_a_list_of_runs_tells_them_apart_by_what_people_call_them(outputs: Path) -> None:
    for seed in (0, 1):
        execute(changed(digits(*SMALL, f"seed={seed}"), experiment="trial"))
    found = {each.title: each.folder.name for each in housekeeping.runs()}
    assert set(found) == {f"trial, digits, mlp, turnover, 30 wrong labels, seed {seed}, smoke" for seed in (0, 1)}
    next(each.folder for each in housekeeping.runs()).joinpath("config.yaml").write_text("[")
    assert sorted(each.title == "" for each in housekeeping.runs()) == [False, True]
