"""Shared code of the entry points: readable errors and exit codes.

0 done, 2 refused input, 3 failed run, 130 interrupted, 141 standard output is closed.
"""

import errno
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

from turnover.common.files import outputs_root
from turnover.common.text import printable, suggestion, visible
from turnover.config.parse import fields
from turnover.errors import RefusedInput, RunFailed, TurnOverError

log = logging.getLogger("turnover")

_UNREAD = 141  # what a shell reports of a command that a closed pipe has ended
_ADVICE = {  # where a file or a folder cannot be used: what to do
    (errno.ENOSPC, errno.EDQUOT): "make room or set TURNOVER_OUTPUTS",
    (errno.EROFS, errno.EACCES, errno.EPERM): "allow it, or set TURNOVER_OUTPUTS to a folder that can be written to",
    (errno.EFBIG,): "files of that size must be allowed (ulimit -f, or another file system)",
    (errno.EIO, errno.ESTALE): "its disk or server is in trouble: look there, or set TURNOVER_OUTPUTS",
    (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP): "set TURNOVER_OUTPUTS to a file system with locks, as NFS version 4",
    (errno.EBUSY, errno.ETXTBSY): "end the program that uses it",
    (errno.EMFILE, errno.ENFILE): "allow more open files (ulimit -n)",
    (errno.ENAMETOOLONG,): "give a shorter path",
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST): "look at what is there",
}

_LONG = 300  # characters of a path; more are cut
_LONGEST, _DEEPEST = 3_000, 200  # bytes and folders of a path, below which there is room for more

at_end = ExitStack()  # called when the entry point ends, however it ends
_known: Callable[[], list[str]] = fields  # the dotted fields of the entry point that runs


def enter(main: Callable[[], Any], known: Callable[[], list[str]] = fields, paths: tuple[str, ...] = ()) -> NoReturn:
    """Run an entry point with a config of Hydra, as `end_with`.

    `known` lists the fields of its config, to suggest one for a misspelt one; those of `paths` are taken from the
    command line as they are, whatever Hydra would make of their characters.
    """
    import turnover.config.compose  # noqa: F401 (resolvers and aliases of conf/)

    global _known
    _known = known
    os.environ["TURNOVER_OUTPUTS"] = str(outputs_root().resolve())  # wherever the command was given
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    sys.argv[1:] = [_as_is(argument, paths) for argument in sys.argv[1:]]

    def work() -> Any:
        _refuse_strange(outputs_root())
        return main()

    end_with(work)


def end_with(main: Callable[[], Any]) -> NoReturn:
    """Call `main` and end the process with its exit code, if it returns one, or the right one of its error.

    An error is one readable message; an unexpected one, a bug, keeps its traceback.
    """
    for number in range(3):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # or the next file that is opened would get what is printed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does with what it cannot encode
    set_up_logging()
    try:
        with at_end:
            code = main()
        if sys.stdout:
            sys.stdout.flush()
    except (KeyboardInterrupt, Exception) as error:
        leave(error)
    sys.exit(_UNREAD if _unread() else code if isinstance(code, int) else 0)


def _refuse_strange(root: Path) -> None:
    """Refuse an outputs folder that libraries cannot write below, before any work."""
    str(root).encode()  # UnicodeEncodeError, if it is no UTF-8
    if len(os.fsencode(root)) > _LONGEST or len(root.parts) > _DEEPEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(root))


def _as_is(argument: str, paths: tuple[str, ...]) -> str:
    """Return an argument NAME=PATH with its path in quotes for Hydra, unless it is in quotes already, or null."""
    name, equals, path = argument.partition("=")
    if name not in paths or not equals or re.fullmatch(r"""(["']).*\1|null""", path):
        return argument
    from turnover.config.compose import quoted

    return f"{name}={quoted(path)}"


def _unread() -> bool:
    """Return True if standard output or error is a closed pipe, as after `... | head`; not an error."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    gone = {number for number, event in poll.poll(0) if event & select.POLLERR}
    for number in gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # or Python complains when it ends
    return bool(gone)


@contextmanager
def one_message(part: str = "") -> Iterator[None]:
    """End the process at an error of a single run of a Hydra job; in a sweep the other runs go on.

    Args:
        part: what this one is of a sweep; its errors are logged, as Hydra raises the first of them alone. Empty: the
            sweep does that itself.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    set_up_logging()  # a job of a sweep may be in another process
    alone = HydraConfig.get().mode == RunMode.RUN
    if part and not alone:
        log.info("\n%s", part)
    try:
        yield
    except (SystemExit, Exception) as error:
        if alone:
            leave(error)
        if part:
            log.error("%s: %s: %s", part, type(error).__name__, error)
            at_end.callback(log.error, "%s is not made, see above", part)
        if isinstance(error, SystemExit):  # of a script that has said why; Hydra would end the sweep
            raise RunFailed(f"{part}: a script ended with exit code {error.code}, see above") from None
        raise


