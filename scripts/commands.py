"""Commands of the repository that the benchmark times from their start to their end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from turnover.common.files import checkout

REFUSED = 2  # the exit code of input that is not allowed


def commands(folder: Path) -> dict[str, Callable[[], object]]:
    """Return help, a refused value, and a figure whose runs are finished: made first, at smoke scale, in `folder`."""
    sweep = ("train.py", "-m", "+experiment=fig2_control", "scale=smoke", "hydra/launcher=basic", "logger=none")
    picture = ("figure.py", "figure=fig2", "scale=smoke")

    def run(*command: str, code: int = 0) -> None:
        script, *given = command
        done = subprocess.run(
            [sys.executable, str(checkout() / "scripts" / script), *given],
            env=os.environ | {"TURNOVER_OUTPUTS": str(folder)},
            capture_output=True,
            text=True,
        )
        if done.returncode != code:
            raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr}")

    run(*sweep)
    run(*picture)

    def python(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True)

    return {
        "train --help": lambda: run("train.py", "--help"),
        "a refused value": lambda: run("train.py", "epochs=-1", code=REFUSED),
        "fig2, its 12 runs finished": lambda: run(*picture),  # as `make fig2` does then
        "import torch": lambda: python("import torch"),
        "import turnover": lambda: python("import turnover; turnover.memorization"),
    }
