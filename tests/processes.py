"""Processes that have imported everything when they begin: an import takes longer than what most tests do in one."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "sklearn.datasets", "turnover.config.compose", "turnover.runs.pipeline"])


def start(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """Call a function of a module in a process of its own."""
    process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Wait for the end of a process, and return its exit code."""
    process.join()
    return process.exitcode
