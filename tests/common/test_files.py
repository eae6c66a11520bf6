"""Files that are all or nothing."""

import os
from pathlib import Path

import pytest

from turnover.common.files import write_text


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file.txt", []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_ino, path.exists())))
    write_text(path, "text")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
