"""The leakage verdict, and the probe that swaps images, against one image at a time."""

from contextlib import nullcontext

import oracles
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.core.examples import Examples
from turnover.estimators import leakage as module
from turnover.estimators.leakage import Swap, _spread, judge, leakage, swap_probe
from turnover.estimators.score import score_examples
from turnover.models.mlp import mlp

CPU = torch.device("cpu")


# --- the verdict ---


@pytest.mark.parametrize(
    ("own", "flipped", "mask", "image", "expected"),
    [
        (0.98, 0.97, 0.00, 0.97, "none"),
        (0.55, 0.083, 0.50, 0.05, "leakage"),
        (0.55, 0.30, 0.40, 0.39, "leakage"),  # flipped ones work a little, and still masks tell more than images
        (0.55, 0.30, 0.39, 0.40, "partial leakage"),
        (0.55, 0.30, 0.40, 0.40, "partial leakage"),
        (0.55, 0.30, 0.083, 0.40, "partial leakage"),  # 3 standard errors of 2,000 swaps are 0.028 here
        (0.55, 0.30, 0.073, 0.40, "none"),
        (0.55, 0.083, 0.05, 0.50, "flipped at chance"),
        (0.55, 0.108, 0.05, 0.50, "flipped at chance"),  # 3 standard errors of 10,000 examples are 0.009
        (0.55, 0.110, 0.05, 0.50, "none"),
        (0.108, 0.30, 0.50, 0.05, "not fitted"),  # without an own network that works nothing can be told
        (0.110, 0.30, 0.50, 0.05, "leakage"),
    ],
)
def test_verdicts(own: float, flipped: float, mask: float, image: float, expected: str) -> None:
    found = leakage(own, flipped, chance=0.1, examples=10_000, swap=Swap(mask, image, 0.05, 2000))
    assert found.verdict == expected
    assert (found.own_accuracy, found.flipped_accuracy, found.chance) == (own, flipped, 0.1)
    loud = {"none": "no sign", "leakage": "MASK LEAKAGE", "partial leakage": "PARTIAL MASK LEAKAGE"}
    assert found.message().startswith(loud.get(expected, expected.upper()))
    assert all(f"{number:.3f}" in found.message() for number in (own, flipped, 0.1, mask, image, 0.05))
    assert found.as_dict()["message"] == found.message()


def test_a_small_sample_needs_more_to_be_above_chance() -> None:
    swap = Swap(0.05, 0.2, 0.05, 2000)
    assert leakage(0.2, 0.15, 0.1, 100_000, swap).verdict == "none"
    assert leakage(0.2, 0.15, 0.1, 60, swap).verdict == "not fitted"
    for swaps, verdict in ((2000, "partial leakage"), (200, "none"), (0, "none")):
        assert leakage(0.9, 0.5, 0.1, 10_000, Swap(0.1, 0.5, 0.05, swaps)).verdict == verdict


@pytest.mark.parametrize(
    ("own", "flipped", "flipped_alone", "expected"),
    [
        (0.9, 0.8, 0, "none"),
        (0.9, 0.9, 0, "none"),  # all alike: nothing is memorized, and nothing is wrong
        (0.9, 0.8, 50, "none"),  # 150 against 50: a difference of 100, and 3 standard errors are 42
        (0.9, 0.8, 600, "no difference"),  # 700 against 600: 3 standard errors are 108
        (0.8, 0.9, 100, "no difference"),
        (0.101, 0.101, 10, "not fitted"),
    ],
)
def test_own_sub_networks_must_know_more(own: float, flipped: float, flipped_alone: int, expected: str) -> None:
    found = leakage(own, flipped, 0.1, 1000, Swap(0.05, 0.5, 0.05, 2000), flipped_alone=flipped_alone)
    assert found.verdict == expected


@pytest.mark.parametrize("ids", ["none", "of the batch"])
def test_training_outside_own_is_noticed(ids: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(600, 16)
    y = (x[:, :4].argmax(1) + (torch.rand(600) < 0.2) * torch.randint(1, 4, (600,))) % 4
    model = turnover.attach(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)), p=0.5, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(30):
        for batch in torch.randperm(600).split(64):
            around = turnover.own(model, torch.arange(len(batch))) if ids == "of the batch" else nullcontext()
            with around:
                loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    table = turnover.score(model, x, y, torch.arange(600))
    assert table.attrs["leakage"]["verdict"] == "no difference"
    assert "turnover.own" in table.attrs["leakage"]["message"]


def test_a_network_that_only_guesses_the_frequent_label_does_not_look_sound() -> None:
    assert leakage(1.0, 0.856, 0.899, 1000, Swap(0.0, 0.5, 0.0, 300)).verdict == "flipped at chance"


# --- the probe ---


@given(st.integers(1, 5000), st.integers(1, 300))
def test_probed_examples_are_spread(n: int, most: int) -> None:
    found = _spread(n, most, CPU)
    assert 1 <= len(found) <= most
    assert len(set(found.diff().tolist())) <= 1
    assert len(found) > min(n, most) / 2
    assert int(found[0]) == 0
    assert int(found[-1]) + int(found[:2].diff().sum()) >= n or len(found) in (1, n)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return turnover.attach(mlp(16, [256], 4).double(), seed=3)


