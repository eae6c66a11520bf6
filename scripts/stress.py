"""Kill processes at random moments, again and again, and show that nothing is lost: make stress.

Runs of every kind and figures are made by several processes at once on one store. Each process is killed (SIGKILL) at a
random moment, and another one goes on, until all is finished; then the tables are compared, byte by byte, with those
of undisturbed runs. This is repeated with new stores until there were enough kills of processes at work,
which hold the lock of a run or of a figure; others wait for one of these, or find their work done.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import yaml

from turnover.common.files import checkout
from turnover.config.compose import sweep
from turnover.experiments.figures.make import FigureJob, make
from turnover.runs.execute import execute
from turnover.runs.store import housekeeping

SMALL = "dataset=digits scale=smoke logger=none device=cpu dataset.limit=300 model.hidden=[32] seed=0,1".split()
KINDS = {
    "train": ["estimator=none", "turnover=off", "epochs=20", "tracking=gradients"],
    "score": ["turnover=all_layers", "estimator=turnover", "estimator.epochs=[3,9]", "epochs=20"],
    "one run": ["turnover=off", "estimator=one_run", "epochs=12"],
    "second split": ["turnover=off", "estimator=second_split", "epochs=10"],
    "ensemble": ["turnover=off", "estimator=subsampling", "estimator.models=40", "epochs=6"],
}
FIGURE = [
    "dataset=digits",
    "dataset.limit=300",
    "model.hidden=[32]",
    "epochs=10",
    "estimator.targets=20",
]  # instead of MNIST
TABLES = ("*.parquet", "*.npz", "config.yaml", "*.csv", "*.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="of processes at work")
    parser.add_argument("--processes", type=int, default=8, help="at once")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    dice, folder = random.Random(given.seed), Path(tempfile.mkdtemp(prefix="stress-"))
    tasks = work()
    seconds = {}
    os.environ["TURNOVER_OUTPUTS"] = str(folder / "undisturbed")
    for name, task in tasks.items():
        start = time.monotonic()
        if wait(started(task, folder / "log.txt")):
            print(f"{name} fails undisturbed:\n{(folder / 'log.txt').read_text()}", file=sys.stderr)
            return 1
        seconds[name] = time.monotonic() - start
    print(f"seed {given.seed}; {len(tasks)} tasks, undisturbed {sum(seconds.values()):.0f} s; in {folder}", flush=True)
    expected = tables(folder / "undisturbed")
    kills = waiting = rounds = failures = 0
    while kills < given.kills:
        rounds += 1
        store = folder / f"round-{rounds}"
        os.environ["TURNOVER_OUTPUTS"] = str(store)
        killed, idle, failed = disturbed(tasks, seconds, given.processes, given.kills - kills, dice, folder / "log.txt")
        kills, waiting, failures = kills + killed, waiting + idle, failures + failed
        written, broken = tables(store), [run for run in housekeeping.runs(thorough=True) if run.state != "finished"]
        differ = sorted(name for name in expected.keys() | written.keys() if expected.get(name) != written.get(name))
        failures += len(differ) + len(broken)
        print(f"round {rounds}: {kills} kills so far; {len(written)} files, {len(differ)} differ {differ}", flush=True)
    summary = f"{kills} kills of processes at work and {waiting} of waiting ones in {rounds} rounds"
    print(f"{summary}, {given.processes} processes at once: {failures} failures")
    if not failures:
        shutil.rmtree(folder)
    return int(failures > 0)


def work() -> dict[str, Callable[[], object]]:
    """Return the tasks by their names."""
    tasks: dict[str, Callable[[], object]] = {}
    for kind, overrides in KINDS.items():
        for config in sweep([*SMALL, *overrides]):
            tasks[f"{kind}, seed {config.seed}"] = lambda config=config: execute(config)  # type: ignore[misc]
    tasks["figure"] = figure
    return tasks


def figure() -> None:
    """Make a figure and the runs that it draws."""
    for config in sweep(["+experiment=influence", "scale=smoke", "logger=none", *FIGURE]):
        execute(config)
    values = yaml.safe_load((checkout() / "conf" / "figure" / "influence.yaml").read_text(encoding="utf-8"))
    make(
        FigureJob.model_validate({"figure": values, "scale": "smoke", "overrides": FIGURE, "logger": {"name": "none"}})
    )


def started(task: Callable[[], object], log: Path) -> int:
    """Start a task in a process and return the process id."""
    if process := os.fork():
        return process
    code = 1
    try:
        with log.open("a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            task()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def disturbed(
    tasks: dict[str, Callable[[], object]],
    seconds: dict[str, float],
    processes: int,
    most: int,
    dice: random.Random,
    log: Path,
) -> tuple[int, int, int]:
    """Do all tasks with killed processes; count kills of working processes, of waiting ones, and failures."""
    left, killed, idle, failed = set(tasks), 0, 0, 0
    deaths: Counter[str] = Counter()
    at_work: dict[int, tuple[str, float]] = {}
    while left:
        while len(at_work) < processes:
            doubled = [name for name, _ in at_work.values()]
            # rather what fewest work on; there are fewer tasks than processes at the end, so some always wait
            fewest = min(map(doubled.count, left))
            name = dice.choice(sorted(task for task in left if doubled.count(task) == fewest))
            # kills stop when there were enough, so that all gets finished; on a machine busier than it was when the
            # seconds were taken a life may be too short to get anywhere, so each death makes the next one longer
            longest = processes / 4 * seconds[name] * 1.1 ** deaths[name]
            life = dice.uniform(0, longest) if killed < most else float("inf")
            at_work[started(tasks[name], log)] = (name, time.monotonic() + life)
        for process, (name, end) in list(at_work.items()):
            gone, status = os.waitpid(process, os.WNOHANG)
            if gone:
                del at_work[process]
                left -= {name} if status == 0 else set()
                failed += status != 0
            elif time.monotonic() > end:
                os.kill(process, signal.SIGSTOP)  # so that it is at work or not when it dies
                holding = holds_lock(process)
                os.kill(process, signal.SIGKILL)
                wait(process)
                del at_work[process]
                deaths[name] += 1
                killed, idle = killed + holding, idle + (not holding)
        time.sleep(0.01)
    for process in at_work:
        wait(process)
    return killed, idle, failed


def holds_lock(process: int) -> bool:
    """Return True if a process holds a file lock, as the kernel lists them."""
    lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    return any(line.split()[1:5:3] == ["FLOCK", str(process)] for line in lines if "->" not in line)


def tables(store: Path) -> dict[str, bytes]:
    """Return every file that must be the same, by its path."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for pattern in TABLES
        for path in sorted(store.rglob(pattern))
    }


if __name__ == "__main__":
    sys.exit(main())
