"""Let system calls fail in every command, or kill it there, and show that nothing is lost: part of make stress.

A table of errors (quota, disk error, no locks, ...), calls (write, rename, link, flock, fsync) and commands (train,
score, figure, audit, report, fetch, gc), at a random moment, once or from then on. A command must end well, or with
exit code 3 and one message that names a path; the same command, given again, must end with the same files, byte by
byte, as if nothing had been. Needs Linux and a C compiler.
"""

import argparse
import ctypes
import errno
import hashlib
import json
import os
import random
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

SMALL = "dataset=digits scale=smoke logger=none device=cpu dataset.limit=60 model.hidden=[8] epochs=3"
COMMANDS = {
    "train": f"train.py {SMALL}",
    "score": f"score.py {SMALL} estimator.epochs=[1,3]",
    "figure": "figure.py figure=fig1 scale=smoke logger=none launcher=null",
    "audit": "audit.py data=images.npz epochs=1 k=3 model.width=2 device=cpu",
    "report": "report.py scale=smoke examples=[]",
    "fetch": "data.py --dataset mnist",
    "gc": "runs.py gc --failed --yes",
}
PREPARED = {  # commands whose results must be there before
    "report": [COMMANDS["figure"]],
    "gc": [COMMANDS["train"], f"{COMMANDS['train']} optimizer.lr=1e30"],
}
CALLS = ("write", "rename", "link", "flock", "fsync")  # as in faults.c
ERRORS = ("EDQUOT", "EIO", "EFBIG", "ENOSPC", "ENOLCK", "ESTALE", "EBUSY", "EINVAL", "killed")
MODULES = (  # of the commands, and what PyTorch imports for the first optimizer
    *("turnover.runs.pipeline", "turnover.audit.work", "turnover.experiments.figures.make"),
    *("turnover.experiments.report.make", "sklearn.datasets", "matplotlib.pyplot", "torch._dynamo"),
)
KEPT = (".parquet", ".npz", ".csv", ".png", ".yaml", "")  # files that are compared; data have no ending
DONE, FAILED, KILLED = 0, 3, -9

