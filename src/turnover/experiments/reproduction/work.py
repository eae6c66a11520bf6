"""`make reproduce`: all steps, one after another; a step whose runs are finished only draws, and that once."""

import json
import logging
from pathlib import Path

from turnover.common.files import locked, outputs_root
from turnover.common.text import clock
from turnover.experiments.reproduction.plan import Planned, Scale, announce, left_seconds, steps
from turnover.experiments.reproduction.record import KEPT, keep, path, read, recorded
from turnover.runs.scripts import call
from turnover.runs.store.provenance import commit

log = logging.getLogger("turnover")


def reproduce(scale: Scale, launcher: str) -> Path:
    """Tell the plan, do it, and keep what comes of it in outputs/reference; returns the record's path.

    Raises:
        KeyboardInterrupt: it was stopped; called again it goes on.
        SystemExit: a script failed, and has said why.
    """
    with locked(path(scale).with_name(f".{scale}.lock"), f"the reproduction at {scale} scale"):
        planned = announce(steps(scale), scale, launcher)
        for number, each in enumerate(planned, 1):
            left = left_seconds(planned[number - 1 :])
            ahead = f", about {clock(left)} of training to go" if left else ""
            log.info("\n%d of %d: %s%s", number, len(planned), each.step.name, ahead)
            with recorded(scale, each):
                _do(each, scale, launcher)
        log.info("\neverything at %s scale took %s so far", scale, clock(read(scale)["seconds"]))
        if scale in KEPT:
            log.info("results are kept in %s; make readme tells them in the README", keep(scale))
        else:
            log.info("nothing is kept in outputs/reference: at this scale numbers mean nothing")
    return path(scale)


def _do(planned: Planned, scale: Scale, launcher: str) -> None:
    script, *arguments = planned.step.last
    if planned.step.experiments:
        arguments.append(f"launcher={launcher}")  # of the runs that are missing
    if script == "benchmark.py" and not arguments and _measured():
        log.info("cached: %s", outputs_root() / "bench" / "bench.csv")
        return
    call(script, arguments)


def _measured() -> bool:
    """Whether this very code was measured already."""
    about = outputs_root() / "bench" / "machine.json"
    try:
        measured = json.loads(about.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    told = measured.get("commit") if isinstance(measured, dict) else None
    return bool(told) and told == commit() and not told.endswith("-dirty") and about.with_name("bench.csv").is_file()
