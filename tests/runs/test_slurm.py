"""A sweep on a real Slurm whose jobs are preempted and whose node fails: every byte as without. `make test-slurm`."""

import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_cli import ROOT

from turnover.config.compose import sweep
from turnover.runs.store.run import Run

pytestmark = [
    pytest.mark.skipif("SLURM_CONF" not in os.environ, reason="no Slurm: make slurm-up, or make test-slurm"),
    pytest.mark.timeout(1500),
]

SWEEP = [
    "dataset=digits",
    "scale=smoke",
    "logger=none",
    "device=cpu",
    "corruption=labels",
    "epochs=200",
    "model.hidden=[64],[32,32]",
    "corruption.count=0,100,300",
    "seed=0,1",
]
ON_SLURM = [
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=2",
    "hydra.launcher.partition=normal",
]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def wait(what: str, true: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n" + slurm("squeue")
        time.sleep(0.3)


def started(outputs: Path, *overrides: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TURNOVER_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "score.py"), "-m", *overrides]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def states() -> dict[str, str]:
    """State of every task of an array that is not finished."""
    lines = slurm("squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i %T").split("\n")
    return dict(line.split() for line in lines if "_" in line)


_held: dict[str, float] = {}


def release() -> None:
    """Slurm holds jobs that were put back for two minutes; here for five seconds.

    At once would be too soon: a job that starts in the second in which its last start was revoked is refused.
    """
    held = slurm("squeue", "-h", "-r", "-o", "%i %r").split("\n")
    now = {line.split()[0] for line in held if line.endswith("BeginTime")}
    for job in set(_held) - now:
        del _held[job]
    for job in now:
        if time.monotonic() - _held.setdefault(job, time.monotonic()) > 5:
            subprocess.run(["scontrol", "update", f"jobid={job}", "StartTime=now"], capture_output=True, check=False)


@pytest.fixture
def queue() -> Iterator[None]:
    yield
    subprocess.run(["scancel", "-u", getpass.getuser()], check=False)


def in_the_middle(runs: list[Run]) -> list[Run]:
    """Runs that are at work and have a checkpoint."""
    at_work = [run for run in runs if run.folder.exists() and not run.finished]
    return [run for run in at_work if (run.folder / "checkpoint.pt").exists() and run.manifest["status"] == "running"]


@pytest.mark.usefixtures("queue")
def test_a_preempted_sweep_with_a_failing_node_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = sweep(SWEEP, "score")
    assert len(configs) == 12
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "slurm"))
    runs = [Run(config) for config in configs]
    process = started(tmp_path / "slurm", *SWEEP, *ON_SLURM)
    wait("two jobs at work", lambda: len(in_the_middle(runs)) == 2)
    victims = in_the_middle(runs)
    slurm("sbatch", "-p", "urgent", "-n", "1", "-c", "2", "-o", "/dev/null", "--wrap", "sleep 3")
    wait("both are preempted", lambda: all(run.manifest["status"] == "interrupted" for run in victims))
    wait("the urgent job is done", lambda: "urgent" not in slurm("squeue", "-h", "-o", "%P"))
    wait("both go on", lambda: again({run.name: 1 for run in victims}, victims))
    wait("two jobs at work again", lambda: len(in_the_middle(runs)) == 2)
    lost = [run for run in runs if run.folder.exists() and run.manifest["status"] == "running"]
    starts = {run.name: run.manifest["starts"] for run in lost}
    crash_node()
    wait("they begin again", lambda: again(starts, lost))

    def over() -> bool:
        release()
        return process.poll() is not None

    wait("the sweep ends", over, 300)
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert "12 runs: 12 done" in told
    assert all(run.manifest["starts"] >= 2 for run in victims)
    assert lost, "the node failed under some jobs"

    serial = started(tmp_path / "serial", *SWEEP)
    _, told = serial.communicate()
    assert serial.returncode == 0, told
    for run in runs:
        other = tmp_path / "serial" / "runs" / run.name
        for name in ("config.yaml", "metrics.parquet", "scores.parquet"):
            assert (run.folder / name).read_bytes() == (other / name).read_bytes(), (run.name, name)


def again(starts: dict[str, int], runs: list[Run]) -> bool:
    """Whether all runs were started more often than that."""
    release()
    return all(run.manifest["starts"] > starts[run.name] or run.finished for run in runs)


def crash_node() -> None:
    """Every process of the node is gone at once, and the node comes back."""
    table = [line.split() for line in slurm("ps", "-e", "-o", "pid=,ppid=,comm=").splitlines()]
    daemons = [process for process, _, name in table if name == "slurmd" or name.startswith("slurmstepd")]
    gone = [int(process) for process in daemons]
    for above in gone:  # grows meanwhile: the script of the job, srun, and the run itself
        gone += [int(process) for process, parent, _ in table if int(parent) == above and int(process) not in gone]
    for process in gone:  # stopped first, lest one of them tells of the end of another
        os.kill(process, signal.SIGSTOP)
    # Children before their parents: an orphan that is stopped is woken, and srun would ask Slurm to end the step, which
    # would end it when it is at work again
    for process in reversed(gone):
        os.kill(process, signal.SIGKILL)
    time.sleep(13)  # of a job that is younger than 12 s a node that registers is not asked
    slurmd = shutil.which("slurmd", path=os.environ["PATH"] + ":/usr/sbin")
    assert slurmd is not None
    slurm(slurmd)


@pytest.mark.usefixtures("queue")
def test_a_cancelled_job_ends_the_sweep_with_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    done = started(tmp_path, *SWEEP[:5], "epochs=2", "seed=1")
    assert done.wait() == 0
    process = started(tmp_path, *SWEEP[:5], "epochs=2", "seed=1,2", *ON_SLURM)
    _, told = process.communicate()
    assert "2 runs: 1 done, 1 cached" in told, told
    long = [*SWEEP[:5], "epochs=1000000,1000001,30"]
    process = started(tmp_path, *long, *ON_SLURM)
    cancelled, killed, last = (Run(config) for config in sweep(long, "score"))
    wait("two are at work", lambda: len(in_the_middle([cancelled, killed])) == 2)
    first = next(iter(sorted(states())))
    subprocess.run(["scancel", first], check=True)
    os.kill(task(first.replace("_0", "_1")), signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 3, told
    assert "Traceback" not in told
    assert "3 runs: 1 done, 2 not finished" in told, told
    assert all(f"{run.name}: its process is gone" in told for run in (cancelled, killed)), told
    assert last.finished
    assert "the same command goes on" in told


def task(job: str) -> int:
    """Process of a run that is at work as a task of an array."""
    array, _, number = job.partition("_")
    told = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={number}"}
    for line in slurm("ps", "-e", "-o", "pid=,args=").splitlines():
        process, program, *arguments = line.split()
        ours = "python" in program and "submitit.core._submit" in arguments
        if ours and told <= set(Path(f"/proc/{process}/environ").read_text().split("\0")):
            return int(process)
    raise AssertionError(f"no process of {job}")


@pytest.mark.usefixtures("queue")
def test_a_run_that_fails_is_told_with_its_log(tmp_path: Path) -> None:
    process = started(tmp_path, *SWEEP[:5], "epochs=2", "seed=0", "optimizer.lr=0.1,1e30", *ON_SLURM)
    _, told = process.communicate()
    assert process.returncode == 3, told
    assert "Traceback" not in told
    assert "2 runs: 1 done, 1 failed" in told
    assert "the loss became" in told
    assert "log.txt" in told
