"""Shared by all tests: one thread, no wandb, outputs in a temporary folder, the real data folder."""

import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; before PyTorch is imported
os.environ["WANDB_MODE"] = "disabled"
os.environ["HYDRA_FULL_ERROR"] = "1"

import pytest
import torch
from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what runs in the background
torch.set_num_threads(1)
settings.register_profile("turnover", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("turnover")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an outputs folder of its own."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_test_waits_for_the_disk() -> Iterator[None]:
    """A run asks for that thirty times; what it is for, a loss of power, no test has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _expressions_of_conf_are_parsed_once() -> Iterator[None]:
    """OmegaConf parses ${...} anew wherever it resolves one: that is most of the time of a sweep."""
    if find_spec("omegaconf") is None:  # as where the Python API alone is tried
        yield
        return
    from omegaconf.grammar_parser import parse

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omegaconf.base.parse", lru_cache(maxsize=1000)(parse))
        yield


@pytest.fixture(scope="session", autouse=True)
def _devices_that_are_not_there_are_not_seeded() -> Iterator[None]:
    """For each of them PyTorch keeps the call, and the lines of its stack, in case that it comes."""
    with pytest.MonkeyPatch.context() as patch:
        for device in (torch.cuda, torch.xpu, torch.mtia):
            if not device.is_available():
                patch.setattr(device, "manual_seed_all", lambda seed: None)
        yield


@pytest.fixture(scope="module")
def few_replicates() -> Iterator[None]:
    """Intervals are of 40 replicates in this module: at smoke scale, whose numbers mean nothing."""
    from turnover.stats import agreement, claims

    full = claims.bootstrap
    with pytest.MonkeyPatch.context() as patch:
        for module in (agreement, claims):
            patch.setattr(module, "bootstrap", lambda runs, examples, replicates: full(runs, examples, 40))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
