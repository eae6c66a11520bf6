"""Blocks over a frozen trunk, shared by all or as features: nothing of an example reaches a block without it."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from oracles import auroc
from readings import page
from test_blocks import own_data, task_of, trained, training
from torch import Tensor, nn

import turnover
from turnover.common.seeding import seeded
from turnover.core.examples import Examples
from turnover.estimators.estimator import Task
from turnover.estimators.networks import design
from turnover.models.conv import conv
from turnover.training.fit import fit


class Evaluated(nn.Sequential):
    """Stays in evaluation mode, so that its running statistics do not change."""

    def train(self, mode: bool = True) -> "Evaluated":
        return super().train(False)


LINEAR, CONVOLUTIONS = nn.Linear(64, 5).requires_grad_(False), conv(1, 5, width=2, side=8).requires_grad_(False)
NORMALISED = Evaluated(nn.Conv2d(1, 3, 3, stride=4), nn.BatchNorm2d(3), nn.Flatten()).requires_grad_(False).eval()


def on_linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), LINEAR, nn.ReLU(), nn.Linear(5, 4))


def on_convolutions() -> nn.Module:
    return nn.Sequential(CONVOLUTIONS, nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))


def on_normalised() -> nn.Module:
    return nn.Sequential(NORMALISED, nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))


SHARING = [on_linear, on_convolutions, on_normalised]


def trunks() -> list[Tensor]:
    states = [trunk.state_dict() for trunk in (LINEAR, CONVOLUTIONS, NORMALISED)]
    return [tensor.clone() for state in states for tensor in state.values()]


def changed(task: Task, example: int) -> Task:
    """Other pixels and another label of one example."""
    inputs, labels = task.train.inputs.clone(), task.train.labels.clone()
    inputs[example] = 1 - inputs[example]
    labels[example] = (labels[example] + 1) % 4
    return replace(task, train=Examples(inputs, labels, task.train.ids))


def reached(before: list[nn.Module], after: list[nn.Module]) -> list[bool]:
    """Whether any weight of each block differs."""

    def differ(one: nn.Module, other: nn.Module) -> bool:
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return any(not torch.equal(a, b) for a, b in pairs)

    return [differ(one, other) for one, other in zip(before, after, strict=True)]


@pytest.mark.parametrize("make", SHARING)
def test_an_example_reaches_only_the_blocks_that_are_trained_on_it(make: Callable[[], nn.Module]) -> None:
    task, config, before = task_of(make), training(), trunks()
    found = reached(trained(task, config), trained(changed(task, 17), config))
    assert found == design(task, config).included[:, 17].tolist()
    assert all(map(torch.equal, before, trunks()))


@pytest.mark.parametrize("make", SHARING)
@pytest.mark.parametrize("estimator", ["turnover", "subsampling", "blocks"])
def test_sharing_gives_what_copies_give(make: Callable[[], nn.Module], estimator: str) -> None:
    x, y = own_data(60)
    few: dict[str, Any] = {"subsampling": {"models": 16, "fractions": [0.5]}, "blocks": {"blocks": 6}}
    given: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 16, "seeds": 2, "progress": False}
    given |= {"estimator": estimator, "options": few.get(estimator)}
    found = turnover.memorization(make, x, y % 4, **given)
    pd.testing.assert_frame_equal(found, turnover.memorization(lambda: copy.deepcopy(make()), x, y % 4, **given))


# --- the code of the documentation ---


@pytest.fixture(scope="module")
def recipe() -> Callable[[Tensor, Tensor], dict[str, Any]]:
    """It, by its x and y; the trunk is trained on other images."""
    [code] = [part for part in re.findall(r"```python\n(.*?)```", page("estimators.md"), re.DOTALL) if "trunk" in part]
    x, y = own_data(1200)
    with seeded(0, "init"):
        pretrained = conv(1, 10, width=8, side=8)
    for _ in fit(training(epochs=10), pretrained, Examples(x[300:], y[300:], torch.arange(900))):
        pass

    def run(x: Tensor, y: Tensor) -> dict[str, Any]:
        names: dict[str, Any] = {"trunk": pretrained[:-1], "x": x, "y": y, "torch": torch, "turnover": turnover}
        exec(code, names)
        return names

    return run


def test_features_of_a_frozen_network(recipe: Callable[[Tensor, Tensor], dict[str, Any]]) -> None:
    """Wrong labels are found, and an example's label changes nothing of what blocks without it predict for it."""
    x, y = own_data(1200)
    x, y, wrong = x[:300], y[:300], torch.arange(300) % 15 == 0
    given = torch.where(wrong, (y + 1) % 10, y)
    table = recipe(x, given)["table"]
    assert auroc(table["score"].to_numpy(), wrong.numpy()) > 0.98
    given[7] = (given[7] + 1) % 10
    other = recipe(x, given)["table"]
    assert table.loc[7, ["prediction", "probability"]].tolist() == other.loc[7, ["prediction", "probability"]].tolist()
    assert (table["probability"] != other["probability"]).sum() > 250, "others are predicted by blocks with it"


def test_pixels_reach_only_the_blocks_that_are_trained_on_their_features(
    recipe: Callable[[Tensor, Tensor], dict[str, Any]],
) -> None:
    task, config = task_of(nn.Identity), training()
    found = []
    for images in (task, changed(task, 17)):
        names = recipe(images.train.inputs, images.train.labels)
        found.append(replace(task_of(names["make_head"]), train=replace(images.train, inputs=names["features"])))
    assert reached(*(trained(each, config) for each in found)) == design(task, config).included[:, 17].tolist()
