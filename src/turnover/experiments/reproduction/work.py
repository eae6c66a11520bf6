"""`make reproduce`: all steps, one after another; a step whose runs are finished only draws, and that once."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from turnover.common.files import checkout, outputs_root
from turnover.common.locks import locked
from turnover.common.text import clock
from turnover.errors import RunFailed
from turnover.experiments.reproduction.plan import Planned, Scale, announce, left_seconds, steps
from turnover.experiments.reproduction.record import KEPT, keep, path, read, recorded
from turnover.runs.store.provenance import commit
from turnover.runs.store.run import Run

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_INTERRUPTED = 130


def call(script: str, arguments: Sequence[str]) -> None:
    """Run one of scripts/ to its end.

    A signal to this process is passed on, once, to all processes of the script, whose end is then waited for. They are
    a group of their own: Ctrl-C on a terminal would else reach them twice, and a second one waits for no checkpoint.

    Raises:
        KeyboardInterrupt: it was asked to stop.
        RunFailed: it was killed.
        SystemExit: it failed, with its exit code; it has said why.
    """
    came: list[int] = []
    waiting: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def deliver() -> None:
        while started and waiting:
            with suppress(ProcessLookupError):
                os.killpg(started[0].pid, waiting.pop())

    def note(number: int, frame: Any) -> None:
        came.append(number)
        waiting.append(number)
        deliver()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # as nohup leaves SIGHUP
    for number in taken:
        signal.signal(number, note)
    try:
        command = [sys.executable, str(checkout() / "scripts" / script), *arguments]
        started.append(subprocess.Popen(command, process_group=0))
        deliver()  # what came while it was started
        code = started[0].wait()
    finally:
        for number in taken:
            signal.signal(number, before[number])
    if came or code == _INTERRUPTED:
        raise KeyboardInterrupt
    if code < 0:
        raise RunFailed(f"scripts/{script} was killed by {signal.Signals(-code).name}; the same command goes on")
    if code:
        raise SystemExit(code)


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
    for experiment, configs in planned.runs.items():
        if not all(Run(config).finished for config in configs):
            call("train.py", ["-m", *planned.step.sweep(experiment, scale, launcher)])
    script, *arguments = planned.step.last
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
