"""Checksums of a run's files, which reveal damaged ones.

`checksums.txt` has the form that `sha256sum -c` reads. While a run is worked on it lists its checkpoints; when the run
is finished, all its files, and DONE has the checksum of checksums.txt itself: a DONE that lacks it is damaged.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from turnover.common.files import read_small

NAME = "checksums.txt"
DONE = "DONE"  # its first line is the run's identity, its second the checksum of checksums.txt


_DONE = re.compile(r"([0-9a-f]{10})\n([0-9a-f]{64})  checksums\.txt\n")
_ROW = re.compile(r"([0-9a-f]{64})  (\S.*)")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows(folder: Path, paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Return pairs of name, relative to the folder, and checksum of some files."""
    return [(path.relative_to(folder).as_posix(), sha256(path)) for path in paths]


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Return the text of checksums.txt from pairs of name and checksum."""
    return "".join(f"{digest}  {name}\n" for name, digest in rows)


def known(folder: Path) -> list[tuple[str, str]]:
    """Return the pairs of name and checksum in checksums.txt, without lines that cannot be parsed; empty without it."""
    try:
        lines = read_small(folder / NAME).splitlines()
    except (OSError, ValueError):
        return []
    return [(row[2], row[1]) for row in map(_ROW.fullmatch, lines) if row]


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of a run that have checksums: all but log, lock, DONE, checksums.txt, scratch and wandb."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(name.startswith(".") for name in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in ("log.txt", DONE, NAME, "scratch", "wandb"):
            yield path


def damaged(folder: Path, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Return names of the files of a finished run that are missing or do not have their checksum.

    Args:
        besides: files that are not verified, because they are large and not needed.
    """
    expected = [(name, digest) for name, digest in known(folder) if name not in besides]
    return _damaged_itself(folder) + differing(folder, expected)


def _damaged_itself(folder: Path) -> list[str]:
    """Return those of DONE and checksums.txt that are damaged."""
    try:
        match = _DONE.fullmatch(read_small(folder / DONE))
    except (OSError, ValueError):
        match = None
    if match is None or not folder.name.endswith(f"-{match[1]}"):
        return [DONE]
    return differing(folder, [(NAME, match[2])])


def differing(folder: Path, rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return names of files of a folder that are missing or do not have the given checksum."""
    return [name for name, digest in rows if not (folder / name).is_file() or sha256(folder / name) != digest]
