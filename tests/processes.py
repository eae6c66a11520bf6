"""Processes that have imported everything when they begin: an import takes longer than what most tests do in one."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    # torch._dynamo: PyTorch imports it for the first optimizer
    ["pytest", "sklearn.datasets", "torch._dynamo", "turnover.config.compose", "turnover.runs.pipeline"]
)


def start(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """Call a function of a module in a process of its own."""
    process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Wait for the end of a process, and return its exit code."""
    process.join()
    return process.exitcode


def script(path: Path, arguments: Sequence[str], environment: dict[str, str], where: Path, folder: Path) -> int | None:
    """Run a script as for itself; return its exit code, and leave what it prints in `folder`/out and `folder`/err."""
    process = start(_script, path, arguments, environment, where, folder)
    process.join(120)
    return process.exitcode


def _script(path: Path, arguments: Sequence[str], environment: dict[str, str], where: Path, folder: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(where)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")
