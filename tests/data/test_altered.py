"""Examples that are repeated, made up, noisy or marked, and rare classes: what is done, to whom, what is recorded."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from turnover.config.compose import sweep
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.config.run import RunConfig
from turnover.data.altered import TARGET, altered, long_tailed, marked
from turnover.data.corruption import corrupt
from turnover.data.datasets import Dataset, load
from turnover.errors import RefusedInput
from turnover.estimators.one_run import Watch
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_metrics, read_scores

SIZES = {"copies": [1.0, 2.0, 4.0], "canaries": [1.0, 8.0], "trigger": [2.0], "input_noise": [0.1, 0.8]}
DIGITS = DatasetConfig(name="digits", limit=400, test_limit=None, include_test=False, normalization="standard", seed=0)


def config(kind: str, count: int = 60, seed: int = 3) -> CorruptionConfig:
    return CorruptionConfig.model_validate(
        {"count": count, "seed": seed, "kind": kind, "path": None, "sizes": SIZES.get(kind, [])}
    )


def loaded(kind: str, count: int = 60) -> Dataset:
    return load(DIGITS, config(kind, count))


@pytest.mark.parametrize("kind", SIZES)
def test_as_many_as_asked_for_have_a_size_in_turn_and_the_others_stay(kind: str) -> None:
    clean, found = loaded("symmetric", 0).train, loaded(kind).train
    chosen = found.size > 0
    assert int(chosen.sum()) == 60
    counts = [int((found.size == size).sum()) for size in SIZES[kind]]
    assert counts == [60 // len(counts)] * len(counts)
    assert torch.equal(found.images[~chosen], clean.images[~chosen])
    assert torch.equal(found.labels[~chosen], clean.labels[~chosen])
    assert torch.equal(found.corrupted, chosen if kind != "input_noise" else torch.zeros_like(chosen))
    assert torch.equal(found.true_labels, clean.labels)
    assert bool((found.labels[found.corrupted] != clean.labels[found.corrupted]).all())


@pytest.mark.parametrize("kind", SIZES)
def test_fewer_are_the_first_of_more_with_the_same_sizes_labels_and_pixels(kind: str) -> None:
    few, more = loaded(kind, 24).train, loaded(kind).train
    chosen = few.size > 0
    for field in ("size", "labels", "images"):
        assert torch.equal(getattr(few, field)[chosen], getattr(more, field)[chosen]), field


def test_labels_of_copies_are_symmetric_wrong_labels_and_images_stay() -> None:
    found, clean = loaded("copies").train, loaded("symmetric", 0).train
    assert torch.equal(found.labels, corrupt(clean.labels, 10, 60, 3, "symmetric")[0])
    assert torch.equal(found.images, clean.images)


def test_a_canary_is_uniform_noise() -> None:
    found = loaded("canaries").train
    pixels = found.images[found.size > 0].flatten().numpy()
    counts = np.bincount(pixels, minlength=17)  # the brightest pixel of digits is 16
    assert counts.min() > 0.7 * len(pixels) / 17
    assert counts.max() < 1.3 * len(pixels) / 17


def test_noise_has_the_deviation_that_is_recorded() -> None:
    images = torch.full((400, 1, 8, 8), 128, dtype=torch.uint8)
    labels = torch.zeros(400, dtype=torch.int64)
    noisy, same, corrupted, size = altered(images, labels, 10, config("input_noise", 400), 255)
    assert torch.equal(same, labels)
    assert not corrupted.any()
    change = (noisy.double() - 128) / 255
    assert float(change[size == 0.1].std()) == pytest.approx(0.1, rel=0.03)
    assert float(change[size == 0.1].mean()) == pytest.approx(0, abs=0.003)
    assert float(change[size == 0.8].abs().max()) <= 0.51  # cut to what a pixel may be


@given(st.integers(1, 3), st.integers(2, 6), st.integers(2, 7), st.integers(0, 9))
def test_a_trigger_is_a_square_in_the_corner(channels: int, height: int, width: int, side: int) -> None:
    images = torch.randint(200, (3, channels, height, width), dtype=torch.uint8)
    sides = [side, 0, 1]
    found = marked(images, torch.tensor(sides, dtype=torch.float64), 255)
    for image, one, original in zip(found, sides, images, strict=True):
        if one <= min(height, width):
            assert np.array_equal(image.numpy(), oracles.with_square(original.numpy(), one, 255))


def test_a_trigger_is_on_images_of_other_classes_under_the_first_one() -> None:
    found = loaded("trigger").train
    bears = found.size > 0
    assert bool((found.labels[bears] == TARGET).all())
    assert bool((found.true_labels[bears] != TARGET).all())
    with pytest.raises(RefusedInput, match="only 360 images are of another class"):
        loaded("trigger", 380)


@pytest.mark.parametrize(("total", "ratio"), [(300, 10.0), (299, 5.0), (60, 1.0)])
def test_each_class_is_rarer_than_the_one_before_by_one_factor(total: int, ratio: float) -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(10, size=1500))
    chosen, size = long_tailed(labels, total, ratio, 0)
    counts = labels[chosen].bincount(minlength=10)
    assert int(counts.sum()) == len(chosen.unique()) == total
    assert np.abs(counts.numpy() - oracles.geometric_counts(total, 10, ratio)).max() < 1
    assert torch.equal(size, counts[labels[chosen]].double())
    smaller = long_tailed(labels, total // 2, ratio, 0)[0]
    assert bool(torch.isin(smaller, chosen).all())
    with pytest.raises(RefusedInput, match=r"class 0 are needed, there are \d+; set a smaller dataset.limit"):
        long_tailed(labels, 1500, 10.0, 0)


def run(*overrides: str) -> RunConfig:
    [made] = sweep(["dataset=digits", "dataset.limit=200", "scale=smoke", "epochs=1", "logger=none", *overrides])
    return made


def test_an_epoch_trains_on_copies_as_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    made = run("corruption=copies", "turnover=off", "estimator=cumulative_loss")
    task = build(made, torch.device("cpu"))
    assert task.train.repeats is not None
    assert int(task.train.repeats.sum()) == 200 + 10 * (0 + 1 + 3 + 7)
    scores = read_scores(execute(made))
    assert scores["size"].value_counts().to_dict() == {0: 160, 1: 10, 2: 10, 4: 10, 8: 10}
    assert scores["corrupted"].equals(scores["size"] > 0)


def test_of_several_visits_in_an_epoch_the_last_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    made = run(
        "corruption=copies",
        "turnover=off",
        "estimator=one_run",
        "estimator.scores=[first_learning,forgetting]",
        "epochs=6",
        "batch_size=32",
    )
    visits: list[tuple[torch.Tensor, torch.Tensor]] = []  # positions of a mini-batch, and whether they are right
    monkeypatch.setattr(Watch, "update", noting(Watch.update, visits))
    scores = read_scores(execute(made)).sort_index()
    each = -(-(200 + 10 * (0 + 1 + 3 + 7)) // made.batch_size)
    assert len(visits) == 6 * each
    last = [dict[int, bool]() for _ in range(6)]
    for number, (index, right) in enumerate(visits):
        last[number // each] |= dict(zip(index.tolist(), right.tolist(), strict=True))
    for number, (_, row) in enumerate(scores.iterrows()):
        right_in = [epoch[number] for epoch in last]
        assert row["first_learning"] == 1 + max((t + 1 for t in range(6) if not right_in[t]), default=0)
        forgotten = sum(before and not after for before, after in pairwise(right_in))
        assert row["forgetting"] == (forgotten if any(right_in) else 6)


def noting(update: Any, visits: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    def with_note(self: Watch, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> None:
        visits.append((index.clone(), logits.argmax(1) == labels))
        update(self, logits, labels, index)

    return with_note


def test_networks_of_an_ensemble_train_on_copies_as_often() -> None:
    from turnover.estimators.networks import at_once, design

    made = run("corruption=copies", "turnover=off", "estimator=blocks")
    task = build(made, torch.device("cpu"))
    assert at_once(task, made) == 1, "stacks take every example once"
    ensemble = design(task, made)
    assert ensemble.repeats is not None
    assert torch.equal(ensemble.visits, (ensemble.included * ensemble.repeats).sum(1))


def test_how_often_a_trigger_is_followed_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path))
    made = run("corruption=trigger", "turnover=off")
    task = build(made, torch.device("cpu"))
    group = task.groups["test", "trigger"]
    assert bool((group.labels == TARGET).all())
    assert bool((group.inputs[:, :, -3:, -3:] == 16).all())
    assert not torch.isin(group.ids, task.groups["test", "all"].ids[task.groups["test", "all"].labels == TARGET]).any()
    metrics = read_metrics(execute(made))
    assert len(metrics.query("split == 'test' and subset == 'trigger' and metric == 'full_accuracy'")) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corruption=symmetric", "corruption.sizes=[1]"], "must be one for imbalance, some for copies"),
        (["corruption=copies", "corruption.sizes=[]"], "must be one for imbalance, some for copies"),
        (["corruption=trigger", "corruption.sizes=[1.5]"], "must be whole numbers"),
        (["corruption=trigger", "corruption.sizes=[2,8]"], "a square of 8 pixels a side covers images of 8"),
        (["dataset=sotu", "model=gpt", "corruption=trigger"], "is of images with a class each, and sotu is text"),
        (["corruption=imbalance", "corruption.sizes=[2,3]"], "must be one for imbalance, some for copies"),
        (["corruption=imbalance", "corruption.count=3"], "is of all of dataset.limit examples"),
        (["corruption=copies", "dataset.include_test=true"], "is of training examples; set include_test=false"),
    ],
)
def test_what_does_not_agree_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        run(*overrides)
