"""`precision=auto`: what it decides on which machine, that a run keeps it, and that bfloat16 by name is no surprise."""

import json
import logging
import signal
from contextlib import nullcontext
from typing import Any

import pandas as pd
import pytest
import torch
from digits import changed, digits
from test_signals import signalled
from torch import nn

import turnover
from turnover.common import device
from turnover.common.device import settle
from turnover.common.signals import Stopped
from turnover.config.compose import sweep
from turnover.config.run import RunConfig, identity
from turnover.errors import RunFailed
from turnover.experiments.plots.differences import recorded
from turnover.experiments.plots.notes import notes
from turnover.runs import pipeline
from turnover.runs import timing as estimate
from turnover.runs.build import RunTask, build
from turnover.runs.execute import execute
from turnover.runs.store.run import Run, require

CPU = torch.device("cpu")
WITH, WITHOUT = ("amx_bf16",), ("avx512_f", "avx2")
SMALL = ("dataset.limit=101", "model.hidden=[16]", "batch_size=25", "epochs=4", "precision=auto")
# what they go on from: a checkpoint, halves, blocks of networks, whose sizes differ between precisions
KINDS = {
    "turnover": (),
    "second_split": ("turnover=off", "estimator=second_split"),
    "ensemble": ("turnover=off", "estimator=subsampling", "estimator.models=20"),
}


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    device._warn_slow.cache_clear()


