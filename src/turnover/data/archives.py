"""Reading of untrusted archives in memory, within limits on size; nothing is unpacked on disk."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from turnover.errors import RunFailed

Files = dict[str, bytes]  # content of each canonical file, by its name

MEMBER_LIMIT = 64 * 2**20  # bytes; the largest file in any archive read here has 47 million
ARCHIVE_LIMIT = 512 * 2**20  # bytes of a whole archive, packed or not; the largest one has 140 million


def read_members(archive: bytes, names: dict[str, str]) -> Files:
    """Return the contents of the members of a tar archive, perhaps gzipped, that `names` maps to new names.

    Nothing is unpacked on disk. RunFailed if any member points outside the archive or is too large, or if one of
    `names` is not a plain file.
    """
    files: Files = {}
    with tarfile.open(fileobj=_Bounded(archive), mode="r:") as tar:
        for member in tar:
            path = _inside(member.name, member.size)
            if str(path) not in names:
                continue
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                raise RunFailed(f"archive refused: its member {member.name!r} is not a plain file")
            files[names[str(path)]] = content.read()
    return files


def read_folder(archive: bytes, folder: str) -> Files:
    """Return the contents of the files of one folder of a zip archive, such as a wheel, by their names, in their order.

    Nothing is unpacked on disk. RunFailed if any member points outside the archive or is too large, or all of them are.
    """
    files: Files = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
        members = {_inside(member.filename, member.file_size): member for member in unpacked.infolist()}
        if sum(member.file_size for member in members.values()) > ARCHIVE_LIMIT:
            raise RunFailed(f"archive refused: it has more than {ARCHIVE_LIMIT:,} bytes")
        for path in sorted(members):
            if str(path.parent) == folder and not members[path].is_dir():
                with unpacked.open(members[path]) as file:
                    files[path.name] = file.read(members[path].file_size)
    return files


def _inside(name: str, size: int) -> PurePosixPath:
    """Return the path of a member; RunFailed if it points outside the archive, or is too large."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RunFailed(f"archive refused: its member {name!r} points outside it")
    if size > MEMBER_LIMIT:
        raise RunFailed(f"archive refused: its member {name!r} has {size:,} bytes")
    return path


def gunzip(content: bytes) -> bytes:
    """Return the unpacked content of one file."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return file.read(MEMBER_LIMIT)  # a longer one is cut, and then its checksum is wrong


def read(path: Path) -> bytes:
    """Return the content of a file, RunFailed if it is larger than an archive may be."""
    refuse_large(path)
    return path.read_bytes()


def refuse_large(path: Path) -> None:
    """Raise RunFailed if a file is larger than an archive may be."""
    if path.stat().st_size > ARCHIVE_LIMIT:
        raise RunFailed(f"{path.name} refused: it has more than {ARCHIVE_LIMIT:,} bytes")


class _Bounded(io.BufferedIOBase):
    """An archive, unpacked as it is read: RunFailed if all of it or one member is larger than is allowed.

    A header may ask for as many bytes as it likes, and a small archive may unpack to any size.
    """

    def __init__(self, archive: bytes) -> None:
        content = io.BytesIO(archive)
        self._file = gzip.GzipFile(fileobj=content) if archive.startswith(b"\x1f\x8b") else content

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MEMBER_LIMIT + tarfile.BLOCKSIZE:  # parts fill whole blocks
            raise RunFailed(f"archive refused: a part of it has more than {MEMBER_LIMIT:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset > ARCHIVE_LIMIT:
            raise RunFailed(f"archive refused: it has more than {ARCHIVE_LIMIT:,} bytes")
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()
