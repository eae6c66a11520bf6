"""Package clients (npm, apt-get, dpkg-deb), each as its user has configured it."""

import logging
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from turnover.common.signals import stop_if_asked
from turnover.data.archives import read, refuse_large
from turnover.errors import RunFailed

log = logging.getLogger("turnover")

CLIENT_LIMIT = 1800.0  # seconds for one command
HEARTBEAT = 5.0  # seconds between two signs of life
_LOOK = 0.1  # seconds between two looks at a running client


def run_client(command: Sequence[str], folder: Path, hint: str) -> bytes:
    """Standard output of a package client run in `folder`, with a line every few seconds.

    RunFailed, with `hint`, if the program is not installed, and with the end of its messages if it fails; or if it
    says more than an archive may have.
    """
    if shutil.which(command[0]) is None:
        raise RunFailed(f"the program {command[0]} is not installed; {hint}")
    log.info("  running: %s", shlex.join(command))
    started, told = time.monotonic(), 0
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
                seconds = time.monotonic() - started
                if seconds > CLIENT_LIMIT:
                    raise RunFailed(f"{command[0]} did not finish within {CLIENT_LIMIT:.0f} s")
                refuse_large(folder / "stdout")
                stop_if_asked()
                if seconds // HEARTBEAT > told:
                    told += 1
                    log.info("  %s is still running (%.0f s)", command[0], seconds)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        message = " ".join((folder / "stderr").read_text(errors="replace").split())[-400:]
        raise RunFailed(f"{command[0]} ended with code {process.returncode}: {message}; {hint}")
    return read(folder / "stdout")
