"""Listing of folders of images, a subfolder for each class, and of what else is in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from turnover.audit.images import FORMATS
from turnover.audit.labelled import LeftOut
from turnover.errors import RefusedInput

_MACOS = "__MACOSX"  # what a Mac adds to archives: a file ._x for every x


class File(NamedTuple):
    """An image file that is yet to be read."""

    path: Path
    label: str
    name: str  # for the results
    group: str = ""  # of those that are held out together; empty: of its own


class Listing(NamedTuple):
    """Image files of a data set, those of every class together or not, and what is left out."""

    files: list[File]
    left_out: list[LeftOut]
    classes: list[str]  # sorted; of some there may be no files


def list_folder(folder: Path) -> Listing:
    """List the images of every subfolder, sorted; links are followed, no file or folder is taken twice for a class.

    Raises:
        RefusedInput: there are no images, or a subfolder has folders of its own.
    """
    root = folder.resolve()
    files: list[File] = []
    left_out: list[LeftOut] = []
    classes: dict[Path, str] = {}  # by the folder that a link leads to
    for path in sorted(_entries(folder, folder, left_out), key=lambda path: (path.is_symlink(), path.name)):
        target = path.resolve() if path.exists() else path
        if not path.is_dir():
            left_out.append(LeftOut(path.name, "dead link" if not path.exists() else "in no class folder"))
        elif root.is_relative_to(target):
            left_out.append(LeftOut(path.name, "link to a folder around it"))
        elif target in classes:
            left_out.append(LeftOut(path.name, f"link to the same folder: {classes[target]}"))
        else:
            classes[target] = path.name
            images = list(_class(path, folder, left_out))
            if not images:
                left_out.append(LeftOut(path.name, "class folder without images"))
            files += images
    if not files:
        reasons = f"; left out: {left_out[0].path} ({left_out[0].why})" if left_out else ""
        raise RefusedInput(
            f"data = {folder}: has no images; put those of each class into a subfolder named like the class, "
            f"as {', '.join(FORMATS)}{reasons}"
        )
    return Listing(sorted(files, key=lambda file: file.path), sorted(left_out), sorted(classes.values()))


def _class(kind: Path, folder: Path, left_out: list[LeftOut]) -> Iterator[File]:
    root, real = folder.resolve(), kind.resolve()
    seen: dict[Path, str] = {}
    entries = sorted(_entries(kind, folder, left_out), key=lambda path: (path.is_symlink(), path.name))
    for path in entries:
        name = path.relative_to(folder).as_posix()
        target = path.resolve() if path.is_symlink() and path.exists() else real / path.name
        if path.is_dir() and root.is_relative_to(target):
            left_out.append(LeftOut(name, "link to a folder around it"))
        elif path.is_dir():
            raise RefusedInput(
                f"data = {folder}: {name} is a folder within a class; put the images themselves into one folder for "
                f"each class, or, if this one holds the classes, give data={folder / kind.name}"
            )
        elif path.suffix.lower() not in FORMATS:
            left_out.append(LeftOut(name, f"of another kind: {path.suffix.lower() or 'no suffix'}"))
        elif target in seen:
            left_out.append(LeftOut(name, f"link to the same file: {seen[target]}"))
        else:
            seen[target] = name
            yield File(path, kind.name, name)


def _entries(path: Path, folder: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    """Yield what is in a folder, but for hidden files and folders and those of macOS."""
    try:
        entries = list(path.iterdir())
    except OSError as error:
        if path == folder:
            raise RefusedInput(f"data = {folder}: cannot be read: {error.strerror}") from None
        left_out.append(LeftOut(path.relative_to(folder).as_posix(), f"not readable: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == _MACOS:
            left_out.append(LeftOut(entry.relative_to(folder).as_posix(), "hidden, or of macOS"))
        else:
            yield entry
