"""Files that are not what was written: noticed, named, and what can be made again is made again."""

import errno
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import digits
from hypothesis import given
from hypothesis import strategies as st

from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.runs import checkpoint
from turnover.runs.execute import execute
from turnover.runs.plan import Sweep
from turnover.runs.store import checksums, housekeeping
from turnover.runs.store.run import Run, require

SMALL = (
    "tracking.every=1",
    "dataset.limit=101",
    "model.hidden=[16]",
    "batch_size=25",
    "epochs=4",
    "corruption.count=30",
)


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("whole")))
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


@pytest.mark.parametrize("content", [None, b"", b"nothing that makes sense\n"], ids=["gone", "empty", "nonsense"])
@pytest.mark.parametrize("how", [0.3, 0.4, 0.5, 0.6, 0.7, "torn"])
def test_without_checksums_a_damaged_checkpoint_is_noticed(
    how: float | str, content: bytes | None, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SMALL)
    run = stop_after(3, config, monkeypatch)
    path, checksums = run.folder / "checkpoint.pt", run.folder / "checksums.txt"
    checksums.unlink() if content is None else checksums.write_bytes(content)
    path.write_bytes(path.read_bytes()[:500]) if isinstance(how, str) else flip(path, how)
    execute(config)
    log = (run.folder / "log.txt").read_text()
    assert f"checkpoint.pt of {run.name} is damaged" in log
    assert "goes on after epoch 2 of 4" in log
    same(run.folder, whole)


def test_a_checkpoint_that_cannot_be_read_is_damaged(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    run = stop_after(3, config, monkeypatch)
    path = run.folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    rows = [(path.name, checksums.sha256(path)), ("checkpoint-before.pt", checksums.sha256(before(path)))]
    (run.folder / "checksums.txt").write_text(checksums.table(rows))
    execute(config)
    assert "goes on after epoch 2 of 4" in (run.folder / "log.txt").read_text()
    same(run.folder, whole)


def before(path: Path) -> Path:
    return path.with_name("checkpoint-before.pt")


@pytest.mark.parametrize("how", ["flipped", "torn", "gone"])
@pytest.mark.parametrize("checksums", [True, False])
def test_damaged_scores_of_an_earlier_epoch_stop_a_run_before_it_works(
    how: str, checksums: bool, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SMALL, "estimator.epochs=[1,4]")
    run = stop_after(2, config, monkeypatch)
    path = run.folder / "scored" / "epoch-00001.parquet"
    content = path.read_bytes()
    damage(path, how)
    if not checksums:
        (run.folder / "checksums.txt").unlink()
    remedy = rf"epoch-00001.parquet is missing or damaged.*scripts/runs.py gc {run.name} --failed --yes"
    with pytest.raises(RunFailed, match=remedy):
        execute(config)
    assert not (run.folder / "scores.parquet").exists()
    path.write_bytes(content)
    execute(config)
    assert torch.equal(*(torch.load(each / "checkpoint.pt")["model"]["1.weight"] for each in (run.folder, whole)))


def damage(path: Path, how: str) -> None:
    if how == "flipped":
        flip(path, 0.0 if path.name == "DONE" else 0.5)  # behind its identity it says what checksums.txt must be
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()


def same(folder: Path, other: Path) -> None:
    for name in ("metrics.parquet", "scores.parquet", "config.yaml"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (torch.load(each / "checkpoint.pt", weights_only=True)["model"] for each in (folder, other))
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


FILES = ("checkpoint.pt", "config.yaml", "manifest.json", "metrics.parquet", "scores.parquet")
SEALS = ("checksums.txt", "DONE")


def test_a_finished_run_has_checksums_that_sha256sum_reads() -> None:
    folder = execute(digits(*SMALL))
    assert {name for name, _ in checksums.known(folder)} >= set(FILES)
    assert not (folder / "checkpoint-before.pt").exists()
    done = subprocess.run(["sha256sum", "--strict", "-c", "checksums.txt"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [*FILES, *SEALS])
@pytest.mark.parametrize("how", ["flipped", "torn", "gone"])
def test_a_damaged_file_of_a_finished_run_is_named_and_the_run_made_again(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SMALL)
    folder = execute(config)
    before = {each: (folder / each).read_bytes() for each in ("metrics.parquet", "scores.parquet")}
    damage(folder / name, how)
    if (name, how) == ("DONE", "gone"):  # then it is not finished, and does its last step again
        assert not checksums.damaged(execute(config))
        return
    if name != "checkpoint.pt":
        remedy = rf"is damaged \({name}.*\): scripts/runs.py gc {folder.name} --damaged --yes, then "
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


@pytest.mark.parametrize("checksums", [True, False])
def test_a_done_that_is_cut_to_its_first_line_is_not_believed(checksums: bool) -> None:
    config = digits(*SMALL)
    folder = execute(config)
    (folder / "DONE").write_text((folder / "DONE").read_text().splitlines(keepends=True)[0])
    if not checksums:
        (folder / "checksums.txt").unlink()
    flip(folder / "scores.parquet")
    with pytest.raises(RunFailed, match="is damaged \\(DONE"):
        require(Run(config), "make it")
    [found] = housekeeping.runs(thorough=True)
    assert found.state == "damaged"


@pytest.mark.parametrize("place", range(12))
def test_a_byte_of_the_seals_cannot_change_unseen(place: int) -> None:
    config = digits("dataset.limit=40", "model.hidden=[8]", "epochs=1")
    folder = execute(config)
    for name in SEALS:
        content = (folder / name).read_bytes()
        for bit in range(8):
            changed = bytearray(content)
            changed[place * (len(content) - 1) // 11] ^= 1 << bit
            (folder / name).write_bytes(changed)
            assert checksums.damaged(folder), (name, bytes(changed))
        (folder / name).write_bytes(content)
    assert not checksums.damaged(folder)


def test_a_disk_that_is_full_at_the_last_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configs = [digits(*SMALL), digits(*SMALL, "seed=1")]
    full = OSError(errno.ENOSPC, "No space left on device")

    def write(path: Path, text: str) -> None:
        if path.name == "checksums.txt" and (path.parent / "scores.parquet").exists():
            monkeypatch.setattr("turnover.runs.store.run.write_json", fail)
            fail()
        path.write_text(text)

    def fail(*arguments: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr("turnover.runs.store.run.write_text", write)
        with pytest.raises(OSError, match="No space left"):
            execute(configs[0])
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    with caplog.at_level("INFO", logger="turnover"):
        Sweep(configs).tell_outcome()
    name = Run(configs[0]).name
    assert any(f"not finished: {name}: its last files could not be written" in each for each in caplog.messages)


@given(st.binary(max_size=300))
def test_no_text_of_checksums_is_too_strange(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "checksums.txt").write_bytes(content)
        assert isinstance(checksums.damaged(Path(name)), list)
