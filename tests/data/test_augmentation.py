"""Images moved and mirrored, against slices of a padded copy; what is augmented in a run and what is not."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from digits import digits
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest, chisquare
from torch import Tensor
from torchvision.transforms import v2

import turnover
from turnover.common.seeding import stream
from turnover.config.training_options import CropAugmentation, NoAugmentation, TorchvisionAugmentation
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.data.augmentation import augmented, crop
from turnover.errors import RefusedInput
from turnover.runs.build import RunTask, build
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_metrics, read_scores


def padded(image: Tensor, pad: int) -> Tensor:
    """One image in the middle of a larger black one.  # [channels, height, width]"""
    channels, height, width = image.shape
    larger = image.new_zeros(channels, height + 2 * pad, width + 2 * pad)
    larger[:, pad : pad + height, pad : pad + width] = image
    return larger


def windows(image: Tensor, pad: int) -> list[Tensor]:
    """Every window of its size of a padded image, row by row."""
    _, height, width = image.shape
    larger, places = padded(image, pad), range(2 * pad + 1)
    return [larger[:, top : top + height, left : left + width] for top, left in itertools.product(places, places)]


def moved(images: Tensor, pad: int, *, flip: bool) -> Tensor:
    """`crop`, one image at a time: the numbers that it draws, then slices."""
    n = len(images)
    down, right = (torch.randint(2 * pad + 1, (n, 1)).flatten().tolist() for _ in range(2))
    mirrored = (torch.rand((n, 1)) < 0.5).flatten().tolist() if flip else [False] * n
    found = []
    for image, top, left, turned in zip(images, down, right, mirrored, strict=True):
        window = windows(image, pad)[top * (2 * pad + 1) + left]
        found.append(torch.stack([row.flip(-1) for row in window.unbind(1)], dim=1) if turned else window)
    return torch.stack(found)