Files = set[tuple[str, str]]  # name and SHA-256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, help="so many of the table, evenly of all commands; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    if "FAULTS_LIBRARY" not in os.environ:
        library = folder / "faults.so"
        source = Path(__file__).with_name("faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        os.environ |= {"FAULTS_LIBRARY": str(library), "LD_PRELOAD": str(library)}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    preload()
    calls, expected = undisturbed(folder)
    outcomes, wrong = Counter[str](), []
    for name, error, call, at, on in table(calls, given.cases, random.Random(given.seed)):
        moment = {"FAULT_CALL": call, "FAULT_AT": str(at), "FAULT_ERRNO": str(getattr(errno, error, 0))}
        outcome = tried(folder, name, moment | ({"FAULT_ON": "1"} if on else {}), expected[name])
        outcomes["killed" if outcome == "killed" else "right"] += outcome in ("done", "failed", "killed")
        if outcome not in ("done", "failed", "killed"):
            wrong.append(f"{name}: {error} of {call} {at}{' and all after it' if on else ''}: {outcome}")
            print(wrong[-1], flush=True)
    shutil.rmtree(folder)
    shutil.rmtree(Path(os.environ["FAULTS_LIBRARY"]).parent)
    kinds = f"{outcomes['right']} faults and {outcomes['killed']} kills in {len(COMMANDS)} commands"
    print(f"seed {given.seed}: {kinds} ended as they must, {len(wrong)} did not")
    return int(bool(wrong))


def preload() -> None:
    """Import what the commands import, once; a report has small pictures, as good ones take seconds to encode."""
    for name in MODULES:
        import_module(name)
    from turnover.experiments.report import explorer, make, sections

    for module in (make, sections):
        patch.object(module, "figure", explorer.small).start()


def undisturbed(folder: Path) -> tuple[dict[str, list[int]], dict[str, Files]]:
    """Do every command once; return how often it makes each call, and the files that it ends with."""
    import numpy as np

    images = np.random.default_rng(0).integers(256, size=(40, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images, y=np.arange(40) % 2)
    calls, expected = {}, {}
    for name, command in COMMANDS.items():
        (folder / f"{name}-before").mkdir()
        for first in PREPARED.get(name, []):
            run(folder / f"{name}-before", first, {})
        store = shutil.copytree(folder / f"{name}-before", folder / name)
        code, error, calls[name] = run(store, command, {})
        if code != DONE:
            raise SystemExit(f"{name} fails undisturbed:\n{error}")
        expected[name] = files(store)
    return calls, expected


def table(
    calls: dict[str, list[int]], cases: int | None, dice: random.Random
) -> Iterator[tuple[str, str, str, int, bool]]:
    """Yield command, error, call, which of these calls fails, and whether all after it do too."""
    of_command = {name: [(error, call) for call in CALLS for error in ERRORS] for name in calls}
    for name, faults in of_command.items():
        of_command[name] = [each for each in faults if calls[name][CALLS.index(each[1])]]
        dice.shuffle(of_command[name])
    most = max(map(len, of_command.values())) if cases is None else cases
    every = [(name, *faults[turn]) for turn in range(most) for name, faults in of_command.items() if turn < len(faults)]
    for name, error, call in every[:cases]:
        yield name, error, call, dice.randrange(calls[name][CALLS.index(call)]), dice.random() < 0.5


def tried(folder: Path, name: str, moment: dict[str, str], expected: Files) -> str:
    """Return how a disturbed command ends: done, failed or killed, else what is wrong."""
    store = shutil.copytree(folder / f"{name}-before", folder / "tried")
    try:
        code, error, _ = run(store, COMMANDS[name], moment)
        if "Traceback" in error or code not in (DONE, FAILED, KILLED):
            return f"exit code {code}:\n{error}"
        if code == FAILED and not re.search(f"^failed: .*{re.escape(str(folder))}", error, re.MULTILINE | re.DOTALL):
            return f"no message of a path: {error}"
        again, told, _ = run(store, COMMANDS[name], {})
        if again != DONE:
            return f"then it fails undisturbed: {told}"
        if (found := files(store)) != expected:
            return f"other files: {sorted(name for name, _ in found ^ expected)}"
        return {DONE: "done", FAILED: "failed", KILLED: "killed"}[code]
    finally:
        shutil.rmtree(store)


def files(store: Path) -> Files:
    """Return the files that must be the same, whatever the folder of an audit."""
    paths = [path for path in store.rglob("*") if path.is_file() and path.suffix in KEPT]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(store).parts)]
    return {(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in shown if path.name != "DONE"}


def run(store: Path, command: str, moment: dict[str, str]) -> tuple[int, str, list[int]]:
    """Do a command in a fork; return its exit code, what it prints as errors, and how often it makes each call."""
    error, counted = store.parent / "error.txt", store.parent / "calls.json"
    if process := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return code, error.read_text("utf-8", "replace"), json.loads(counted.read_text()) if code == DONE else []
    code = 1
    try:
        script, *arguments = shlex.split(command)
        sys.argv = [str(Path(__file__).with_name(script)), *arguments]
        os.chdir(store.parent)
        os.dup2(os.open(error, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.environ |= {"TURNOVER_OUTPUTS": str(store), "TURNOVER_DATA": str(store), "WANDB_MODE": "offline"}
        offered()
        os.environ |= {"FAULT_BELOW": f"{store}/", **moment}
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        library = ctypes.CDLL(os.environ["FAULTS_LIBRARY"])
        counted.write_text(json.dumps([library.fault_calls(kind) for kind in range(len(CALLS))]))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def offered() -> None:
    """Let two small files, which are always there to be fetched, stand for MNIST."""
    from turnover.data import sources

    contents = {"images": bytes(range(256)) * 40, "labels": bytes(40)}
    expected = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents.items()}
    source = sources.Source("memory", lambda root, scratch: contents)
    sources.COLLECTIONS["mnist"] = sources.Collection("mnist", "MNIST", "mnist", expected, (source,))


if __name__ == "__main__":
    sys.exit(main())
