"""Training on one half and then on the other, against the same by hand; runs that die and go on; progress."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import score_oracles as oracles
import torch
import torch.nn.functional as F
from crashes import crashes_that_change_nothing
from digits import digits
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from turnover.common.seeding import seeded, stream, torch_generator
from turnover.config.run import RunConfig
from turnover.core.examples import Examples
from turnover.data.augmentation import augmented
from turnover.errors import RunFailed
from turnover.estimators.second_split import SecondSplit, halves
from turnover.runs.build import RunTask, build
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_metrics, read_scores

SMALL = (
    *("turnover=off", "estimator=second_split", "dataset.limit=101", "model.hidden=[16]", "batch_size=25"),
    *("epochs=4", "estimator.epochs=6", "corruption.count=30", "optimizer.lr=0.1", "optimizer.momentum=0.9"),
)


@cache
def config_of(*overrides: str) -> RunConfig:
    return digits(*SMALL, *overrides)


# --- halves ---


@given(st.integers(1, 60), st.integers(0, 2**62))
def test_halves_share_the_examples(n: int, seed: int) -> None:
    first, second = halves(config_of().model_copy(update={"seed": seed}), n)
    assert (len(first), len(second)) == (n // 2, n - n // 2)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(n))
    assert first.tolist() == sorted(first.tolist())
    assert second.tolist() == sorted(second.tolist())
    assert (first.dtype, second.dtype) == (torch.int64, torch.int64)


def test_halves_are_random_and_those_of_the_seed() -> None:
    configs = {seed: config_of(f"seed={seed}") for seed in range(3)}
    once = {seed: halves(config, 1000)[0] for seed, config in configs.items()}
    torch.rand(3)
    assert all(torch.equal(half, halves(configs[seed], 1000)[0]) for seed, half in once.items())
    for a, b in itertools.combinations(once.values(), 2):
        assert 200 < len(np.intersect1d(a, b)) < 300


# --- scores ---


def network_of(config: RunConfig, number: int) -> torch.nn.Module:
    with seeded(stream(config.seed, "member", number), "init"):
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
        )


def trained_epochs(
    model: torch.nn.Module, examples: Examples, velocity: list[Tensor], config: RunConfig, epochs: int, seed: int
) -> Iterator[None]:
    """SGD with momentum written out; the rate falls along a cosine in each of the trainings anew."""
    for epoch in range(1, epochs + 1):
        rate = config.optimizer.lr * (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2
        order = torch.randperm(len(examples), generator=torch_generator(seed, "order", epoch))
        with seeded(seed, "noise", epoch):
            for index in order.split(config.batch_size):
                x, y, _ = examples.batch(index)
                gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
                with torch.no_grad():
                    for parameter, gradient, speed in zip(model.parameters(), gradients, velocity, strict=True):
                        speed.mul_(config.optimizer.momentum).add_(gradient)  # type: ignore[union-attr]
                        parameter.sub_(rate * speed)
        yield


def by_hand(config: RunConfig, second_epochs: int) -> tuple[list[int], float]:
    """Both trainings, twice; then each example by itself. Scores, and the share learnt by the first training."""
    parts = build(config, torch.device("cpu"))
    scores, learnt = [-1] * len(parts.train), 0
    two = halves(config, len(parts.train))
    for number, (first, second) in enumerate((two, two[::-1])):
        model = network_of(config, number)
        velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
        images, labels = parts.dataset.inputs(parts.train.inputs[first]), parts.train.labels[first]
        right: list[list[bool]] = []
        for place, (half, epochs) in enumerate(((first, config.epochs), (second, second_epochs))):
            some = augmented(parts.train.select(half), config.augmentation)
            seed = stream(config.seed, "half", number, place)
            for _ in trained_epochs(model, some, velocity, config, epochs, seed):
                with torch.no_grad():
                    right.append((model(images).argmax(1) == labels).tolist())
        learnt += sum(right[config.epochs - 1])
        for i, position in enumerate(first.tolist()):
            scores[position] = oracles.second_split_forgetting([each[i] for each in right[config.epochs :]])
    return scores, learnt / len(scores)


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_scores_are_those_of_two_trainings_by_hand(augmentation: str) -> None:
    config = config_of("schedule=cosine", f"augmentation={augmentation}")
    folder = execute(config)
    table = read_scores(folder)
    expected, learnt = by_hand(config, second_epochs=6)
    assert table["second_split"].tolist() == expected
    assert table["score"].tolist() == expected
    assert len(set(expected)) > 3, "they tell examples apart"
    metrics = read_metrics(folder).set_index(["epoch", "split", "metric"])["value"].to_dict()
    assert metrics == pytest.approx({(config.epochs, "train", "in_accuracy"): learnt})
    assert 0 < learnt < 1
    data = build(config, torch.device("cpu")).dataset.train
    assert table.index.tolist() == data.ids.tolist()
    assert table["label"].tolist() == data.labels.tolist()
    assert table["true_label"].tolist() == data.true_labels.tolist()
    assert table["corrupted"].tolist() == data.corrupted.tolist()
    assert list(table.columns) == ["split", "label", "true_label", "corrupted", "score", "second_split"]


def test_what_the_run_records() -> None:
    folder = execute(config_of())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["examples_trained"] == 10 * 101
    assert "leakage" not in manifest
    assert read_metrics(folder)["metric"].tolist() == ["in_accuracy"]
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "scores.parquet", "metrics.parquet", "DONE"}
    assert not (folder / "scratch").exists()


def test_a_diverging_run_is_failed() -> None:
    config = config_of("optimizer.lr=1e30")
    with pytest.raises(RunFailed, match="learning rate 1e\\+30"):
        execute(config)
    assert Run(config).manifest["status"] == "failed"
    assert not (Run(config).folder / "scores.parquet").exists()


# --- a run that dies and goes on ---


def test_a_crash_before_or_after_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = crashes_that_change_nothing(config_of("dataset.limit=41"), tmp_path, monkeypatch)
    assert writes == 9, "config, manifest, 2 halves, 2 tables, manifest, checksums, DONE"


class Stop(Exception):
    """Ends the work in the middle."""


@pytest.mark.parametrize("limit", [100, 101])
@pytest.mark.parametrize("batch_size", [25, 50])
def test_after_the_first_half_it_goes_on_and_so_does_the_progress_bar(
    tmp_path: Path, limit: int, batch_size: int
) -> None:
    config = config_of(f"dataset.limit={limit}", f"batch_size={batch_size}")
    parts, total = build(config, torch.device("cpu")), SecondSplit().steps(build(config, torch.device("cpu")), config)
    made: list[int] = []

    def make(stop: int | None) -> RunTask:
        def made_or_stopped(seed: int) -> torch.nn.Module:
            if len(made) == stop:
                raise Stop
            made.append(seed)
            return parts.make_model(seed)

        return replace(parts, make_model=made_or_stopped)

    told: list[int] = []
    folders = [tmp_path / name for name in ("whole", "stopped")]
    whole = SecondSplit().scores(parts, config, folders[0], told.append)
    assert sum(told) == total
    with pytest.raises(Stop):
        SecondSplit().scores(make(stop=1), config, folders[1], lambda steps: None)
    assert [path.name for path in folders[1].iterdir()] == ["half-0.npz"]
    told.clear()
    again = SecondSplit().scores(make(stop=None), config, folders[1], told.append)
    assert sum(told) == total
    assert made == [stream(config.seed, "member", number) for number in range(2)], "each network once"
    assert torch.equal(again.columns["second_split"], whole.columns["second_split"])
    assert again.metrics == whole.metrics
