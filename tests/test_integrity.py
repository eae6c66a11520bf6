"""Files that are not what was written: noticed, named, and what can be made again is made again."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import digits
from hypothesis import given
from hypothesis import strategies as st

from turnover import housekeeping, integrity
from turnover.config import RunConfig
from turnover.errors import RunFailed
from turnover.run import execute
from turnover.store import Run, require
from turnover.training import checkpoint

SMALL = ("dataset.limit=101", "model.hidden=[16]", "batch_size=25", "epochs=4", "corruption.count=30")


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit, so far into the file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def stop_after(epoch: int, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Run:
    save = checkpoint.save

    def interrupt(path: Path, model: Any, optimizer: Any, progress: checkpoint.Progress) -> None:
        save(path, model, optimizer, progress)
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(config)
    return Run(config)


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "whole"))
        return execute(digits(*SMALL))


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(
    place: float, whole: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = digits(*SMALL)
    run = stop_after(3, config, monkeypatch)
    flip(run.folder / "checkpoint.pt", place)
    execute(config)
    assert "checkpoint.pt of " + run.name + " is damaged" in (run.folder / "log.txt").read_text()
    assert "goes on after epoch 2 of 4" in (run.folder / "log.txt").read_text()
    same(run.folder, whole)


def test_with_no_checkpoint_left_a_run_begins_anew(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    run = stop_after(3, config, monkeypatch)
    for name in ("checkpoint.pt", "checkpoint-before.pt"):
        (run.folder / name).write_bytes((run.folder / name).read_bytes()[:100])  # torn
    execute(config)
    assert "goes on" not in (run.folder / "log.txt").read_text()
    same(run.folder, whole)


def test_damaged_checksums_cost_an_epoch_at_most(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    run = stop_after(3, config, monkeypatch)
    flip(run.folder / "checksums.txt", 0.0)
    execute(config)
    same(run.folder, whole)


def same(folder: Path, other: Path) -> None:
    for name in ("metrics.parquet", "scores.parquet", "config.yaml", "DONE"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (torch.load(each / "checkpoint.pt", weights_only=True)["model"] for each in (folder, other))
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


FILES = ("checkpoint.pt", "config.yaml", "manifest.json", "metrics.parquet", "scores.parquet")


def test_a_finished_run_has_checksums_that_sha256sum_reads() -> None:
    folder = execute(digits(*SMALL))
    assert {name for name, _ in integrity.known(folder)} >= set(FILES)
    assert not (folder / "checkpoint-before.pt").exists()
    done = subprocess.run(["sha256sum", "--strict", "-c", "checksums.txt"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flipped", "torn", "gone"])
def test_a_damaged_file_of_a_finished_run_is_named_and_the_run_made_again(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SMALL)
    folder = execute(config)
    before = {each: (folder / each).read_bytes() for each in ("metrics.parquet", "scores.parquet")}
    if how == "flipped":
        flip(folder / name)
    elif how == "torn":
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    else:
        (folder / name).unlink()
    if name != "checkpoint.pt":
        remedy = rf"is damaged \({name}\): scripts/runs.py gc {folder.name} --damaged --yes, then "
        with pytest.raises(RunFailed, match=remedy + "make it"):
            require(Run(config), "make it")
        with pytest.raises(RunFailed, match=remedy + "the same command"):
            execute(config)
    [found] = housekeeping.runs(thorough=True)
    assert found.state == "damaged"
    assert name in found.about
    assert housekeeping.remove(found)
    assert {each: (execute(config) / each).read_bytes() for each in before} == before
    [found] = housekeeping.runs(thorough=True)
    assert (found.state, found.about) == ("finished", "")


def test_runs_made_before_there_were_checksums_are_believed() -> None:
    config = digits(*SMALL)
    folder = execute(config)
    (folder / "checksums.txt").unlink()
    assert require(Run(config), "make it") == folder


@given(st.binary(max_size=300))
def test_no_text_of_checksums_is_too_strange(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "checksums.txt").write_bytes(content)
        assert isinstance(integrity.damaged(Path(name)), list)
