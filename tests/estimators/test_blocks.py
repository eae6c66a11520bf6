"""Blocks: what each is trained on, that nothing else reaches it, what they say, and when they cannot say it."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ensemble_oracles as oracles
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from digits import digits
from oracles import auroc
from torch import Tensor, nn

import turnover
from turnover.common.seeding import seeded, torch_generator
from turnover.config.compose import sweep
from turnover.config.parse import parse
from turnover.config.recipes import RECIPE, RECIPES
from turnover.config.run import RunConfig, Training
from turnover.core.evaluation import full_logits
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.estimators import networks
from turnover.estimators.blocks import block_estimates, complementary, missing_classes
from turnover.estimators.ensemble import Ensemble
from turnover.estimators.estimator import Task
from turnover.estimators.networks import design, outcomes, train_block
from turnover.models.conv import conv
from turnover.models.mlp import mlp
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores

SMALL = ("turnover=off", "dataset.limit=120", "dataset.test_limit=40", "corruption=symmetric", "corruption.count=12")
BLOCKS = ("estimator=blocks", "schedule=linear", "optimizer.lr=0.05", "optimizer.momentum=0.9", "batch_size=8")
COLUMNS = ["blocks", "memorization", "memorization_se", "out_probability", "in_probability"]


def run(*overrides: str) -> RunConfig:
    return digits(*SMALL, *BLOCKS, "model.hidden=[16]", "epochs=25", "estimator.blocks=18", *overrides, entry="train")


def small_mlp() -> nn.Module:
    return mlp(64, [5], 4)


def small_conv() -> nn.Module:
    return conv(1, 4, width=2, side=8)


def task_of(make: Any, dtype: torch.dtype = torch.float32, n: int = 50) -> Task:
    """Random images of 8 x 8 pixels with random labels, and networks that `make` makes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 8, 8, generator=generator, dtype=dtype)
    labels = torch.randint(4, (n,), generator=generator)

    def make_model(seed: int) -> nn.Module:
        with seeded(seed, "init"):
            return make().to(dtype)

    wrong = torch.zeros(n, dtype=torch.bool)
    return Task(Examples(images, labels, torch.arange(n)), wrong, {}, make_model(0), make_model)


def training(blocks: int = 6, **changes: Any) -> Training:
    recipe = RECIPES["blocks"]
    values = {
        "seed": 3,
        "epochs": 3,
        "batch_size": 8,
        "precision": "float32",
        "augmentation": {"name": "none"},
        "optimizer": {"name": "sgd", "lr": recipe["lr"], "momentum": recipe["momentum"], "weight_decay": 0.0},
        "schedule": recipe["schedule"],
        "estimator": {"name": "blocks", "blocks": blocks},
    }
    return parse(Training, values | changes)


def trained(task: Task, config: Training) -> list[nn.Module]:
    plan = design(task, config)
    parts = plan.blocks(networks.at_once(task, config))
    return [model for part in parts for model in train_block(task, config, plan, part, lambda steps: None)]


def nothing(steps: int) -> None:
    pass


# --- what each is trained on ---


