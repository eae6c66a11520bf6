"""Networks trained in a stack against the same networks trained one by one by the loop."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from turnover.common.seeding import seeded
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.core.examples import Examples
from turnover.data.datasets import load
from turnover.errors import RunFailed
from turnover.models.mlp import mlp
from turnover.training.loop import train
from turnover.training.stack import stackable, train_stack

SEEDS = [11, 12, 13, 14, 15]


def rate(step: int) -> float:
    return 0.8 / (step + 4)


def networks(inputs: int, hidden: int, classes: int = 10, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    """One for each of the seeds."""
    made: list[nn.Module] = []
    for seed in SEEDS:
        with seeded(seed, "init"):
            made.append(mlp(inputs, [hidden], classes).to(dtype))
    return made


def stored_bytes(n: int = 90, dtype: torch.dtype = torch.float64) -> Examples:
    """Images of 5 x 4 bytes that are prepared for the network."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 1, 5, 4), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (n,), generator=generator)
    return Examples(images, labels, torch.arange(n) * 3, lambda x: (x.to(dtype) / 255 - 0.5) / 0.3)


def parts(examples: Examples, size: int) -> Tensor:
    """The positions that each network is trained on."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randperm(len(examples), generator=generator)[:size].sort().values for _ in SEEDS])


def one_by_one(
    models: Sequence[nn.Module], examples: Examples, included: Tensor, seeds: Sequence[int], **options: Any
) -> list[nn.Module]:
    """Trained copies."""
    sgd = {name: options.pop(name) for name in ("momentum", "weight_decay") if name in options}
    trained = []
    for model, positions, seed in zip(models, included, seeds, strict=True):
        own = copy.deepcopy(model)
        optimizer = torch.optim.SGD(own.parameters(), 99.0, **sgd)
        for _ in train(own, examples.select(positions), optimizer, rate, seed=seed, **options):
            pass
        trained.append(own)
    return trained


def stacked(
    models: Sequence[nn.Module], examples: Examples, included: Tensor, seeds: Sequence[int], **options: Any
) -> list[nn.Module]:
    """Trained copies."""
    copies = [copy.deepcopy(model) for model in models]
    train_stack(copies, examples, included, seeds, rate, **options)
    return copies


def close(some: Sequence[nn.Module], others: Sequence[nn.Module], tolerance: float) -> None:
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


OPTIMIZERS = [{}, {"momentum": 0.9}, {"weight_decay": 0.01}, {"momentum": 0.9, "weight_decay": 0.01}]


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: "+".join(options) or "plain")
@pytest.mark.parametrize("hidden", [8, 32])
def test_a_stack_ends_up_where_the_loop_does(hidden: int, options: dict[str, float]) -> None:
    examples, models = stored_bytes(), networks(20, hidden, dtype=torch.float64)
    included = parts(examples, 70)
    wanted: dict[str, Any] = {"epochs": 3, "batch_size": 16, **options}  # 70 = 4 * 16 + 6
    expected = one_by_one(models, examples, included, SEEDS, **wanted)
    close(stacked(models, examples, included, SEEDS, **wanted), expected, 1e-10)
    assert distance(models[0], expected[0]) > 0.05, "the comparison means something only if weights move"


@pytest.mark.parametrize("hidden", [8, 32])
def test_the_same_on_real_images_in_single_precision(hidden: int) -> None:
    small = DatasetConfig(
        name="digits", limit=300, test_limit=None, include_test=False, normalization="standard", seed=0
    )
    data = load(small, CorruptionConfig(count=0, seed=0, kind="random", path=None, sizes=[]))
    examples = Examples(data.train.images, data.train.labels, data.train.ids, data.inputs)
    assert examples.inputs.dtype == torch.uint8
    models, included = networks(64, hidden), parts(examples, 210)
    for options in OPTIMIZERS:
        wanted: dict[str, Any] = {"epochs": 3, "batch_size": 64, **options}
        expected = one_by_one(models, examples, included, SEEDS, **wanted)
        close(stacked(models, examples, included, SEEDS, **wanted), expected, 1e-5)


@settings(max_examples=15)
@given(
    size=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    hidden=st.integers(1, 9),
    classes=st.integers(2, 5),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 1e-3, 0.1]),
)
def test_any_sizes(size: int, batch_size: int, hidden: int, classes: int, momentum: float, weight_decay: float) -> None:
    examples = stored_bytes(30)
    examples = Examples(examples.inputs, examples.labels % classes, examples.ids, examples.prepare)
    models, included = networks(20, hidden, classes, torch.float64), parts(examples, size)
    options: dict[str, Any] = {"epochs": 2, "batch_size": batch_size}
    options |= {"momentum": momentum, "weight_decay": weight_decay}
    expected = one_by_one(models, examples, included, SEEDS, **options)
    close(stacked(models, examples, included, SEEDS, **options), expected, 1e-10)


def test_how_networks_are_grouped_and_ordered_changes_nothing() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    included = parts(examples, 50)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "momentum": 0.9, "weight_decay": 0.01}
    whole = stacked(models, examples, included, SEEDS, **options)
    groups = [slice(0, 2), slice(2, 5)]
    split = [stacked(models[part], examples, included[part], SEEDS[part], **options) for part in groups]
    close([*split[0], *split[1]], whole, 1e-12)
    order = [3, 0, 4, 2, 1]
    moved = stacked([models[k] for k in order], examples, included[order], [SEEDS[k] for k in order], **options)
    close(moved, [whole[k] for k in order], 1e-12)


def test_every_network_has_an_order_and_a_part_of_its_own() -> None:
    examples, model = stored_bytes(), networks(20, 8, dtype=torch.float64)[0]
    included = parts(examples, 50)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    same, other_order = stacked([model, model], examples, included[[0, 0]], [1, 2], **options)
    assert distance(same, other_order) > 1e-3
    same, other_part = stacked([model, model], examples, included[[0, 1]], [1, 1], **options)
    assert distance(same, other_part) > 1e-3
    same, twin = stacked([model, model], examples, included[[0, 0]], [1, 1], **options)
    assert distance(same, twin) == 0


class OfTheUser(nn.Sequential):
    """May do anything in its forward pass."""


STACKABLE = {
    "with flatten": nn.Sequential(nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "without": nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "of the package": mlp(20, [8], 3),
}
TIED = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
TIED[2].weight = TIED[0].weight
NOT_STACKABLE = {
    "frozen below": nn.Sequential(nn.Linear(20, 8).requires_grad_(False), nn.ReLU(), nn.Linear(8, 3)),
    "tied": TIED,
    "weights made of others": nn.Sequential(nn.utils.spectral_norm(nn.Linear(20, 8)), nn.ReLU(), nn.Linear(8, 3)),
    "no bias above": nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)),
    "no bias below": nn.Sequential(nn.Linear(20, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)),
    "another activation": nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3)),
    "two hidden layers": mlp(20, [8, 8], 3),
    "none": nn.Sequential(nn.Flatten(), nn.Linear(20, 3)),
    "dropout between": nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)),
    "something below": nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "flatten twice": nn.Sequential(nn.Flatten(), nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "a class of the user's": OfTheUser(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "nested": nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))),
    "a layer alone": nn.Linear(20, 3),
    "nothing": nn.Sequential(),
}


@pytest.mark.parametrize("name", [*STACKABLE, *NOT_STACKABLE])
def test_which_networks_can_be_stacked(name: str) -> None:
    assert stackable({**STACKABLE, **NOT_STACKABLE}[name]) == (name in STACKABLE)


def test_without_flatten_too() -> None:
    flat = stored_bytes().inputs.flatten(1)
    examples = Examples(flat, stored_bytes().labels, stored_bytes().ids, stored_bytes().prepare)
    models = [nn.Sequential(*list(model.children())[1:]) for model in networks(20, 8, dtype=torch.float64)]
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16}
    expected = one_by_one(models, examples, parts(examples, 40), SEEDS, **options)
    close(stacked(models, examples, parts(examples, 40), SEEDS, **options), expected, 1e-10)


def test_weights_that_are_not_finite_stop_the_training_and_say_where() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    included = parts(examples, 50)

    def fatal(step: int) -> float:
        return 0.1 if step < 2 * 4 else math.inf

    before = copy.deepcopy(models)
    with pytest.raises(RunFailed, match=r"no longer finite in epoch 3, at learning rate inf.*optimizer\.lr"):
        train_stack(models, examples, included, SEEDS, fatal, epochs=5, batch_size=16)
    close(models, before, 0)


def test_one_network_of_a_stack_is_enough_to_fail() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    with torch.no_grad():
        models[3].get_parameter("1.weight")[0, 0] = math.nan
    before = copy.deepcopy(models[:3])
    with pytest.raises(RunFailed, match=r"epoch 1, at learning rate 0\.114"):
        train_stack(models, examples, parts(examples, 50), SEEDS, rate, epochs=2, batch_size=16)
    close(models[:3], before, 0)


def test_the_layer_below_alone_is_enough_to_fail() -> None:
    """In one step the error, times huge weights above, is beyond all numbers for the layer below alone."""
    examples, models = stored_bytes(4), networks(20, 8, dtype=torch.float64)
    for model in models:
        with torch.no_grad():
            model.get_parameter("3.weight").mul_(1e300)
    with pytest.raises(RunFailed, match="epoch 1"):
        train_stack(models, examples, parts(examples, 4), SEEDS, lambda step: 1e10, epochs=1, batch_size=4)


def test_steps_are_reported_by_networks() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    reported: list[int] = []
    stacked(models, examples, parts(examples, 50), SEEDS, epochs=3, batch_size=16, on_step=reported.append)
    assert reported == [len(SEEDS)] * 12


def test_threads_change_nothing_but_rounding() -> None:
    examples, models = stored_bytes(dtype=torch.float32), networks(20, 8)
    included, before, ended = parts(examples, 50), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            ended.append(stacked(models, examples, included, SEEDS, epochs=3, batch_size=16))
    finally:
        torch.set_num_threads(before)
    close(ended[1], ended[0], 1e-6)
    close(ended[2], ended[0], 1e-6)


def test_interrupted_it_leaves_the_networks_as_they_were() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    included, steps, unchanged = parts(examples, 50), [], copy.deepcopy(models)

    def on_step(networks: int) -> None:
        steps.append(networks)
        if len(steps) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stack(models, examples, included, SEEDS, rate, epochs=1000, batch_size=16, on_step=on_step)
    assert len(steps) == 10
    close(models, unchanged, 0)


def test_modes_and_what_belongs_to_others_are_left_alone() -> None:
    examples, models = stored_bytes(), networks(20, 8, dtype=torch.float64)
    models[1].eval()
    parameters = [list(model.parameters()) for model in models]
    included = parts(examples, 50)
    inputs, rows = examples.inputs.clone(), included.clone()
    generator = torch.get_rng_state()
    train_stack(models, examples, included, SEEDS, rate, epochs=1, batch_size=16, momentum=0.9)
    assert [model.training for model in models] == [True, False, True, True, True]
    for model, before in zip(models, parameters, strict=True):
        assert all(a is b for a, b in zip(model.parameters(), before, strict=True)), (
            "an optimizer would still hold them"
        )
        assert all(each.requires_grad and each.grad is None and each.is_leaf for each in model.parameters())
    assert torch.equal(examples.inputs, inputs)
    assert torch.equal(included, rows)
    assert torch.equal(torch.get_rng_state(), generator)
