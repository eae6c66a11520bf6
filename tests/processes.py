"""Processes that have imported everything when they begin: an import takes longer than what most tests do in one."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("pytest", "sklearn.datasets", "turnover.config.compose", "turnover.runs.pipeline"),
        *("turnover.audit.work", "turnover.experiments.figures.make"),
        "torch._dynamo",  # PyTorch imports it for the first optimizer
    ]
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


def script(
    path: Path, *arguments: str, environment: dict[str, str], where: Path, source: Path | None = None
) -> CompletedProcess[str]:
    """Run a script as for itself; return its exit code and what it prints.

    Args:
        source: a folder with another copy of the package, which is imported from there.
    """
    with TemporaryDirectory() as folder:
        process = start(_script, path, arguments, environment, where, Path(folder), source)
        code = ended(process)
        out, err = (Path(folder, name).read_text("utf-8", "surrogateescape") for name in ("out", "err"))
    assert code is not None
    return CompletedProcess([str(path), *arguments], code, out, err)


def _script(
    path: Path,
    arguments: Sequence[str],
    environment: dict[str, str],
    where: Path,
    folder: Path,
    source: Path | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(where)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if encoding := environment.get("PYTHONIOENCODING"):  # which Python reads when it begins
        for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
            stream.reconfigure(encoding=encoding, errors=errors)  # type: ignore[union-attr]
    if source:
        for name in [name for name in sys.modules if name.split(".")[0] == "turnover"]:
            del sys.modules[name]
        sys.path.insert(0, str(source))
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")
