"""scripts/slurm.sh removes and stops only what it has made itself. It is run by root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import ROOT


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is none of Slurm's."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def down(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(ROOT / "scripts" / "slurm.sh"), "down"]
    environment = {**os.environ, "TURNOVER_SLURM": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_folder_of_someone_else_stays(tmp_path: Path, stranger: "subprocess.Popen[bytes]") -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    (folder / "slurmd.pid").write_text(str(stranger.pid))
    done = down(folder)
    assert done.returncode == 1
    assert "nothing is stopped or removed" in done.stderr
    assert (folder / "thesis.txt").exists()
    assert stranger.poll() is None


def test_a_number_that_now_is_another_process_is_not_killed(
    tmp_path: Path, stranger: "subprocess.Popen[bytes]"
) -> None:
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "slurm.conf").write_text("ClusterName=turnover\nSlurmUser=root\n")
    for name, text in (("slurmd", str(stranger.pid)), ("munged", "nonsense"), ("mariadb", "")):
        (folder / f"{name}.pid").write_text(text)
    done = down(folder)
    assert done.returncode == 0, done.stderr
    assert not folder.exists()
    assert stranger.poll() is None


@pytest.mark.parametrize("there", [True, False])
def test_nothing_there_is_nothing_to_do(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "empty"
    if there:
        folder.mkdir()
    assert down(folder).returncode == 0