def leave(error: BaseException) -> NoReturn:
    """End the process with the message and exit code of `error`; re-raise an unexpected one, with its traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    match error:
        case SystemExit():
            raise error
        case BrokenPipeError() if _unread():
            raise SystemExit(_UNREAD)
        case KeyboardInterrupt():
            code, message = 130, "interrupted: the same command goes on where it stopped"
        case RefusedInput() | TurnOverError():
            code, message = 2, f"refused: {error}"
        case RunFailed():
            code, message = 3, f"failed: {error}"
        case UnicodeEncodeError(reason="surrogates not allowed"):
            code, message = 2, f"refused: {printable(error.object)}: a name that is no UTF-8; rename it"
        case HydraException() | OmegaConfBaseException():
            code, message = 2, f"refused: {_composition(str(error))}"
        case OSError():
            code, message = 3, f"failed: {_trouble(error)}"
        case RuntimeError() if type(error).__module__.startswith("submitit."):
            code, message = 3, "failed: a job was cancelled or died, see above; the same command goes on"
        case MemoryError() | RuntimeError() if _out_of_memory(error):
            code, message = 3, "failed: not enough memory; a smaller batch_size, network or dataset.limit needs less"
        case YAMLError() | UnicodeDecodeError() if _raised_by_hydra(error):
            code, message = 2, f"refused: a config file cannot be read: {' '.join(str(error).split())}"
        case Exception() if _raised_by_hydra(error):
            code, message = 2, f"refused: {_composition(str(error))}"
        case _:
            raise error
    print(visible(message), file=sys.stderr, flush=True)
    raise SystemExit(code)


def _trouble(error: OSError) -> str:
    """Return what cannot be used, why, and what to do."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = " -> ".join(printable(name if len(name) < _LONG else f"{name[:_LONG]}...") for name in names)
    why = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    advice = next((advice for numbers, advice in _ADVICE.items() if error.errno in numbers), "mend that")
    return f"cannot use {where or 'standard output or a file'}: {why}; {advice}, then the same command goes on"


def _out_of_memory(error: BaseException) -> bool:
    words = ("allocate memory", "out of memory", "bad allocation")  # PyTorch's, on a CPU and on a GPU
    return isinstance(error, MemoryError) or any(each in str(error) for each in words)


def _on_one_line(options: re.Match[str]) -> str:
    return f"; options of {options[1]}: {', '.join(options[2].split())}"


def _raised_by_hydra(error: Exception) -> bool:
    """Return True if composing failed with an error of another library, for example for a group set to a number."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    # not hydra.core.utils, which raises again what a run in another process raised, and there its own trace is lost
    last_is = modules[-1].startswith(("hydra._internal.", "omegaconf.", "antlr4.")) if modules else False
    return last_is or "hydra._internal.config_loader_impl" in modules


def set_up_logging() -> None:
    """Log messages of `turnover` to standard error, above a progress bar if there is one."""
    logger = logging.getLogger("turnover")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(_AboveTheBar(logging.INFO))


class _AboveTheBar(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        tqdm.write(visible(mark + record.getMessage()), file=sys.stderr)


def _composition(message: str) -> str:
    """Return Hydra's message without its advice on search paths, and with the names that are allowed."""
    message = re.sub(r"\n*(Config search path|Set the environment variable).*", "", message, flags=re.DOTALL).strip()
    message = re.sub(r"\n*Available options in '(\S+)':\n((?:\t.*\n?)+)", _on_one_line, message)
    message = re.sub(r"^In '[^']+': Could not find '(\S+)/([^/']+)'", r"\1 = \2: there is no such option", message)
    if chooses := re.match(r"In '(\S+)/([^/']+)': Could not override '(\w+)'", message):
        group, name, other = chooses.groups()
        return f"{group} = {name}: chooses its own {other}, which this command does not allow; choose another {group}"
    if bare := re.match(r"Error parsing override '([^=']*)'\nmissing EQUAL", message):
        return f"{bare[1]}: is no option; one is set by name=value, for example dataset=digits, epochs=3"
    unknown = re.match(r"Could not override '([\w.]+)'", message)
    if unknown:
        name = unknown.group(1)
        value = next((arg.split("=", 1)[1] for arg in sys.argv if arg.lstrip("+").startswith(f"{name}=")), None)
        told = f"{name} = {value}" if value is not None else name
        if name == "experiment":
            return f"{told}: an experiment is added to the config, so write +{name}={value}"
        if name in _known():
            return f"{told}: not a field of the chosen option of {name.split('.')[0]!r}; choose another option of it"
        if name.startswith("hydra."):
            return f"{told}: there is no such field of what was chosen for {'.'.join(name.split('.')[:2])}"
        groups = {each.partition(".")[0] for each in _known() if "." in each}
        return f"{told}: there is no such field; {suggestion(name, [*_known(), *groups])}"
    return message
