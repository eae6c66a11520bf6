"""What the entry points share: readable errors and exit codes.

0 done, 2 refused input, 3 failed run, 130 interrupted.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from turnover.errors import RefusedInput, RunFailed, TurnOverError
from turnover.refusals import fields, suggestion
from turnover.store import outputs_root

_known: Callable[[], list[str]] = fields  # the dotted fields of the entry point that runs


def enter(main: Callable[[], Any], known: Callable[[], list[str]] = fields) -> NoReturn:
    """Run an entry point and end the process with the right exit code and, if it failed, one readable message.

    `known` lists the fields of its config, to suggest one for a misspelt one.
    """
    global _known
    _known = known
    os.environ["TURNOVER_OUTPUTS"] = str(outputs_root().resolve())  # wherever the command was given
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    set_up_logging()
    try:
        main()
    except KeyboardInterrupt as error:
        leave(error)
    except Exception as error:
        leave(error)
    sys.exit(0)


@contextmanager
def one_message() -> Iterator[None]:
    """Inside a Hydra job: an error of a single run ends the process at once; in a sweep the other runs go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    try:
        yield
    except Exception as error:
        if HydraConfig.get().mode == RunMode.RUN:
            leave(error)
        raise


def leave(error: BaseException) -> NoReturn:
    """End the process because of `error`; re-raises what nobody foresaw, with its traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    match error:
        case KeyboardInterrupt():
            code, message = 130, "interrupted: the same command goes on where it stopped"
        case RefusedInput() | TurnOverError():
            code, message = 2, f"refused: {error}"
        case HydraException() | OmegaConfBaseException():
            code, message = 2, f"refused: {_composition(str(error))}"
        case RunFailed():
            code, message = 3, f"failed: {error}"
        case _:
            raise error
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


def set_up_logging() -> None:
    """Messages of `turnover` on standard error, above a progress bar if there is one."""
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
    """Hydra's message without its advice on search paths, and with the names that are allowed."""
    message = re.sub(r"\n*(Config search path|Set the environment variable).*", "", message, flags=re.DOTALL).strip()
    unknown = re.match(r"Could not override '([\w.]+)'", message)
    if unknown:
        name = unknown.group(1)
        value = next((arg.split("=", 1)[1] for arg in sys.argv if arg.lstrip("+").startswith(f"{name}=")), None)
        told = f"{name} = {value}" if value is not None else name
        if name == "experiment":
            return f"{told}: an experiment is added to the config, so write +{name}={value}"
        if name in _known():
            return f"{told}: not a field of the chosen option of {name.split('.')[0]!r}; choose another option of it"
        return f"{told}: there is no such field; {suggestion(name, _known())}"
    return message
