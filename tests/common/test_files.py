"""Files that are all or nothing."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from turnover.common.files import naming, write_text


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file.txt", []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_ino, path.exists())))
    write_text(path, "text")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("times", [1, 100])
def test_what_pytorch_cannot_write_says_why_and_where(times: int, tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        left = times

        def write(self, content: Any) -> int:
            if self.left:
                self.left -= 1
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return super().write(content)

    with pytest.raises(OSError, match=r"Disk quota exceeded: '.*table'"), naming(tmp_path / "table"):
        torch.save({"weights": torch.zeros(10_000)}, Failing())


def test_another_error_is_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no file"), naming(tmp_path):
        raise RuntimeError("no file")
