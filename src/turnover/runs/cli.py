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
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from traceback import walk_tb
from typing import Any, NoReturn

from turnover.common.files import outputs_root
from turnover.common.text import suggestion
from turnover.config.parse import fields
from turnover.errors import RefusedInput, RunFailed, TurnOverError

_UNREAD = 141  # what a shell reports of a command that a closed pipe has ended
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

at_end = ExitStack()  # called when the entry point ends, however it ends
_known: Callable[[], list[str]] = fields  # the dotted fields of the entry point that runs


def enter(main: Callable[[], Any], known: Callable[[], list[str]] = fields, paths: tuple[str, ...] = ()) -> NoReturn:
    """Run an entry point and end the process with the right exit code and, if it failed, one readable message.

    `known` lists the fields of its config, to suggest one for a misspelt one; those of `paths` are taken from the
    command line as they are, whatever Hydra would make of their characters.
    """
    import turnover.config.compose  # noqa: F401 (resolvers and aliases of conf/)

    global _known
    _known = known
    os.environ["TURNOVER_OUTPUTS"] = str(outputs_root().resolve())  # wherever the command was given
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    sys.argv[1:] = [_as_is(argument, paths) for argument in sys.argv[1:]]
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does with what it cannot encode
    set_up_logging()
    try:
        with at_end:
            main()
    except KeyboardInterrupt as error:
        leave(error)
    except Exception as error:
        if not (isinstance(error, BrokenPipeError) and _unread()):
            leave(error)
        sys.exit(_UNREAD)
    sys.exit(_UNREAD if _unread() else 0)


def _as_is(argument: str, paths: tuple[str, ...]) -> str:
    """Return an argument NAME=PATH with its path in quotes for Hydra, unless it is in quotes already, or null."""
    name, equals, path = argument.partition("=")
    if name not in paths or not equals or re.fullmatch(r"""(["']).*\1|null""", path):
        return argument
    from turnover.config.compose import quoted

    return f"{name}={quoted(path)}"


def _unread() -> bool:
    """Return True if standard output is a closed pipe, as after `... | head`; not an error."""
    poll = select.poll()
    poll.register(1, 0)  # standard output, which need not be open
    if gone := any(event & select.POLLERR for _, event in poll.poll(0)):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (or Python complains when it ends)
    return gone


@contextmanager
def one_message() -> Iterator[None]:
    """End the process at an error of a single run of a Hydra job; in a sweep the other runs go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    set_up_logging()  # a job of a sweep may be in another process
    try:
        yield
    except Exception as error:
        if HydraConfig.get().mode == RunMode.RUN:
            leave(error)
        raise


def leave(error: BaseException) -> NoReturn:
    """End the process with the message and exit code of `error`; re-raise an unexpected one, with its traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    match error:
        case KeyboardInterrupt():
            code, message = 130, "interrupted: the same command goes on where it stopped"
        case RefusedInput() | TurnOverError():
            code, message = 2, f"refused: {error}"
        case RunFailed():
            code, message = 3, f"failed: {error}"
        case HydraException() | OmegaConfBaseException():
            code, message = 2, f"refused: {_composition(str(error))}"
        case RuntimeError() if type(error).__module__.startswith("submitit."):
            code, message = 3, "failed: a job was cancelled or died, see above; the same command goes on"
        case MemoryError() | RuntimeError() if _out_of_memory(error):
            code, message = 3, "failed: not enough memory; a smaller batch_size, network or dataset.limit needs less"
        case OSError(errno=number) if number in _NO_ROOM:
            where = f" {error.filename}" if error.filename else ""
            told = f"cannot write{where}: {os.strerror(number)}"
            code, message = 3, f"failed: {told}; make room or set TURNOVER_OUTPUTS, the same command goes on"
        case YAMLError() | UnicodeDecodeError() if _raised_by_hydra(error):
            code, message = 2, f"refused: a config file cannot be read: {' '.join(str(error).split())}"
        case Exception() if _raised_by_hydra(error):
            code, message = 2, f"refused: {_composition(str(error))}"
        case _:
            raise error
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


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
        tqdm.write(mark + record.getMessage(), file=sys.stderr)


def _composition(message: str) -> str:
    """Return Hydra's message without its advice on search paths, and with the names that are allowed."""
    message = re.sub(r"\n*(Config search path|Set the environment variable).*", "", message, flags=re.DOTALL).strip()
    message = re.sub(r"\n*Available options in '(\S+)':\n((?:\t.*\n?)+)", _on_one_line, message)
    message = re.sub(r"^In '[^']+': Could not find '(\S+)/([^/']+)'", r"\1 = \2: there is no such option", message)
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
