"""`make reproduce`: all steps, one after another, each recorded with its time; what comes of them is kept.

A step whose runs are finished only draws, and that once.
"""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnover.common.files import checkout, locked, outputs_root, replacing, write_json
from turnover.common.text import clock
from turnover.errors import RunFailed
from turnover.experiments.plots.figure import NAMES
from turnover.experiments.reproduction.plan import Planned, Scale, announce, chosen, left_seconds, steps
from turnover.runs.scripts import call
from turnover.runs.store.provenance import commit, now, provenance
from turnover.runs.store.run import Run

log = logging.getLogger("turnover")

KEPT = ("laptop", "paper")  # at smoke scale numbers and verdicts mean nothing


def reproduce(scale: Scale, launcher: str, only: Sequence[str] = ()) -> Path:
    """Log the plan, do it, and keep its results in outputs/reference; returns the record's path.

    Args:
        only: names of steps; none: all.

    Raises:
        RefusedInput: there is no such step.
        KeyboardInterrupt: it was stopped; called again it goes on.
        SystemExit: a script failed, and has logged why.
    """
    with locked(path(scale).with_name(f".{scale}.lock"), f"the reproduction at {scale} scale"):
        planned = announce(chosen(steps(scale), only), scale, launcher)
        for number, step in enumerate(planned, 1):
            left = left_seconds(planned[number - 1 :])
            ahead = f", about {clock(left)} of training to go" if left else ""
            log.info("\n%d of %d: %s%s", number, len(planned), step.step.name, ahead)
            with recorded(scale, step):
                _do(step, scale, launcher)
        log.info("\neverything at %s scale took %s so far", scale, clock(read(scale)["seconds"]))
        if scale in KEPT:
            log.info("results are kept in %s; make readme tells them in the README", keep(scale, only))
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
    """Return True if this very code was measured already."""
    machine = outputs_root() / "bench" / "machine.json"
    code = _json(machine).get("commit")
    return bool(code) and code == commit() and not code.endswith("-dirty") and machine.with_name("bench.csv").is_file()


def _json(path: Path) -> dict[str, Any]:
    """Return the values of a json file; none if it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def path(scale: Scale) -> Path:
    """Return the path of the record of a scale; without it the times are counted anew."""
    return outputs_root() / "reproduction" / f"{scale}.json"


def read(scale: Scale) -> dict[str, Any]:
    """Return what is recorded so far; nothing if there is no record, or a damaged one."""
    record = _json(path(scale))
    return record if isinstance(record.get("steps"), dict) else {}


@contextmanager
def recorded(scale: Scale, planned: Planned) -> Iterator[None]:
    """Add the time of the block to the record of a step, however it ends, and all else if it ends well."""
    started, name, runs = time.monotonic(), planned.step.name, planned.every
    missing = [run for run in map(Run, runs.values()) if not run.finished]
    done = False
    try:
        yield
        done = True
    finally:
        steps = read(scale).get("steps", {})
        before = steps.get(name, {})
        steps[name] = before | {
            "seconds": round(before.get("seconds", 0.0) + time.monotonic() - started, 1),
            "runs_made": before.get("runs_made", 0) + sum(run.finished for run in missing),
        }
        if done:
            seconds = [Run(config).manifest.get("seconds", 0.0) for config in runs.values()]
            steps[name] |= {
                "runs": len(runs),
                "seeds": sorted({config.seed for config in runs.values()}),
                "training_seconds": round(sum(seconds), 1),
                "ended": now(),
                **provenance(),
            }
        total = round(sum(step["seconds"] for step in steps.values()), 1)
        write_json(path(scale), {"scale": scale, "seconds": total, "steps": steps})


def keep(scale: Scale, only: Sequence[str] = (), folder: Path | None = None) -> Path:
    """Copy the results of a scale to its folder in outputs/reference; files there that have no new version stay.

    Args:
        only: names of steps whose results are copied; none: all.
        folder: another place.

    Raises:
        RunFailed: a result is missing; then nothing is copied.
    """
    folder = folder or checkout() / "outputs" / "reference" / scale
    pairs = [(path, name) for step, path, name in _kept(scale) if not only or step in only]
    if missing := [str(source) for source, _ in pairs if not source.is_file()]:
        raise RunFailed(f"{', '.join(missing)}: not there; make reproduce SCALE={scale} makes it")
    for source, name in pairs:
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    return folder


def _kept(scale: Scale) -> Iterator[tuple[str, Path, str]]:
    """Yield the files to keep: the step that makes one, its path, its name there."""
    root = outputs_root()
    for name in NAMES:
        for kind in ("png", "csv", "json"):  # the json last: it vouches for the others
            yield name, root / "figures" / scale / f"{name}.{kind}", f"{name}.{kind}"
    validated = root / "validate" / scale
    yield "validate", validated / "validate.json", "validate/validate.json"
    for file in sorted(validated.glob("*")):
        if file.suffix in (".png", ".csv", ".parquet"):
            yield "validate", file, f"validate/{file.name}"
    yield "bench", root / "bench" / "bench.csv", "bench.csv"
    yield "bench", root / "bench" / "machine.json", "bench_machine.json"
    yield "all", path(scale), "reproduction.json"
