"""Influence of groups of training examples."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from turnover.config.compose import sweep
from turnover.core.examples import Examples
from turnover.experiments.validation import groups
from turnover.experiments.validation.groups import Kind, agreement, groups_of, influences, measure
from turnover.runs.build import build


@pytest.fixture(scope="module")
def examples() -> Examples:
    labels = torch.arange(120) % 3
    inputs = torch.randn(120, 4, generator=torch.Generator().manual_seed(0)) + 5 * labels[:, None]
    return Examples(inputs, labels, torch.arange(120))


def test_groups_hold_all_examples_once_and_similar_ones_are_alike(examples: Examples) -> None:
    assert groups_of(examples, "single", 10).tolist() == list(range(120))
    spread = {}
    for kind in ("random", "similar"):
        group = groups_of(examples, kind, 10)
        assert group.bincount().tolist() == [10] * 12
        variances = [examples.inputs[group == number].var(0).sum() for number in range(12)]
        spread[kind] = float(torch.stack(variances).mean())
    assert spread["similar"] < 0.2 * spread["random"]
    group = groups_of(examples, "similar", 10)
    for number in range(12):
        assert len(examples.labels[group == number].unique()) == 1
    mine = examples.labels == 0
    centred = examples.inputs[mine].double() - examples.inputs[mine].double().mean(0)
    along = centred @ torch.linalg.eigh(centred.T @ centred)[1][:, -1]  # the same component, from its covariance
    parts = [along[group[mine] == number] for number in group[mine].unique()]
    edges = sorted((part.min(), part.max()) for part in parts)
    assert all(first[1] <= second[0] for first, second in pairwise(edges))


@pytest.mark.parametrize(
    "overrides",
    [
        ("setting=mnist_3000_blocks", "turnover=off", "estimator=blocks"),
        ("setting=mnist_3000", "turnover=off", "estimator=none"),
        ("setting=mnist_3000", "turnover=all_layers", "estimator=turnover"),
    ],
)
def test_the_group_of_a_class_helps_to_classify_it(overrides: tuple[str, ...]) -> None:
    [config] = sweep([*overrides, "scale=smoke", "logger=none", "device=cpu", "epochs=10"])
    task = build(config, torch.device("cpu"))
    steps: list[int] = []
    found = influences(config, task, task.train.labels, 20, steps.append)
    test = task.groups["test", "all"]
    assert found.shape == (len(test), 10)
    of_own = found[torch.arange(len(test)), test.labels]
    assert (found.argmax(1) == test.labels).double().mean() > 0.6
    assert of_own.median() > 0.5
    assert steps


def test_agreement_is_that_of_the_influences(monkeypatch: pytest.MonkeyPatch) -> None:
    """With influences that are a signal and noise of known sizes."""
    draw = np.random.default_rng(0)
    signal, asked = draw.normal(size=(50, 400)), []

    def noisy(config: object, task: object, group: object, networks: int, on_step: object) -> torch.Tensor:
        asked.append(networks)
        noise = {44: 1.0, 100: 0.5}[networks]
        return torch.from_numpy(signal + noise * draw.normal(size=signal.shape))

    kind: Kind = "random"
    nine = Examples(torch.arange(9), torch.arange(9), torch.arange(9))
    nine_of_both = SimpleNamespace(train=nine, groups={("test", "all"): nine})
    monkeypatch.setattr(groups, "influences", noisy)
    monkeypatch.setattr(groups, "build", lambda config, device: nine_of_both)
    blocks, _ = measure("mnist_3000", kind, 30, 200, 3)
    assert asked[:2] == [100, 100]
    assert blocks["two_seeds"] == pytest.approx(1 / 2, abs=0.02)
    assert blocks["reliability"] == pytest.approx(1 / (1 + 0.25 / 2), abs=0.02)
    assert blocks["one_seed"] == pytest.approx((1 / 2 / (1 + 0.25 / 2)) ** 0.5, abs=0.02)
    assert blocks["all_seeds"] == pytest.approx((1 / (1 + 1 / 3) / (1 + 0.25 / 2)) ** 0.5, abs=0.02)
    assert blocks["ceiling"] == pytest.approx(blocks["reliability"] ** 0.5)


def test_influences_are_compared_within_the_class_of_a_test_example() -> None:
    draw = np.random.default_rng(0)
    of_groups, of_tests = np.repeat([0, 1, 2], [4, 5, 6]), draw.integers(3, size=50)
    a, b = draw.normal(size=(2, 50, 15)) + 9 * (of_tests[:, None] == of_groups)
    one_by_one = [
        np.corrcoef(a[test, of_groups == label], b[test, of_groups == label])[0, 1]
        for test, label in enumerate(of_tests)
    ]
    assert agreement(a, b, of_groups, of_tests) == pytest.approx(np.mean(one_by_one))
    assert agreement(a, b, None, of_tests) > 0.8  # what classes alone would give


def test_groups_of_a_class_are_of_it_alone_whatever_their_size(examples: Examples) -> None:
    group = groups_of(examples, "similar", 30)
    assert group.bincount().tolist() == [30, 10] * 3
    assert all(len(examples.labels[group == number].unique()) == 1 for number in range(6))
