"""What a reproduction took: for every step time, runs, seeds, commit and machine, over all starts of it."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnover.common.files import checkout, outputs_root, replacing, write_json
from turnover.errors import RunFailed
from turnover.experiments.plots.figure import NAMES
from turnover.experiments.reproduction.plan import Planned, Scale
from turnover.runs.store.provenance import now, provenance
from turnover.runs.store.run import Run


def path(scale: Scale) -> Path:
    """Where the record of a scale lies; without it the times are counted anew."""
    return outputs_root() / "reproduction" / f"{scale}.json"


def read(scale: Scale) -> dict[str, Any]:
    """What is recorded so far; nothing if there is no record, or a damaged one."""
    try:
        found = json.loads(path(scale).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("steps"), dict) else {}


@contextmanager
def recorded(scale: Scale, planned: Planned) -> Iterator[None]:
    """Adds the time that the block takes to the record of a step, however it ends, and all else if it ends well."""
    started, name = time.monotonic(), planned.step.name
    missing = [run for run in map(Run, planned.every.values()) if not run.finished]
    done = False
    try:
        yield
        done = True
    finally:
        steps = read(scale).get("steps", {})
        before = steps.get(name, {})
        made = sum(run.finished for run in missing)
        steps[name] = before | {
            "seconds": round(before.get("seconds", 0.0) + time.monotonic() - started, 1),
            "runs_made": before.get("runs_made", 0) + made,
        }
        if done:
            steps[name] |= _about(planned)
        total = round(sum(each["seconds"] for each in steps.values()), 1)
        write_json(path(scale), {"scale": scale, "seconds": total, "steps": steps})


def _about(planned: Planned) -> dict[str, Any]:
    runs = planned.every
    manifests = [Run(config).manifest for config in runs.values()]
    return {
        "runs": len(runs),
        "seeds": sorted({config.seed for config in runs.values()}),
        "training_seconds": round(sum(each.get("seconds", 0.0) for each in manifests), 1),
        "ended": now(),
        **provenance(),
    }


KEPT = ("laptop", "paper")  # at smoke scale numbers and verdicts mean nothing


def keep(scale: Scale, folder: Path | None = None) -> Path:
    """Copy the results of a scale to its folder in outputs/reference; files there that have no new version stay.

    Args:
        folder: another place.

    Raises:
        RunFailed: a result is missing; then nothing is copied.
    """
    folder = folder or checkout() / "outputs" / "reference" / scale
    pairs = list(_pairs(scale))
    if missing := [str(source) for source, _ in pairs if not source.is_file()]:
        raise RunFailed(f"{', '.join(missing)}: not there; make reproduce SCALE={scale} makes it")
    for source, name in pairs:
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    return folder


def _pairs(scale: Scale) -> Iterator[tuple[Path, str]]:
    """What is kept, and its name there."""
    root = outputs_root()
    for name in NAMES:
        for kind in ("png", "csv", "json"):  # the json last: it vouches for the others
            yield root / "figures" / scale / f"{name}.{kind}", f"{name}.{kind}"
    validated = root / "validate" / scale
    yield validated / "validate.json", "validate/validate.json"
    for each in sorted(validated.glob("*")):
        if each.suffix in (".png", ".csv", ".parquet"):
            yield each, f"validate/{each.name}"
    yield root / "bench" / "bench.csv", "bench.csv"
    yield root / "bench" / "machine.json", "bench_machine.json"
    yield path(scale), "reproduction.json"
