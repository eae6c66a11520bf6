"""The leakage verdict, and the probe that swaps images, against one image at a time."""

import oracles
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.examples import Examples
from turnover.models.mlp import mlp
from turnover.scores import leakage as module
from turnover.scores.leakage import _partners, _spread, judge, leakage, swap_probe
from turnover.scores.turnover import score_examples

CPU = torch.device("cpu")


# --- the verdict ---


@pytest.mark.parametrize(
    ("own", "flipped", "mask", "image", "expected"),
    [
        (0.98, 0.97, 0.00, 0.97, "none"),
        (0.55, 0.083, 0.50, 0.05, "leakage"),
        (0.55, 0.30, 0.40, 0.39, "leakage"),  # flipped ones work a little, and still masks tell more than images
        (0.55, 0.30, 0.39, 0.40, "none"),
        (0.55, 0.30, 0.40, 0.40, "none"),
        (0.55, 0.083, 0.05, 0.50, "flipped at chance"),
        (0.55, 0.108, 0.05, 0.50, "flipped at chance"),  # 3 standard errors of 10,000 examples are 0.009
        (0.55, 0.110, 0.05, 0.50, "none"),
        (0.108, 0.30, 0.50, 0.05, "not fitted"),  # without an own network that works nothing can be told
        (0.110, 0.30, 0.50, 0.05, "leakage"),
    ],
)
def test_verdicts(own: float, flipped: float, mask: float, image: float, expected: str) -> None:
    found = leakage(own, flipped, chance=0.1, examples=10_000, mask_accuracy=mask, image_accuracy=image)
    assert found.verdict == expected
    assert (found.own_accuracy, found.flipped_accuracy, found.chance) == (own, flipped, 0.1)
    loud = {"none": "no sign", "leakage": "MASK LEAKAGE", "flipped at chance": "FLIPPED", "not fitted": "NOT FITTED"}
    assert found.message().startswith(loud[expected])
    assert all(f"{number:.3f}" in found.message() for number in (own, flipped, 0.1, mask, image))
    assert found.as_dict()["message"] == found.message()


def test_a_small_sample_needs_more_to_be_above_chance() -> None:
    swaps = {"mask_accuracy": 0.0, "image_accuracy": 0.2}
    assert leakage(0.2, 0.15, 0.1, 100_000, **swaps).verdict == "none"
    assert leakage(0.2, 0.15, 0.1, 60, **swaps).verdict == "not fitted"


def test_a_network_that_only_guesses_the_frequent_label_does_not_look_sound() -> None:
    assert leakage(1.0, 0.856, 0.899, 1000, mask_accuracy=0.0, image_accuracy=0.5).verdict == "flipped at chance"


# --- the probe ---


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_partners_are_a_permutation_and_have_other_labels_where_they_can(labels: list[int]) -> None:
    y = torch.tensor(labels)
    partner = _partners(y)
    assert sorted(partner.tolist()) == list(range(len(labels)))
    same = int((y[partner] == y).sum())
    most = max(labels.count(label) for label in labels)
    assert same == max(0, 2 * most - len(labels)), "as few as there must be"


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


def test_the_probe_runs_each_image_through_the_own_network_of_its_partner() -> None:
    some = examples()
    model = fit(network(), some, some.inputs)
    partner = _partners(some.labels)
    of_mask, of_image, counted = 0, 0, 0
    for i, j in enumerate(partner.tolist()):
        own_mask = turnover.mask(some.ids[i : i + 1], 256, 0, 3)[0]
        logits = oracles.cut_out(model, [own_mask], flipped=False, p=0.5)(some.inputs[j : j + 1])[0]
        if some.labels[i] != some.labels[j]:
            counted += 1
            of_mask += int(logits.argmax() == some.labels[i])
            of_image += int(logits.argmax() == some.labels[j])
    assert counted == 80
    assert swap_probe(model, some, batch_size=7) == pytest.approx((of_mask / counted, of_image / counted))


def test_a_network_that_sees_the_images_follows_the_image() -> None:
    some = examples()
    model = fit(network(), some, some.inputs)
    of_mask, of_image = swap_probe(model, some)
    assert of_image > 0.95
    assert of_mask < 0.05
    assert judge(model, some, score_examples(model, some)).verdict == "none"


def test_a_network_that_reads_its_masks_follows_the_mask() -> None:
    some = examples(images=False)
    model = fit(network(), some, torch.zeros_like(some.inputs))
    of_mask, of_image = swap_probe(model, some)
    assert of_mask > 0.8
    assert of_image < 0.2
    found = judge(model, some, score_examples(model, some))
    assert found.verdict == "leakage"
    assert (found.mask_accuracy, found.image_accuracy) == (of_mask, of_image)


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
    assert swap_probe(network(), alike) == (0.0, 0.0)


def test_pairs_of_one_label_are_not_counted() -> None:
    """Three in four examples have one label: only swaps between labels count."""
    some = examples()
    labels = (torch.arange(80) % 4 == 0).long()
    skewed = Examples(some.inputs, labels, some.ids)
    model = fit(network(), skewed, F.one_hot(labels, 16).double() * 4)
    shares = swap_probe(model, Examples(F.one_hot(labels, 16).double() * 4, labels, some.ids))
    assert shares == (0.0, 1.0)


def test_only_some_of_many_examples_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBED", 20)
    some = examples()
    model = fit(network(), some, some.inputs)
    assert swap_probe(model, some) == swap_probe(model, some.select(torch.arange(0, 80, 4)))
