"""Shared by all tests: one thread, no wandb, outputs in a temporary folder, the real data folder."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; before PyTorch is imported
os.environ["WANDB_MODE"] = "disabled"
os.environ["HYDRA_FULL_ERROR"] = "1"

import pytest
import torch
from hypothesis import settings

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


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
