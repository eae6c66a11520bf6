"""A full disk and a read-only one: one clear message, nothing half-written, and with room the same command goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import SMALL, invoke

from turnover.runs.store import housekeeping


def mounted(path: Path, *options: str) -> bool:
    path.mkdir(exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    if not mounted(path, "-o", "size=4m"):
        pytest.skip("mounting a tmpfs needs root")
    yield path
    subprocess.run(["umount", str(path)], check=True)


RUNS = {
    "score": ["epochs=6", "estimator.epochs=[1,2]"],
    "one_run": ["turnover=off", "estimator=one_run", "epochs=6"],
    "ensemble": ["turnover=off", "estimator=subsampling", "estimator.models=20"],
}


@pytest.mark.parametrize("kind", RUNS)
def test_on_a_full_disk_a_run_says_so_and_goes_on_when_there_is_room(kind: str, disk: Path, tmp_path: Path) -> None:
    overrides = [*SMALL, "model.hidden=[32]", "dataset.limit=300", *RUNS[kind]]
    whole = invoke(tmp_path / "whole", "score.py", *overrides)
    assert whole.code == 0, whole.err
    needed = sum(path.stat().st_size for path in whole.last_line.rglob("*") if path.is_file())
    messages = []
    for share in (0.1, 0.4, 0.7, 1.0):  # full at different moments
        filler = disk / "filler"
        room = round(share * needed)
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
        done = invoke(disk / "outputs", "score.py", *overrides)
        if done.code:
            assert done.code in (2, 3), done.err
            assert "No space left on device" in done.err
            assert "the same command goes on" in done.err or "set TURNOVER_OUTPUTS" in done.err
            assert "Traceback" not in done.err
            messages.append(done.err)
        filler.unlink()
        hidden = [path.name for path in disk.rglob(".*") if path.name != ".lock"]
        assert not hidden, "nothing half-written stays"
    assert messages, "the disk was never full"
    done = invoke(disk / "outputs", "score.py", *overrides)
    assert done.code == 0, done.err
    for name in ("scores.parquet", "metrics.parquet"):
        assert (done.last_line / name).read_bytes() == (whole.last_line / name).read_bytes()


def test_a_read_only_store_is_refused_and_still_read(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*SMALL, "model.hidden=[16]", "dataset.limit=100"]
    finished = invoke(disk / "outputs", "score.py", *overrides)
    assert finished.code == 0, finished.err
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    again = invoke(disk / "outputs", "score.py", *overrides)
    assert (again.code, again.last_line) == (0, finished.last_line), again.err
    other = invoke(disk / "outputs", "score.py", *overrides, "seed=1")
    assert other.code in (2, 3), other.err
    assert "Read-only file system" in other.err
    assert "Traceback" not in other.err
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(disk / "outputs"))
    assert [each.state for each in housekeeping.runs(thorough=True)] == ["finished"]


def test_a_read_only_store_is_looked_after(disk: Path) -> None:
    overrides = [*SMALL, "model.hidden=[16]", "dataset.limit=100"]
    assert invoke(disk / "outputs", "score.py", *overrides).code == 0
    assert invoke(disk / "outputs", "score.py", *overrides, "optimizer.lr=1e30").code == 3
    for lock in disk.rglob(".lock"):
        lock.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for arguments in (["ls"], ["verify"], ["gc", "--failed"]):
        done = invoke(disk / "outputs", "runs.py", *arguments)
        assert done.code == 0, done.err
        assert "failed" in done.out or arguments == ["verify"] or "would be" in done.out
    done = invoke(disk / "outputs", "runs.py", "gc", "--failed", "--yes")
    assert (done.code, "Read-only file system" in done.err) == (3, True), done.err
