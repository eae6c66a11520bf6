"""Loss and accuracy of groups of examples, and of what a network reads from its masks alone, against slow means."""

import math
from dataclasses import replace
from typing import Literal

import oracles
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import turnover
from turnover.core.evaluation import FRESH
from turnover.core.examples import Examples
from turnover.models.mlp import mlp
from turnover.training.accuracy import Name, label_lead, measure, on_constant_inputs

HIDDEN = (30, 20)


def examples(n: int = 24, first: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(first)
    pixels = torch.randint(256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8)
    ids = first + torch.randperm(1000, generator=generator)[:n]
    return Examples(pixels, torch.arange(n) % 4, ids, lambda images: images.double() / 100 - 1)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return turnover.attach(mlp(16, HIDDEN, 4).double(), seed=3)


def means(
    model: nn.Sequential, some: Examples, kind: Literal["own", "flipped", "full", "fresh"], x: Tensor | None = None
) -> tuple[float, float]:
    """Mean loss and accuracy, one example and one network that is really cut out at a time."""
    losses, hits = [], 0
    for i in range(len(some)):
        id = some.ids[i] + (FRESH if kind == "fresh" else 0)
        masks = [turnover.mask(id.view(1), units, layer, 3)[0] for layer, units in enumerate(HIDDEN)]
        part = model if kind == "full" else oracles.cut_out(model, masks, flipped=kind == "flipped", p=0.5)
        logits = part(some.prepare(some.inputs[i : i + 1]) if x is None else x)[0]
        losses.append(oracles.cross_entropy(logits, int(some.labels[i])))
        hits += int(logits.argmax() == some.labels[i])
    return sum(losses) / len(losses), hits / len(losses)


# --- groups ---


def test_every_group_has_its_means() -> None:
    train, test = examples(), examples(12, first=5000)
    part = train.select(torch.tensor([3, 20, 7, 7, 1]))
    groups: dict[Name, Examples] = {
        ("train", "easy"): part,
        ("test", "difficult"): test.select(torch.arange(4)),
        ("train", "all"): train,
        ("test", "all"): test,
    }
    model = network()
    found = measure(model, groups, fresh_masks=1, precision="float32", batch_size=5)
    assert list(found) == list(groups)
    wanted = {"train": ("own", "flipped", "full"), "test": ("full", "fresh")}
    for (split, subset), some in groups.items():
        kinds = [*wanted[split], *["constant"] * ((split, subset) == ("train", "all"))]
        assert set(found[split, subset]) == {f"{kind}_{what}" for kind in kinds for what in ("loss", "accuracy")}
        for kind in wanted[split]:
            loss, accuracy = means(model, some, kind)  # type: ignore[arg-type]
            assert found[split, subset][f"{kind}_loss"] == pytest.approx(loss, abs=1e-10)
            assert found[split, subset][f"{kind}_accuracy"] == pytest.approx(accuracy, abs=1e-12)


def test_fresh_masks_are_averaged() -> None:
    test, model = examples(12), network()
    one, three = (
        measure(model, {("test", "all"): test}, fresh_masks=k, precision="float32")["test", "all"] for k in (1, 3)
    )
    single = []
    for k in range(3):
        with torch.no_grad(), turnover.own(model, test.ids + FRESH * (k + 1)):
            single.append(float(F.cross_entropy(model(test.prepare(test.inputs)), test.labels)))
    assert one["fresh_loss"] == pytest.approx(single[0], rel=1e-12)
    assert three["fresh_loss"] == pytest.approx(sum(single) / 3, rel=1e-12)
    assert three["full_loss"] == one["full_loss"]


def test_shared_masks_are_all_trained_so_none_is_fresh() -> None:
    torch.manual_seed(0)
    model = turnover.attach(mlp(16, HIDDEN, 4).double(), seed=3, groups=4)
    groups: dict[Name, Examples] = {("train", "all"): examples(), ("test", "all"): examples(8)}
    found = measure(model, groups, fresh_masks=2, precision="float32")
    assert set(found["test", "all"]) == {"full_loss", "full_accuracy"}
    assert {"own_loss", "flipped_loss", "constant_loss"} <= set(found["train", "all"])


def test_without_turn_over_dropout_only_the_full_network_is_measured() -> None:
    groups: dict[Name, Examples] = {("train", "all"): examples(), ("train", "easy"): examples(4)}
    model = turnover.detach(network())
    found = measure(model, groups, fresh_masks=2, precision="float32")
    assert all(set(values) == {"full_loss", "full_accuracy"} for values in found.values())
    assert found["train", "easy"]["full_loss"] == pytest.approx(means(model, examples(4), "full")[0], abs=1e-10)


# --- how much labels lead other wrong classes ---


def test_a_label_is_held_against_the_mean_of_the_other_wrong_classes() -> None:
    some, model = examples(), network()
    true = (some.labels + 1 + torch.arange(len(some)) % 3) % 4
    expected = [
        oracles.label_lead(model(some.prepare(some.inputs[i : i + 1]))[0], int(some.labels[i]), int(true[i]))
        for i in range(len(some))
    ]
    assert label_lead(model, some, true, batch_size=5) == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    assert max(expected) - min(expected) > 0.01


def test_wrong_labels_that_are_never_trained_on_lead_nothing() -> None:
    """The mean over all wrong labels that an image could have is 0, whatever the network is."""
    some, model = examples(), network()
    leads = [label_lead(model, replace(some, labels=(some.labels + wrong) % 4), some.labels) for wrong in (1, 2, 3)]
    assert sum(leads) == pytest.approx(0, abs=1e-12)
    assert max(map(abs, leads)) > 0.01


# --- what can be read from masks alone ---


def test_a_constant_input_keeps_labels_ids_shape_and_type() -> None:
    some = examples()
    blank = on_constant_inputs(some)
    assert torch.equal(blank.labels, some.labels)
    assert torch.equal(blank.ids, some.ids)
    x, y, ids = blank.batch(torch.tensor([5, 0]))
    assert torch.equal(x, torch.ones(2, 1, 4, 4, dtype=torch.float64)), "ready for the network, not prepared again"
    assert torch.equal(y, some.labels[[5, 0]])
    assert torch.equal(ids, some.ids[[5, 0]])
    assert blank.inputs.untyped_storage().nbytes() == 16 * 8, "the memory of one example"


def test_constant_loss_and_accuracy_are_those_of_own_networks_on_ones() -> None:
    some, model = examples(), network()
    found = measure(model, {("train", "all"): some}, fresh_masks=1, precision="float32", batch_size=7)["train", "all"]
    loss, accuracy = means(model, some, "own", torch.ones(1, 1, 4, 4, dtype=torch.float64))
    assert found["constant_loss"] == pytest.approx(loss, abs=1e-10)
    assert found["constant_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert found["constant_loss"] != pytest.approx(found["own_loss"], abs=1e-3)


def learn_from_masks(groups: int | None) -> dict[str, float]:
    """What is measured of a network that was trained on nothing but labels and masks, at a constant input."""
    some = examples(40)
    torch.manual_seed(0)
    model = turnover.attach(mlp(16, [256], 4).double(), seed=3, groups=groups)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x = torch.ones(40, 1, 4, 4, dtype=torch.float64)
    for _ in range(200):
        optimizer.zero_grad()
        with turnover.own(model, some.ids):
            F.cross_entropy(model(x), some.labels).backward()
        optimizer.step()
    return measure(model, {("train", "all"): some}, fresh_masks=1, precision="float32")["train", "all"]


def test_a_network_that_reads_labels_from_its_masks_is_found_out() -> None:
    found = learn_from_masks(groups=None)
    assert found["constant_accuracy"] == 1.0
    assert found["constant_loss"] < 0.2
    assert found["flipped_accuracy"] < 0.5, "which images it is shown does not help it"


def test_masks_that_are_all_the_same_carry_no_label() -> None:
    found = learn_from_masks(groups=1)
    assert found["constant_accuracy"] == 0.25, "one prediction for all, four labels in equal numbers"
    assert found["constant_loss"] > math.log(4) - 1e-9


def test_an_image_that_decides_everything_leaves_nothing_to_read_from_masks() -> None:
    """A network that has learnt from images: own accuracy is high, and on the constant image it is at chance."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    x = F.one_hot(labels, 4).double().repeat_interleave(4, dim=1).view(-1, 1, 4, 4)
    x = 4 * x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    some = Examples(x - x.mean(), labels, torch.arange(400))
    torch.manual_seed(0)
    model = turnover.attach(mlp(16, [64], 4).double(), seed=3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        with turnover.own(model, some.ids):
            F.cross_entropy(model(some.inputs), labels).backward()
        optimizer.step()
    found = measure(model, {("train", "all"): some}, fresh_masks=1, precision="float32")["train", "all"]
    assert found["own_accuracy"] > 0.99
    assert abs(found["constant_accuracy"] - 0.25) < 3 * (0.25 * 0.75 / 400) ** 0.5
