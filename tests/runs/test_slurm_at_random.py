"""Sweeps on a real Slurm that is disturbed at random moments: `make stress-slurm`."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from test_slurm import ON_SLURM, SWEEP, crash_node, queue, release, started, states, task, wait

from turnover.config.compose import sweep
from turnover.runs.store.housekeeping import locked
from turnover.runs.store.run import Run

SWEEPS = int(os.environ.get("TURNOVER_SWEEPS", "0"))
MANY = [*SWEEP[:5], "epochs=150", "seed=0,1,2,3,4,5"]

pytestmark = [
    pytest.mark.skipif(not SWEEPS or "SLURM_CONF" not in os.environ, reason="takes long: make stress-slurm"),
    pytest.mark.timeout(1500),
    pytest.mark.usefixtures("queue"),
]
__all__ = ["queue"]


def cancel(dice: random.Random) -> str:
    job = dice.choice(sorted(states()))
    subprocess.run(["scancel", job], check=False)
    return job


def kill(dice: random.Random) -> str:
    job = dice.choice([job for job, state in sorted(states().items()) if state == "RUNNING"])
    os.kill(task(job), signal.SIGKILL)
    return job


def crash(dice: random.Random) -> str:
    crash_node()
    return ""


def restart(dice: random.Random) -> str:
    """The controller is gone for a while; nobody can ask for the queue."""
    home = Path(os.environ["SLURM_CONF"]).parent
    os.kill(int((home / "slurmctld.pid").read_text()), signal.SIGKILL)
    seconds = dice.uniform(0, 15)
    time.sleep(seconds)
    subprocess.run(["slurmctld"], check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
    return f"for {seconds:.0f} s"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    process = started(folder, *MANY)
    process.communicate()
    assert process.returncode == 0
    return folder


@pytest.mark.parametrize("seed", range(SWEEPS))
def test_a_disturbed_sweep_ends_with_its_work(
    seed: int, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    dice, runs, happened = random.Random(seed), [Run(config) for config in sweep(MANY, "score")], []
    left, again = dice.randint(1, 4), 0
    while True:
        process, moment = started(tmp_path, *MANY, *ON_SLURM), time.monotonic() + dice.uniform(5, 20)
        while process.poll() is None:
            time.sleep(0.3)
            if left and time.monotonic() > moment:
                moment, disturb = time.monotonic() + dice.uniform(2, 15), dice.choice([cancel, kill, crash, restart])
                try:
                    happened.append(f"{disturb.__name__} {disturb(dice)}")
                    left -= 1
                except (AssertionError, IndexError, ProcessLookupError, subprocess.SubprocessError):
                    continue  # nothing was at work at that moment
            if not left:
                try:
                    release()
                except subprocess.SubprocessError:
                    continue  # the controller is not back yet
        _, told = process.communicate()
        unfinished = [run for run in runs if not run.finished]
        assert process.returncode == (3 if unfinished else 0), (happened, told)
        # what a crash has put back into the queue after its run was done waits two minutes there, and finds it done
        wait("no job outlives the command but to report its end", lambda: not states(), 200)
        assert not any(locked(run.folder) for run in unfinished), (happened, told)
        assert all(run.name in told for run in unfinished), (happened, told)
        assert "Traceback" not in told, (happened, told)
        if not unfinished:
            break
        again, left = again + 1, 0  # as its last line says, the same command goes on
        assert again < 4, (happened, told)
    print(f"sweep {seed}: {'; '.join(happened)}; the command was repeated {again} times")
    for run in runs:
        for name in ("config.yaml", "metrics.parquet", "scores.parquet"):
            assert (run.folder / name).read_bytes() == (undisturbed / "runs" / run.name / name).read_bytes(), happened