def photographs(n: int, shape: tuple[int, int, int] = (1, 4, 5), dtype: torch.dtype = torch.uint8) -> Tensor:
    """Random images without a black pixel."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (n, *shape), generator=generator).to(dtype)


# --- images ---


@given(
    st.integers(1, 7),
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([torch.uint8, torch.float32, torch.float64]),
    st.integers(0, 2**32),
)
def test_crops_are_slices_of_padded_copies(
    n: int, shape: tuple[int, int, int], pad: int, flip: bool, dtype: torch.dtype, seed: int
) -> None:
    images = photographs(n, shape, dtype)
    before = images.clone()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = crop(images, pad, flip=flip)
        torch.manual_seed(seed)
        expected = moved(images, pad, flip=flip)
    assert torch.equal(found, expected)
    assert (found.dtype, found.shape) == (dtype, images.shape)
    assert torch.equal(images, before)


@pytest.mark.parametrize("pad", [1, 2])
def test_every_move_up_to_the_padding_is_as_likely_and_none_is_larger(pad: int) -> None:
    torch.manual_seed(0)
    n, side = 5000, 2 * pad + 1
    images = torch.zeros(n, 1, side, side, dtype=torch.uint8)
    images[:, :, pad, pad] = 1  # one bright pixel, which never leaves the image
    found = crop(images, pad, flip=False).flatten(1)
    assert bool((found.sum(1) == 1).all())
    counts = np.bincount(found.argmax(1).numpy(), minlength=side**2)
    assert counts.min() > 0
    assert chisquare(counts).pvalue > 1e-3


def test_half_of_the_images_are_mirrored_whatever_their_move() -> None:
    torch.manual_seed(0)
    images = photographs(1, (2, 3, 4)).expand(4000, -1, -1, -1)
    found = crop(images, 0, flip=True)
    turned = (found == images[0].flip(-1)).flatten(1).all(1)
    assert bool((turned | (found == images[0]).flatten(1).all(1)).all())
    assert binomtest(int(turned.sum()), 4000, 0.5).pvalue > 1e-3
    assert bool((crop(images, 0, flip=False) == images).all())


def test_the_images_of_a_batch_are_moved_each_its_own_way() -> None:
    torch.manual_seed(0)
    images = photographs(1).expand(2000, -1, -1, -1)
    assert len(crop(images, 2, flip=True).unique(dim=0)) == 2 * 5 * 5


# --- transforms of torchvision ---

NOISE = {"name": "GaussianNoise", "sigma": 0.2}


def torchvision(*transforms: dict[str, Any]) -> TorchvisionAugmentation:
    return TorchvisionAugmentation(name="torchvision", transforms=list(transforms))


def test_every_image_is_transformed_by_itself() -> None:
    images = photographs(40, (3, 8, 8))
    found = augmented(some_of(images), torchvision({"name": "RandomCrop", "size": [8, 8], "padding": 2}, NOISE))
    crop_by_hand, noise = v2.RandomCrop([8, 8], padding=2), v2.GaussianNoise(sigma=0.2)
    torch.manual_seed(3)
    expected = torch.stack([noise(crop_by_hand(image)) for image in images])
    torch.manual_seed(3)
    assert torch.equal(found.batch(torch.arange(40))[0], expected)
    assert not torch.equal(found.batch(torch.arange(40))[0], expected), "anew every time"


def test_half_of_the_images_of_a_batch_are_mirrored_by_torchvision() -> None:
    images = photographs(1, (2, 3, 4)).expand(2000, -1, -1, -1)
    torch.manual_seed(0)
    found = augmented(some_of(images), torchvision({"name": "RandomHorizontalFlip"})).batch(torch.arange(2000))[0]
    turned = (found == images[0].flip(-1)).flatten(1).all(1)
    assert bool((turned | (found == images[0]).flatten(1).all(1)).all())
    assert binomtest(int(turned.sum()), 2000, 0.5).pvalue > 1e-3


def some_of(images: Tensor) -> Examples:
    n = len(images)
    return Examples(images, torch.zeros(n, dtype=torch.int64), torch.arange(n))


@pytest.mark.parametrize(
    ("transforms", "parts"),
    [
        ([{"name": "RandomFlip"}], ["'RandomFlip' is no transform of torchvision.transforms.v2", "did you mean"]),
        ([{"name": "functional.hflip"}], ["'functional.hflip' is no transform"]),
        ([{"name": "Transform"}], ["'Transform' is no transform"]),
        ([{"name": "query_size"}], ["'query_size' is no transform"]),
        ([{"name": "InterpolationMode"}], ["'InterpolationMode' is no transform"]),
        ([{"name": ["RandomCrop"]}], ["['RandomCrop'] is no transform"]),
        ([{"p": 0.5}], ["None is no transform"]),
        ([{"name": "RandomCrop"}], ["RandomCrop: ", "size"]),
        ([{"name": "RandomHorizontalFlip", "p": 7}], ["RandomHorizontalFlip: ", "interval"]),
        ([{"name": "RandomHorizontalFlip", "q": 7}], ["RandomHorizontalFlip: ", "'q'"]),
        ([{"name": "Compose", "transforms": ["RandomCrop"]}, {"name": "nothing"}], ["'nothing' is no transform"]),
        ([], ["at least 1 item"]),
    ],
)
def test_what_is_no_transform_is_refused(transforms: list[dict[str, Any]], parts: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        torchvision(*transforms)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ({"name": "RandomCrop", "size": 4}, r"an image of \(3, 8, 8\).* becomes one of \(3, 4, 4\)"),
        ({"name": "Grayscale"}, r"becomes one of \(1, 8, 8\)"),
        ({"name": "RandomCrop", "size": 9}, "larger than"),
        ({"name": "Normalize", "mean": [0.5], "std": [0.5]}, "float"),
    ],
)
def test_a_transform_that_does_not_suit_the_images_is_refused(transform: dict[str, Any], said: str) -> None:
    examples = augmented(some_of(photographs(3, (3, 8, 8))), torchvision(transform))
    with pytest.raises(RefusedInput, match=f"augmentation.transforms: .*{said}"):
        examples.batch(torch.arange(3))


# --- examples ---


def some(n: int = 30) -> Examples:
    labels = torch.arange(n) % 3
    return Examples(photographs(n), labels, torch.arange(n) * 7, lambda images: images.float() * 2 + 1)


def test_without_augmentation_the_examples_are_the_same_object() -> None:
    examples = some()
    assert augmented(examples, NoAugmentation(name="none")) is examples


def test_augmented_examples_differ_in_their_prepared_images_alone() -> None:
    examples = some()
    prepare = examples.prepare
    found = augmented(examples, CropAugmentation(name="crop", pad=1, flip=False))
    index = torch.tensor([4, 0, 29, 7])
    plain, labels, ids = examples.batch(index)
    torch.manual_seed(2)
    images, found_labels, found_ids = found.batch(index)
    torch.manual_seed(2)
    assert torch.equal(images, moved(examples.inputs[index], 1, flip=False).float() * 2 + 1), "black is a stored 0"
    assert not torch.equal(images, plain)
    assert torch.equal(labels, found_labels)
    assert torch.equal(ids, found_ids)
    assert found.inputs is examples.inputs
    assert examples.prepare is prepare
    assert torch.equal(examples.batch(index)[0], plain)
    assert not torch.equal(found.batch(index)[0], found.batch(index)[0]), "anew every time"


# --- runs ---

CROP = CropAugmentation(name="crop", pad=2, flip=True)
AUGMENTED = ("augmentation=crop", "augmentation.flip=true", "dataset.limit=200", "model.hidden=[32]", "batch_size=64")


def by_hand(parts: RunTask, seed: int, epochs: int, lr: float) -> None:
    """Train the network of a run on images that are moved one at a time."""
    examples = parts.train
    for epoch in range(1, epochs + 1):
        generator = torch.Generator().manual_seed(stream(seed, "order", epoch))
        order = torch.randperm(len(examples), generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(stream(seed, "noise", epoch))
            for index in order.split(64):
                x = examples.prepare(moved(examples.inputs[index], 2, flip=True))
                with turnover.own(parts.model, examples.ids[index]):
                    loss = torch.nn.functional.cross_entropy(parts.model(x), examples.labels[index])
                found = torch.autograd.grad(loss, list(parts.model.parameters()))
                with torch.no_grad():
                    for parameter, gradient in zip(parts.model.parameters(), found, strict=True):
                        parameter.sub_(lr * gradient)


def test_a_run_trains_on_moved_images_and_scores_and_measures_those_that_are_not() -> None:
    config = digits(*AUGMENTED, "epochs=2", "optimizer.momentum=0.0", "optimizer.lr=0.1")
    assert config.augmentation == CROP
    folder = execute(config)
    parts = build(config, torch.device("cpu"))
    by_hand(parts, config.seed, 2, 0.1)
    stored = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    for name, parameter in parts.model.named_parameters():
        assert torch.allclose(parameter, stored[name], rtol=1e-4, atol=1e-6), name
    parts.model.load_state_dict(stored)
    plain = parts.dataset.train
    of_images = Examples(parts.dataset.inputs(plain.images), plain.labels, plain.ids)
    its_own, turned = evaluate(parts.model, of_images, (own_units, flipped_units))
    table = read_scores(folder)
    np.testing.assert_allclose(table["own_loss"], its_own.loss, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table["flipped_loss"], turned.loss, rtol=1e-5, atol=1e-6)
    metrics = read_metrics(folder).set_index(["epoch", "split", "metric"])["value"]
    assert metrics[2, "train", "own_loss"] == pytest.approx(float(its_own.loss.mean()), rel=1e-5)
