"""Sweeps on Slurm: the library of the launcher submits, the store says what became of a job.

A job is over when its run is DONE, or when it is lost: absent from Slurm's queue, not DONE, and nobody has its lock,
for a minute. Whatever Slurm says in between of a job (preempted, node failed, requeued, held) or does not say (its
controller restarts, and may have forgotten that a job was cancelled), it may still end well and is waited for.
"""

import getpass
import logging
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from turnover.common.files import outputs_root, read_small, write_text
from turnover.errors import RunFailed
from turnover.runs.store.housekeeping import locked
from turnover.runs.store.run import Run

log = logging.getLogger("turnover")

POLL = 5.0  # seconds between two looks
GRACE = 60.0  # seconds that a job must be absent: DONE may come late on a network's disk, jobs back with a controller
_SQUEUE = ("squeue", "-h", "-r", "-o", "%i|%T|%r|%k")  # of every task of an array: id, state, reason, comment


@dataclass(frozen=True)
class Listed:
    """A job in the queue."""

    state: str
    reason: str  # why it does not run, if it does not
    comment: str


Queue = dict[str, Listed]  # by the id of the job


def queue() -> Queue | None:
    """Return this user's jobs in Slurm's queue; None if Slurm does not answer."""
    try:
        command = [*_SQUEUE, "-u", getpass.getuser()]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, KeyError, subprocess.SubprocessError) as error:  # KeyError: a user without a name
        log.debug("squeue: %s", error)
        return None
    return parsed(told)


def parsed(text: str) -> Queue:
    """Return the jobs of a list that squeue has printed."""
    rows = [line.split("|", 3) for line in text.splitlines()]
    return {row[0].strip(): Listed(*map(str.strip, row[1:])) for row in rows if len(row) == 4}


def wait(
    jobs: dict[str, Run], look: Callable[[], Queue | None] = queue, poll: float = POLL, grace: float = GRACE
) -> list[Run]:
    """Wait until every run is done or its job is lost; return those that are lost. Log what Slurm holds or lost, once.

    Args:
        jobs: runs by the ids of their jobs.
        grace: seconds for which a job must be absent, in two looks at least.
    """
    absent, held, gone, left = dict[str, float](), set[str](), set[str](), dict(jobs)  # absent: since when
    while True:
        listed, now = look(), time.monotonic()
        left = {id: run for id, run in left.items() if not run.finished}  # asked after the queue: what ended is done
        if not left:
            return []
        if listed is None:
            absent = {}  # nothing is known of this time
        else:
            here = {id for id, run in left.items() if id in listed or _at_work(run)}
            for id in here & listed.keys():
                held |= _tell_held(id, listed[id].reason, held)
            lost = {id for id in left.keys() - here if now - absent.get(id, now + 1) >= grace}
            absent = {id: absent.get(id, now) for id in left.keys() - here}
            for id in sorted(lost - gone):
                log.warning("run %s is not done, and nothing works on it any more (job %s)", left[id].name, id)
            gone |= lost
            if lost == left.keys():
                return list(left.values())
        time.sleep(poll)


def _at_work(run: Run) -> bool:
    """Return True if a process has the lock of a run, as far as one can tell."""
    try:
        return locked(run.folder)
    except OSError as error:
        log.debug("%s: %s", run.name, error)
        return False


def _tell_held(id: str, reason: str, told: set[str]) -> set[str]:
    """Log how a job is released that Slurm does not start by itself; return what was not told before."""
    words = reason.lower().replace("_", " ")
    if "held" in words or "jobholdmaxrequeue" in words:
        key, remedy = f"{id} {reason}", f"when its cause is mended: scontrol release {id}"
    elif "down" in words or "drain" in words or "nodenotavail" in words:
        key, remedy = reason, "sinfo -R says why, scontrol update nodename=NODE state=resume takes a node back"
    else:
        return set()
    if key not in told:
        log.warning("Slurm holds job %s (%s): it is waited for; %s", id, reason, remedy)
    return {key}


def launch(
    runs: Sequence[Run], submit: Callable[[list[int], str], list[str]], poll: float = POLL, grace: float = GRACE
) -> None:
    """Submit the runs that are neither done nor queued nor worked on, and wait for all that are not done.

    Args:
        submit: submits the runs at these positions, with a comment for Slurm; returns the ids of their jobs.

    Raises:
        RunFailed: some are lost, or Slurm does not answer.
    """
    listed = queue()
    if listed is None:
        raise RunFailed("Slurm does not answer (squeue), so nothing is submitted; later the same command goes on")
    to_do = {run.name: at for at, run in enumerate(runs) if not run.finished}
    waiting = {id: runs[at] for at in to_do.values() if (id := _submitted(runs[at], listed))}
    queued = {run.name for run in waiting.values()}
    # of those that another process works on, which no job of ours is, the name stands for the id of a job
    waiting |= {name: runs[at] for name, at in to_do.items() if name not in queued and _at_work(runs[at])}
    if waiting:
        log.info("%d of the runs are queued or worked on already and not submitted again", len(waiting))
    positions = [at for name, at in to_do.items() if name not in queued and name not in waiting]
    if positions:
        comment = f"turnover {uuid.uuid4().hex}"
        for at, id in zip(positions, submit(positions, comment), strict=True):
            write_text(_record(runs[at]), f"{id}\n{comment}\n")
            waiting[id] = runs[at]
    lost = wait(waiting, poll=poll, grace=grace)
    for run in runs:
        if run.finished:
            _record(run).unlink(missing_ok=True)
    if lost:
        raise RunFailed(f"{len(lost)} of {len(runs)} runs did not end well, see above; the same command goes on")


def _submitted(run: Run, listed: Queue) -> str | None:
    """Return the id of a run's job that is in the queue; of a job of that id by another command, None."""
    try:
        id, comment = read_small(_record(run)).splitlines()
    except (OSError, ValueError):
        return None
    return id if id in listed and comment in listed[id].comment else None


def _record(run: Run) -> Path:
    return outputs_root() / "slurm" / f"{run.name}.txt"


def take_over(config_name: str) -> None:
    """Let the launcher of Slurm wait by the store; what it submits, and how, is the library's."""
    from hydra.core.utils import JobReturn, JobStatus
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher  # type: ignore[import-untyped]
    from submitit.slurm.slurm import SlurmJob

    from turnover.config.compose import composed, resolved

    library = SlurmLauncher.launch

    def launched(launcher: SlurmLauncher, batch: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        runs = [Run(resolved(composed(list(job), config_name), list(job))) for job in batch]
        params = launcher.params

        def submit(positions: list[int], comment: str) -> list[str]:
            ids: list[str] = []

            def results(job: SlurmJob) -> list[None]:  # for which the library would wait
                ids.append(job.job_id)
                return [None]

            launcher.params = params | {"comment": " ".join(filter(None, (params.get("comment"), comment)))}
            with patch.object(SlurmJob, "results", results):
                library(launcher, [batch[at] for at in positions], initial_job_idx)
            return ids

        launch(runs, submit)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=run.folder) for run in runs]

    SlurmLauncher.launch = launched
