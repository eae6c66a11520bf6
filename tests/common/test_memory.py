"""Free memory, on a machine and inside of a container."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from turnover.common import memory


def test_no_more_is_free_than_there_is() -> None:
    assert 0 < memory.available() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("limit", "expected"), [("1000000", 700_000), ("max", None), ("300000", 0)])
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_anon 7\ninactive_file 100000\n")
    monkeypatch.setattr(memory, "_groups", lambda: [tmp_path / "none", tmp_path])
    free = memory.available()
    assert free == expected if expected is not None else free > 1_000_000


FAULTS = """
import resource, torch
from turnover.common.memory import keep_freed
{}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(12_000_000) + torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def test_memory_that_is_kept_costs_no_faults() -> None:
    given, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS.format(call)], capture_output=True, check=True).stdout)
        for call in ("", "keep_freed()")
    )
    assert kept < given / 10