def examples(n: int = 80, *, images: bool = True) -> Examples:
    """Examples of four classes whose images show their label, or are noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (n,), generator=generator)
    x = 0.3 * torch.randn(n, 16, generator=generator, dtype=torch.float64)
    if images:
        x = x + F.one_hot(labels, 4).double().repeat_interleave(4, dim=1)
    return Examples(x, labels, torch.randperm(10**6, generator=generator)[:n])


def fit(model: nn.Sequential, some: Examples, x: Tensor) -> nn.Sequential:
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(120):
        optimizer.zero_grad()
        with turnover.own(model, some.ids):
            F.cross_entropy(model(x), some.labels).backward()
        optimizer.step()
    return model


def test_the_probe_runs_each_image_through_the_own_network_of_another_example() -> None:
    some = examples()
    model = fit(network(), some, some.inputs)
    generator = torch.Generator().manual_seed(0)
    image, bystander = (torch.randperm(80, generator=generator).tolist() for _ in range(2))
    labels = some.labels.tolist()
    of_mask, of_image, of_bystander, counted = 0, 0, 0, 0
    for i in range(80):
        own_mask = turnover.mask(some.ids[i : i + 1], 256, 0, 3)[0]
        shown, aside = labels[image[i]], labels[bystander[i]]
        if shown in (labels[i], aside):
            continue
        logits = oracles.cut_out(model, [own_mask], flipped=False, p=0.5)(some.inputs[image[i] : image[i] + 1])[0]
        said = int(logits.argmax())
        counted += 1
        of_mask += said == labels[i]
        of_image += said == shown
        of_bystander += said == aside
    found = swap_probe(model, some, batch_size=7)
    assert found.swaps == counted > 30
    shares = (found.mask_accuracy, found.image_accuracy, found.bystander_accuracy)
    assert shares == pytest.approx((of_mask / counted, of_image / counted, of_bystander / counted))


def test_a_network_that_sees_the_images_follows_the_image() -> None:
    some = examples()
    model = fit(network(), some, some.inputs)
    found = swap_probe(model, some)
    assert found.image_accuracy > 0.95
    assert found.mask_accuracy < 0.05
    assert judge(model, some, score_examples(model, some)).verdict == "none"


def test_a_network_that_reads_its_masks_follows_the_mask() -> None:
    some = examples(images=False)
    model = fit(network(), some, torch.zeros_like(some.inputs))
    swap = swap_probe(model, some)
    assert swap.mask_accuracy > 0.8
    assert swap.image_accuracy < 0.2
    assert swap.bystander_accuracy < 0.5, "a third of the bystanders happen to have the label of the mask"
    found = judge(model, some, score_examples(model, some))
    assert found.verdict == "leakage"
    assert found.swap == swap


def test_masks_that_tell_a_little_are_partial_leakage() -> None:
    """Images so faint that masks are learnt along with them."""
    some = examples(500)
    some = Examples(0.04 * some.inputs, some.labels, some.ids)
    model = fit(network(), some, some.inputs)
    found = judge(model, some, score_examples(model, some))
    assert found.swap.image_accuracy > found.swap.mask_accuracy > found.swap.bystander_accuracy
    assert found.verdict == "partial leakage"


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_masks_of_examples_that_were_never_trained_tell_nothing(seed: int) -> None:
    """Unbalanced labels, a network that errs: the mask's label and a bystander's are heard equally often."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0.1, 0.2, 0.7]).multinomial(600, replacement=True, generator=generator)
    some = Examples(torch.randn(600, 16, generator=generator, dtype=torch.float64), labels, torch.arange(600) + seed)
    found = swap_probe(network(seed), some)
    both = found.mask_accuracy + found.bystander_accuracy
    assert abs(found.mask_accuracy - found.bystander_accuracy) <= 4.5 * (both / found.swaps) ** 0.5 + 1e-12


def test_the_verdict_is_about_the_table() -> None:
    some = examples()
    model = fit(network(), some, some.inputs)
    table = score_examples(model, some)
    found = judge(model, some, table)
    assert found.own_accuracy == (table["own_prediction"] == table["label"]).mean()
    assert found.flipped_accuracy == (table["flipped_prediction"] == table["label"]).mean()
    assert found.chance == pytest.approx(int(some.labels.bincount().max()) / 80)


def test_equal_labels_cannot_be_swapped() -> None:
    some = examples()
    alike = Examples(some.inputs, torch.ones_like(some.labels), some.ids)
    assert swap_probe(network(), alike) == Swap(0.0, 0.0, 0.0, 0)
    assert not swap_probe(network(), alike).mask_tells


def test_pairs_of_one_label_are_not_counted() -> None:
    """Three in four examples have one label: only swaps between labels count."""
    some = examples()
    labels = (torch.arange(80) % 4 == 0).long()
    skewed = Examples(some.inputs, labels, some.ids)
    model = fit(network(), skewed, F.one_hot(labels, 16).double() * 4)
    found = swap_probe(model, Examples(F.one_hot(labels, 16).double() * 4, labels, some.ids))
    # of two labels the bystander's is that of the mask, so that nothing can be told from it
    assert (found.mask_accuracy, found.image_accuracy, found.bystander_accuracy) == (0.0, 1.0, 0.0)
    assert 8 < found.swaps < 30


def test_only_some_of_many_examples_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBED", 20)
    some = examples()
    model = fit(network(), some, some.inputs)
    assert swap_probe(model, some) == swap_probe(model, some.select(torch.arange(0, 80, 4)))
