"""Running of scripts as processes, and making of the missing runs of experiments."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from turnover.common.files import checkout
from turnover.config.compose import sweep
from turnover.errors import RunFailed
from turnover.runs.plan import make_here
from turnover.runs.store.run import Run

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_INTERRUPTED = 130


def make_runs(experiments: Sequence[str], scale: str, launcher: str, overrides: Sequence[str] = ()) -> None:
    """Make the runs of experiments that are not finished, one experiment after another.

    They are what scripts/train.py -m makes. Its basic launcher would do no more than this process does, but import
    PyTorch again and compose every run twice.

    Raises: as `make_here`, or with another launcher as `call`.
    """
    for name in experiments:
        given = [f"+experiment={name}", f"scale={scale}", *overrides]
        runs = sweep(given)
        if all(Run(config).finished for config in runs):
            continue
        if launcher == "basic":
            make_here(runs)
        else:
            call("train.py", ["-m", f"hydra/launcher={launcher}", *given])


def call(script: str, arguments: Sequence[str]) -> None:
    """Run one of scripts/ to its end.

    A signal to this process is passed on, once, to all processes of the script, whose end is then waited for. They are
    a group of their own: Ctrl-C on a terminal would else reach them twice, and a second one waits for no checkpoint.

    Raises:
        KeyboardInterrupt: it was asked to stop.
        RunFailed: it was killed.
        SystemExit: it failed, with its exit code; its message is printed.
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
