"""Checksums of a run's files: whether what is read is what was written.

`checksums.txt` has the form that `sha256sum -c` reads. While a run is worked on it knows its checkpoints; when the run
is finished, all its files; DONE then knows it. Runs that were made before there were checksums have none and are
believed, as is a checksums.txt that was written before DONE knew it, as far as every line of it makes sense.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

NAME = "checksums.txt"
DONE = "DONE"  # its first line is the run's identity, its second, if it has one, the checksum of checksums.txt


_DONE = re.compile(rb"([0-9a-f]{10})\n(?:([0-9a-f]{64})  checksums\.txt\n)?")
_ROW = re.compile(r"([0-9a-f]{64})  (\S.*)")


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows(folder: Path, paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Pairs of name, below the folder, and checksum of some files."""
    return [(path.relative_to(folder).as_posix(), sha256(path)) for path in paths]


def table(rows: Iterable[tuple[str, str]]) -> str:
    """The text of checksums.txt from pairs of name and checksum."""
    return "".join(f"{digest}  {name}\n" for name, digest in rows)


def known(folder: Path) -> list[tuple[str, str]]:
    """Pairs of name and checksum that checksums.txt holds; lines that make no sense are left out."""
    return [row for row in _rows(folder / NAME) if row is not None]


def _rows(path: Path) -> list[tuple[str, str] | None]:
    """Pairs of name and checksum, None for a line that makes no sense; empty if there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = [_ROW.fullmatch(line) for line in lines]
    return [(row[2], row[1]) if row else None for row in found]


def files(folder: Path) -> Iterator[Path]:
    """The files of a run that have checksums: all but its log, its lock, what says that it is done and scratch."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in ("log.txt", DONE, NAME, "scratch", "wandb"):
            yield path


def damaged(folder: Path, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Names of the files of a finished run that are missing or do not have their checksum.

    Args:
        besides: files that are not looked at, because they are large and not needed.
    """
    wanted = [(name, digest) for name, digest in known(folder) if name not in besides]
    return _damaged_itself(folder) + differing(folder, wanted)


def _damaged_itself(folder: Path) -> list[str]:
    """Of DONE and checksums.txt those that are not what was written."""
    try:
        found = _DONE.fullmatch((folder / DONE).read_bytes())
    except OSError:
        found = None
    if found is None or not folder.name.endswith(f"-{found[1].decode()}"):
        return [DONE]
    if found[2] is None:  # made before DONE knew checksums.txt
        return [NAME] if None in _rows(folder / NAME) else []
    return differing(folder, [(NAME, found[2].decode())])


def differing(folder: Path, rows: Iterable[tuple[str, str]]) -> list[str]:
    """Those names of files of a folder that are missing or do not have the checksum they are given with."""
    return [name for name, digest in rows if not (folder / name).is_file() or sha256(folder / name) != digest]