def processor(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    """From here on the CPU has these units."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"} | dict.fromkeys(units, True))


def by_name(precision: str, config: RunConfig) -> RunConfig:
    return changed(config, precision=precision)


# --- the decision ---


@pytest.mark.parametrize(
    ("units", "precision"),
    [
        (("amx_bf16",), "bfloat16"),
        (("avx512_bf16",), "bfloat16"),
        (("avx512_f", "avx512_vnni", "amx_int8"), "float32"),
        (("neon", "bf16"), "float32"),
        ((), "float32"),
    ],
)
def test_auto_is_what_the_processor_has_units_for(
    units: tuple[str, ...], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, *units)
    assert settle("auto", CPU) == precision
    assert settle("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_only_emulates_it_has_no_units(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def current(which: torch.device) -> Any:
        asked.append(which)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert settle("auto", torch.device("cuda:1")) == ("bfloat16" if native else "float32")
    assert asked == [torch.device("cuda:1")], "the device itself, not the current one"


def test_by_name_it_is_taken_and_told_once_where_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    processor(monkeypatch, *WITH)
    assert settle("bfloat16", CPU) == "bfloat16"
    processor(monkeypatch, *WITHOUT)
    assert [settle("float32", CPU), settle("auto", CPU)] == ["float32", "float32"]
    assert not caplog.records
    assert [settle("bfloat16", CPU), settle("bfloat16", CPU)] == ["bfloat16", "bfloat16"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "precision = 'bfloat16': cpu has no units for it" in record.message
    assert "'auto'" in record.message


# --- a run ---


def test_the_settings_leave_it_to_the_machine_and_find_the_runs_made_before() -> None:
    for setting in ("cifar10_vgg11", "cifar10_3000", "fashion_cvt"):
        for scale, precision in {"smoke": "float32", "laptop": "auto", "paper": "float32"}.items():
            [config] = sweep([f"setting={setting}", f"scale={scale}", "logger=none"])
            assert config.precision == precision
            if precision == "auto":
                assert identity(config) == identity(by_name("bfloat16", config))
            assert (identity(config) == identity(by_name("float32", config))) == (precision == "float32")


@pytest.mark.parametrize(("units", "precision"), [(WITH, "bfloat16"), (WITHOUT, "float32")])
def test_a_run_is_that_of_the_precision_by_name_and_says_which(
    units: tuple[str, ...], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, *units)
    config = digits(*SMALL)
    assert estimate.seconds(config) > 0
    told: list[str] = []

    def spy(ours: RunConfig, device: torch.device) -> RunTask:
        told.append(Run(config).manifest["precision"])
        return build(ours, device)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "build", spy)
        folder = execute(config)
    assert told == [precision], "there before anything is trained, in case the run is killed"
    assert Run(config).manifest["precision"] == precision
    tables = ("scores.parquet", "metrics.parquet")
    found = [(folder / name).read_bytes() for name in tables]
    folder.rename(folder.with_name("by-auto"))
    named = execute(by_name(precision, config))
    assert [(named / name).read_bytes() for name in tables] == found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "then"), [(WITH, WITHOUT), (WITHOUT, WITH)])
def test_a_run_ends_in_the_precision_it_began_in(
    kind: str, first: tuple[str, ...], then: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(*SMALL, *KINDS[kind])
    processor(monkeypatch, *first)
    whole = execute(config)
    scores = (whole / "scores.parquet").read_bytes()
    whole.rename(whole.with_name("whole"))
    steps = {"turnover": 7, "second_split": 30, "ensemble": 200}[kind]  # of all: 20, 48, 240
    with signalled(monkeypatch, steps, signal.SIGUSR2), pytest.raises(Stopped):
        execute(config)
    processor(monkeypatch, *then)
    folder = execute(config)
    assert (folder / "scores.parquet").read_bytes() == scores
    assert Run(config).manifest["precision"] == ("bfloat16" if first == WITH else "float32")


def test_a_run_begun_before_there_was_auto_goes_on_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    processor(monkeypatch, *WITH)
    with signalled(monkeypatch, 7, signal.SIGUSR2), pytest.raises(Stopped):
        execute(by_name("bfloat16", config))
    path = Run(config).folder / "manifest.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "precision"}))
    processor(monkeypatch, *WITHOUT)
    execute(config)
    assert Run(config).manifest["precision"] == "bfloat16"


def test_bfloat16_by_name_is_not_what_auto_made_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits(*SMALL)
    named = by_name("bfloat16", config)
    processor(monkeypatch, *WITHOUT)
    with signalled(monkeypatch, 7, signal.SIGUSR2), pytest.raises(Stopped):
        execute(config)
    begun = (Run(config).folder / "config.yaml").read_bytes()
    for _ in ("stopped", "finished"):
        with pytest.raises(RunFailed, match=r"precision = 'bfloat16': run .* begun with precision=auto.*float32"):
            execute(named)
        assert (Run(config).folder / "config.yaml").read_bytes() == begun
        execute(config)
    with pytest.raises(RunFailed, match="precision = 'bfloat16'"):
        require(Run(named), "the same command")


def told(configs: list[RunConfig]) -> dict[str, Any]:
    """The settings that a figure of these runs tells."""
    return notes(configs, recorded(configs), "paper").settings


def test_a_figure_tells_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, *WITHOUT)
    config = digits(*SMALL)
    execute(config)
    assert told([config])["precision"] == "float32"
    processor(monkeypatch, *WITH)
    other = digits(*SMALL, "seed=1")
    execute(other)
    assert told([other])["precision"] == "bfloat16"
    assert "precision" not in told([config, other]), "they do not share it"


# --- own data ---


def scored(precision: Any, estimator: str) -> pd.DataFrame:
    x, y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    options: dict[str, Any] = {"batch_size": 10, "seeds": 1, "device": "cpu", "progress": False, "estimator": estimator}
    if estimator == "subsampling":
        options["options"] = {"models": 20}
    return turnover.memorization(
        lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)),
        *(x, y, 3, 0.1),
        **options,
        precision=precision,
    )


@pytest.mark.parametrize("estimator", ["turnover", "aum", "subsampling"])
@pytest.mark.parametrize(("units", "precision"), [(WITH, "bfloat16"), (WITHOUT, "float32")])
def test_scores_of_own_data(
    units: tuple[str, ...], precision: str, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, *units)
    named, auto = scored(precision, estimator), scored("auto", estimator)
    pd.testing.assert_frame_equal(auto, named, check_exact=True)
    assert auto.equals(scored("float32", estimator)) == (precision == "float32")
    assert auto.attrs.pop("precision") == precision
    assert auto.attrs == named.attrs
