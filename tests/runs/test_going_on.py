"""What a stopped run goes on from: damaged files are noticed and made again, or named where they cannot be."""

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_checksums import flip
from test_signals import config_of, signalled

from turnover.common.files import keep, kept
from turnover.common.signals import Stopped
from turnover.errors import RunFailed
from turnover.runs.execute import execute
from turnover.runs.store import housekeeping
from turnover.runs.store.run import SCRATCH, Run


@given(place=st.floats(0, 1), bit=st.integers(0, 7), size=st.integers(0, 50))
def test_what_is_read_is_what_was_written_or_nothing(
    place: float, bit: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("scratch") / "some.npz"
    arrays = {"floats": torch.arange(float(size)).sin(), "hits": torch.arange(size) % 3 == 0, "count": torch.tensor(7)}
    keep(path, **arrays)
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)
    found = kept(path)
    assert found is None or (
        found.keys() == arrays.keys()
        and all(found[name].dtype == array.dtype and torch.equal(found[name], array) for name, array in arrays.items())
    )


def test_nothing_is_there_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert kept(tmp_path / "none.npz") is None
    assert not caplog.records


@pytest.mark.parametrize("kind", ["ensemble", "second_split"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.7])
def test_a_damaged_block_is_made_again(
    kind: str, place: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(kind)
    whole = execute(config)
    steps = {"ensemble": 18 * 12, "second_split": 21}[kind]  # 16 of 20 networks, or a half, are done
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "stopped"))
    run = Run(config)
    with signalled(monkeypatch, steps, signal.SIGTERM), pytest.raises(Stopped, match="SIGTERM"):
        execute(config)
    block = sorted((run.folder / SCRATCH).glob("*.npz"))[0]
    flip(block, place)
    execute(config)
    assert f"{block} is damaged" in (run.folder / "log.txt").read_text()
    assert (run.folder / "scores.parquet").read_bytes() == (whole / "scores.parquet").read_bytes()


@pytest.mark.parametrize("name", ["epoch-00001.npz", "variances-00002.npz"])
def test_what_was_seen_of_an_epoch_cannot_be_made_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("one_run")
    run = Run(config)
    with signalled(monkeypatch, 12, signal.SIGTERM), pytest.raises(Stopped):
        execute(config)
    flip(run.folder / SCRATCH / name)
    told = f"{name} is missing or damaged.*scripts/runs.py gc {run.name} --failed --yes"
    with pytest.raises(RunFailed, match=told):
        execute(config)
    [found] = housekeeping.runs()
    assert found.state == "failed"
    assert housekeeping.remove(found)
    assert (execute(config) / "DONE").exists()