@pytest.mark.parametrize(("blocks", "n"), [(6, 10), (8, 31), (44, 60)])
def test_every_example_is_in_one_of_each_pair(blocks: int, n: int) -> None:
    included = complementary(blocks, n, seed=1)
    assert included.shape == (blocks, n)
    assert (included[: blocks // 2] ^ included[blocks // 2 :]).all()
    assert included.sum(0).tolist() == [blocks // 2] * n
    assert set(included.sum(1).tolist()) <= {n // 2, n - n // 2}
    assert len({tuple(row.tolist()) for row in included}) > blocks // 2, "pairs differ"
    assert not torch.equal(included, complementary(blocks, n, seed=2))


@pytest.mark.parametrize("make", [small_mlp, small_conv])
def test_more_blocks_add_some_and_change_none(make: Any, tmp_path: Path) -> None:
    task, few, many = task_of(make, n=51), training(6), training(22)
    plans = [design(task, config) for config in (few, many)]
    rows = [*range(3), *range(11, 14)]  # of the first three pairs
    assert torch.equal(plans[1].included[rows], plans[0].included)
    assert [plans[1].seeds[row] for row in rows] == plans[0].seeds
    found = [
        outcomes(task, config, plan, tmp_path / str(place), nothing)
        for place, (config, plan) in enumerate(zip((few, many), plans, strict=True))
    ]
    assert torch.equal(found[1].confidence[rows], found[0].confidence)
    assert len({row.numpy().tobytes() for row in found[1].confidence}) == 22, "no two of them are alike"


# --- nothing of an example reaches a block without it ---


@pytest.mark.parametrize("make", [small_mlp, small_conv, lambda: mlp(64, [6, 5], 4)])
@pytest.mark.parametrize("example", [0, 17])
def test_label_and_pixels_of_an_example_reach_only_the_blocks_that_are_trained_on_it(
    make: Any, example: int, tmp_path: Path
) -> None:
    """In a stack of MLPs, and one by one."""
    task, config = task_of(make), training()
    inputs, labels = task.train.inputs.clone(), task.train.labels.clone()
    inputs[example] = 1 - inputs[example]
    labels[example] = (labels[example] + 1) % 4
    other = replace(task, train=Examples(inputs, labels, task.train.ids))
    inside = design(task, config).included[:, example].tolist()
    assert sum(inside) == 3
    for is_in, before, after in zip(inside, trained(task, config), trained(other, config), strict=True):
        same = [torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
        assert not any(same) if is_in else all(same)
    said = [outcomes(each, config, design(each, config), tmp_path / str(id(each)), nothing) for each in (task, other)]
    others = torch.arange(50) != example
    for row, is_in in enumerate(inside):
        assert torch.equal(*(each.confidence[row, others] for each in said)) == (not is_in)


def test_blocks_in_one_wide_network() -> None:
    """Masks on the hidden units and on the losses, of the batch that each block takes: the blocks trained apart."""
    task, config = task_of(small_mlp, torch.float64), training(epochs=4)
    plan = design(task, config)
    apart = trained(task, config)
    alone = [task.make_model(seed) for seed in plan.seeds]
    blocks, units = len(alone), 5
    parameters = []
    for place in (1, 3):
        layers = [model.get_submodule(str(place)) for model in alone]
        parameters += [torch.stack([getattr(each, name).detach() for each in layers]) for name in ("weight", "bias")]
    first = parameters[0].flatten(0, 1).requires_grad_()  # [blocks * units, features]
    first_bias = parameters[1].flatten().requires_grad_()
    last, last_bias = (each.clone().requires_grad_() for each in parameters[2:])  # [blocks, classes, units]
    optimizer = torch.optim.SGD(
        [first, first_bias, last, last_bias], config.optimizer.lr, RECIPES["blocks"]["momentum"]
    )
    x, y = task.train.inputs.flatten(1), task.train.labels
    for epoch in range(1, config.epochs + 1):
        optimizer.param_groups[0]["lr"] = config.optimizer.lr * (1 - (epoch - 1) / config.epochs)
        orders = [
            inside.nonzero()[:, 0][torch.randperm(25, generator=torch_generator(seed, "order", epoch))]
            for inside, seed in zip(plan.included, plan.seeds, strict=True)
        ]
        for start in range(0, 25, config.batch_size):
            mask = torch.zeros(50, blocks, dtype=torch.float64)  # whose batch an example is in
            for block, order in enumerate(orders):
                mask[order[start : start + config.batch_size], block] = 1
            hidden = F.relu(F.linear(x, first, first_bias)) * mask.repeat_interleave(units, 1)
            logits = torch.einsum("nbu,bcu->nbc", hidden.unflatten(1, (blocks, units)), last) + last_bias
            losses = F.cross_entropy(logits.flatten(0, 1), y.repeat_interleave(blocks), reduction="none")
            optimizer.zero_grad()
            ((losses.view(50, blocks) * mask).sum(0) / mask.sum(0)).sum().backward()
            optimizer.step()
    for block, model in enumerate(apart):
        whole = [first.unflatten(0, (blocks, units))[block], first_bias.view(blocks, units)[block]]
        for found, expected in zip(model.parameters(), [*whole, last[block], last_bias[block]], strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# --- what they say ---


@pytest.mark.parametrize("pairs", [3, 4, 9])
def test_columns_are_those_of_the_definitions(pairs: int) -> None:
    generator = torch.Generator().manual_seed(pairs)
    included = complementary(2 * pairs, 20, seed=0)
    spread = torch.rand(20, generator=generator, dtype=torch.float64) * 4
    log_odds = torch.randn(2 * pairs, 20, generator=generator, dtype=torch.float64) * spread + 2 * included
    found = block_estimates(log_odds, included)
    expected = oracles.blocks(log_odds.tolist(), included.tolist())
    assert list(found) == list(expected) == COLUMNS
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-12, err_msg=name)


def test_blocks_that_all_say_the_same_have_no_infinite_score() -> None:
    included = complementary(6, 5, seed=0)
    found = block_estimates(torch.where(included, 2.0, -2.0).double(), included)
    assert all(values.isfinite().all() for values in found.values())
    assert (found["memorization"] == 1).all()
    assert (found["memorization_se"] == 0).all()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("blocks")))
        yield execute(run())


def test_the_table_is_what_the_blocks_say(finished: Path) -> None:
    table, kept = read_scores(finished), oracles.kept(finished)
    common = ["split", "label", "true_label", "corrupted", "score"]
    assert list(table.columns) == [*common, *COLUMNS, "prediction", "probability"]
    assert kept["confidence"].dtype == np.float32
    included = kept["included"]
    for name, values in oracles.blocks(kept["confidence"][:, :120].tolist(), included.tolist()).items():
        np.testing.assert_allclose(table[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert table["score"].tolist() == table["blocks"].astype(np.float32).tolist()
    probabilities = np.zeros((120, 10))
    task = build(run(), torch.device("cpu"))
    for model, inside in zip(trained(task, run()), included, strict=True):
        probabilities[~inside] += full_logits(model, task.train).double().softmax(1).numpy()[~inside] / 9
    assert table["prediction"].dtype == np.int64
    assert table["prediction"].tolist() == probabilities.argmax(1).tolist()
    np.testing.assert_allclose(table["probability"], probabilities.max(1), rtol=1e-5)


def test_wrong_labels_are_found(finished: Path) -> None:
    table = read_scores(finished)
    wrong = table["corrupted"].to_numpy()
    assert auroc(table["score"].to_numpy(), wrong) > 0.95
    assert table["memorization"][wrong].mean() > 0.7 > 0.3 > table["memorization"][~wrong].mean()
    assert (table["prediction"] == table["true_label"])[wrong].mean() > 0.7


# --- one call ---


def make_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def own_data(n: int = 300) -> tuple[Tensor, Tensor]:
    task = build(digits(f"dataset.limit={n}"), torch.device("cpu"))
    return task.dataset.inputs(task.train.inputs), task.train.labels


def test_a_call_needs_data_and_a_network_alone(caplog: pytest.LogCaptureFixture) -> None:
    x, y = own_data()
    wrong = torch.arange(300) % 15 == 0
    given = torch.where(wrong, (y + 1) % 10, y)
    table = turnover.memorization(make_model, x, given, estimator="blocks", progress=False)
    assert "learnt by heart so far" in "".join(caplog.messages), "of sizes alone, by so few epochs of narrow networks"
    assert list(table.columns) == ["score", *COLUMNS, "prediction", "probability", "label"]
    assert table.attrs["seeds"] == [0]
    assert auroc(table["score"].to_numpy(), wrong.numpy()) > 0.98
    assert (table["prediction"][wrong.numpy()] == y[wrong].numpy()).mean() > 0.8


def test_the_recipe_of_a_call_is_that_of_its_setting() -> None:
    config = sweep(["setting=mnist_3000_blocks", "scale=laptop"])[0]
    found = {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "lr": config.optimizer.lr,
        "momentum": config.optimizer.momentum,  # type: ignore[union-attr]
        "schedule": config.schedule.model_dump(),
    }
    assert found == RECIPE | RECIPES["blocks"]
    assert config.optimizer.weight_decay == 0


def test_other_options_and_several_seeds() -> None:
    x, y = own_data(60)
    options: dict[str, Any] = {"epochs": 2, "estimator": "blocks", "options": {"blocks": 6}, "progress": False}
    both = turnover.memorization(make_model, x, y, seeds=[0, 1], **options)
    single = [turnover.memorization(make_model, x, y, seeds=[seed], **options) for seed in (0, 1)]
    np.testing.assert_allclose(both["score"], (single[0]["score"] + single[1]["score"]) / 2, rtol=1e-12)
    assert both["prediction"].dtype == np.int64
    assert not np.allclose(single[0]["score"], single[1]["score"])


def test_other_estimators_have_no_recipe_of_their_own() -> None:
    x, y = own_data(60)
    with pytest.raises(RefusedInput, match="epochs and lr must be given"):
        turnover.memorization(make_model, x, y)
    with pytest.raises(RefusedInput, match="lr must be given"):
        turnover.memorization(make_model, x, y, 3, estimator="aum")


@pytest.mark.parametrize(
    ("blocks", "told"), [(7, "estimator.blocks = 7: .*multiple of 2"), (4, "blocks = 4: at least 6")]
)
def test_blocks_come_in_three_pairs_at_least(blocks: int, told: str) -> None:
    x, y = own_data(60)
    with pytest.raises(RefusedInput, match=told):
        turnover.memorization(make_model, x, y, estimator="blocks", options={"blocks": blocks})


def test_a_half_needs_examples() -> None:
    x, _ = own_data(60)
    two = torch.tensor([0, 1, 1])
    with pytest.raises(RefusedInput, match="at least 4 examples are needed, not 3"):
        turnover.memorization(make_model, x[:3], two, estimator="blocks")


# --- when they cannot say it: a warning, and that its advice helps ---


def warned(caplog: pytest.LogCaptureFixture, **changes: Any) -> str:
    x, y = own_data()
    caplog.clear()
    given: dict[str, Any] = {"x": x, "y": y, "options": {"blocks": 10}} | changes
    turnover.memorization(make_model, estimator="blocks", progress=False, **given)
    return "\n".join(caplog.messages)


def test_blocks_that_die(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="turnover")
    assert "take a tenth of lr = 2" in warned(caplog, lr=2.0)
    assert warned(caplog, lr=0.2) == ""


def test_blocks_that_do_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="turnover")
    assert "train for more epochs" in warned(caplog, epochs=2)
    assert warned(caplog, epochs=20) == ""


def test_blocks_that_have_learnt_no_wrong_label_yet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="turnover")
    x, y = own_data()
    wrong = torch.arange(300) % 15 == 0
    given = torch.where(wrong, (y + 1) % 10, y)
    assert "learnt by heart so far; train for more epochs" in warned(caplog, x=x, y=given)
    assert warned(caplog, x=x, y=given, epochs=60, lr=0.1) == ""


def test_a_class_that_some_halves_lack(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="turnover")
    x, y = own_data()
    few = (y != 7) | (torch.cumsum(y == 7, 0) <= 2)
    assert "most often class 7, of which there are 2 examples" in warned(caplog, x=x[few], y=y[few])
    rest = y != 7
    assert warned(caplog, x=x[rest], y=y[rest]) == ""
    assert warned(caplog) == "", "or with all examples of it"


def test_missing_classes_are_counted() -> None:
    included = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 0, 1]]).bool()
    labels = torch.tensor([5, 5, 9, 2, 2])
    told = missing_classes(included, labels)
    assert told is not None
    assert "2 of 3 classes" in told
    assert "in 1 of 2" in told
    assert missing_classes(included, torch.tensor([5, 9, 5, 5, 9])) is None


def test_scores_of_networks_of_ones_own() -> None:
    """Any network, here one with batch normalisation, that the loop trains."""

    def with_statistics() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))

    x, y = own_data(90)
    table = turnover.memorization(with_statistics, x, y, 4, estimator="blocks", options={"blocks": 6}, progress=False)
    assert table["score"].notna().all()
    assert table["score"].nunique() > 80


def test_it_is_an_estimator_of_several_networks() -> None:
    task, config = task_of(small_mlp), training(8)
    assert Ensemble().sizes(task, config) == [25]
    assert Ensemble().steps(task, config) == 8 * 3 * 4
