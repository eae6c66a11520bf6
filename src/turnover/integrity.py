"""Checksums of a run's files: whether what is read is what was written.

`checksums.txt` has the form that `sha256sum -c` reads. While a run is worked on it knows its checkpoints; when the run
is finished, all its files. Runs that were made before there were checksums have none and are believed.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

NAME = "checksums.txt"


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table(rows: Iterable[tuple[str, str]]) -> str:
    """The text of checksums.txt from pairs of name and checksum."""
    return "".join(f"{digest}  {name}\n" for name, digest in rows)


def known(folder: Path) -> list[tuple[str, str]]:
    """Pairs of name and checksum that checksums.txt holds; lines that make no sense are left out."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.split("  ", 1) for line in lines)
    return [(pair[1], pair[0]) for pair in pairs if len(pair) == 2 and len(pair[0]) == 64]


def files(folder: Path) -> Iterator[Path]:
    """The files of a run that have checksums: all but its log, its lock, what says that it is done and scratch."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in ("log.txt", "DONE", NAME, "scratch", "wandb"):
            yield path


def damaged(folder: Path, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Names of the files of a finished run that are missing or do not have their checksum.

    Args:
        besides: files that are not looked at, because they are large and not needed.
    """
    wrong = []
    for name, digest in known(folder):
        path = folder / name
        if name not in besides and (not path.is_file() or sha256(path) != digest):
            wrong.append(name)
    return wrong
