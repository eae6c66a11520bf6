"""Datasets: the published numbers, permanent ids, balanced subsets, normalisation, an untouched test split."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnover.config.datasets import DATASETS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.data.datasets import Dataset, Split, balanced_subset, load
from turnover.errors import RefusedInput


def dataset(name: str = "digits", corrupted: int = 0, corruption_seed: int = 0, **changes: Any) -> Dataset:
    whole = {"limit": None, "test_limit": None, "include_test": False, "normalization": "standard", "seed": 0}
    config = DatasetConfig(**{"name": name, **whole, **changes})
    return load(config, CorruptionConfig(count=corrupted, seed=corruption_seed, kind="random", path=None, sizes=[]))


def same(first: Split, second: Split) -> bool:
    names = ("images", "labels", "true_labels", "corrupted", "ids")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.mark.parametrize("name", list(DATASETS))
def test_shapes_types_and_normalisation(name: str) -> None:
    data, info = dataset(name), DATASETS[name]
    for split, size, first in ((data.train, info.train, 0), (data.test, info.test, info.train)):
        assert len(split) == size
        assert split.images.shape == (size, *info.shape)
        assert split.images.is_contiguous()
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == split.true_labels.dtype == split.ids.dtype == torch.int64
        assert split.corrupted.dtype == torch.bool
        assert torch.equal(split.ids, torch.arange(first, first + size))
        assert torch.equal(split.labels, split.true_labels)
        assert not split.corrupted.any()
        assert split.labels.unique().tolist() == list(range(info.classes))
    inputs = data.inputs(data.train.images)
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs.double().mean((0, 2, 3)), torch.zeros(info.shape[0]).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.double().var((0, 2, 3)), torch.ones(info.shape[0]).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_unit_normalisation_fills_the_unit_interval(name: str) -> None:
    data = dataset(name, normalization="unit")
    inputs = data.inputs(data.train.images)
    assert (float(inputs.min()), float(inputs.max())) == (0, 1)
    full = 16 if name == "digits" else 255
    torch.testing.assert_close(inputs, data.train.images.float() / full)


def test_known_facts_of_mnist() -> None:
    data = dataset("mnist")
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels = data.train.images.double() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=1e-4)
    assert float(1 / (255 * data.scale)) == pytest.approx(0.3081, abs=1e-4)
    assert float(-data.shift / data.scale / 255) == pytest.approx(0.1307, abs=1e-4)


def test_known_facts_of_cifar10() -> None:
    data = dataset("cifar10")
    assert data.train.labels.bincount().tolist() == [5000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    mean, std = (-data.shift / data.scale / 255).flatten(), (1 / data.scale / 255).flatten()
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert std.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)
    assert [DATASETS["cifar10"].class_names[i] for i in data.train.labels[:3]] == ["frog", "truck", "truck"]


def test_known_facts_of_fashion_mnist() -> None:
    data = dataset("fashion_mnist")
    assert data.train.labels.bincount().tolist() == [6000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert DATASETS["fashion_mnist"].class_names[int(data.train.labels[0])] == "ankle boot"
    assert float(-data.shift / data.scale / 255) == pytest.approx(0.2860, abs=1e-4)


def test_cifar10_agrees_with_its_records() -> None:
    from turnover.data.fetch import data_root

    data = dataset("cifar10")
    record = (data_root() / "cifar-10-batches-bin" / "data_batch_3.bin").read_bytes()[3073 * 7 : 3073 * 8]
    assert record[0] == int(data.train.labels[20_007])
    assert record[1:] == data.train.images[20_007].numpy().tobytes()


def test_digits_are_scikit_learns_in_their_order() -> None:
    from sklearn.datasets import load_digits

    data, digits = dataset("digits"), load_digits()
    images = torch.cat([data.train.images, data.test.images])[:, 0].double().numpy()
    assert np.array_equal(images, digits.images)
    assert torch.cat([data.train.labels, data.test.labels]).tolist() == digits.target.tolist()


def test_a_limit_keeps_ids_and_the_constants_of_the_full_split() -> None:
    full, limited = dataset("mnist"), dataset("mnist", limit=1000)
    ids = limited.train.ids
    assert len(limited.train) == 1000
    assert torch.equal(ids, ids.unique())  # sorted, none twice
    assert same(limited.train, full.train.select(ids))
    assert limited.train.labels.bincount().tolist() == [100] * 10
    assert torch.equal(limited.scale, full.scale)
    assert torch.equal(limited.shift, full.shift)


def test_a_limit_of_the_test_split_keeps_ids_and_leaves_the_training_split() -> None:
    full, limited, both = dataset("mnist"), dataset("mnist", test_limit=500), dataset("mnist", test_limit=500, limit=9)
    ids = limited.test.ids
    assert len(limited.test) == 500
    assert torch.equal(ids, ids.unique())  # sorted, none twice
    assert same(limited.test, full.test.select(ids - 60_000))
    assert limited.test.labels.bincount().tolist() == [50] * 10
    assert same(limited.train, full.train)
    assert same(both.test, limited.test)
    assert torch.equal(limited.scale, full.scale)
    fewer = dataset("mnist", test_limit=100).test.ids.tolist()
    assert set(fewer) < set(ids.tolist())
    assert dataset("mnist", test_limit=100, seed=1).test.ids.tolist() != fewer


def test_included_test_examples_follow_the_training_examples() -> None:
    apart = dataset(limit=100, test_limit=40, corrupted=60)
    together = dataset(limit=100, test_limit=40, corrupted=60, include_test=True)
    assert len(together.train) == 140
    assert same(together.train.select(torch.arange(100)), apart.train)
    assert same(together.train.select(torch.arange(100, 140)), apart.test)
    assert same(together.test, apart.test)
    assert int(together.train.corrupted.sum()) == 60, "only training labels are replaced"
    assert not together.train.corrupted[100:].any()
    assert bool((together.train.ids[100:] >= 1500).all())
    assert len(together.train.ids.unique()) == 140


def test_the_seed_of_the_dataset_decides_the_subset() -> None:
    first, again, other = dataset(limit=200), dataset(limit=200), dataset(limit=200, seed=1)
    assert same(first.train, again.train)
    assert not torch.equal(first.train.ids, other.train.ids)
    assert same(dataset(limit=1500).train, dataset().train)


def test_corruption_comes_after_the_limit_and_touches_labels_only() -> None:
    clean, noisy = dataset(limit=500), dataset(limit=500, corrupted=200)
    assert int(noisy.train.corrupted.sum()) == 200
    assert torch.equal(noisy.train.true_labels, clean.train.labels)
    assert torch.equal(noisy.train.ids, clean.train.ids)
    assert torch.equal(noisy.train.images, clean.train.images)
    changed = noisy.train.labels != noisy.train.true_labels
    assert bool(noisy.train.corrupted[changed].all())
    assert 150 < int(changed.sum()) < 200
    assert not torch.equal(dataset(corrupted=200, corruption_seed=1).train.labels, dataset(corrupted=200).train.labels)


def test_the_test_split_is_never_touched() -> None:
    assert same(dataset(limit=100, corrupted=100).test, dataset().test)


def test_too_large_a_limit_or_count_is_refused() -> None:
    with pytest.raises(RefusedInput, match="1501"):
        dataset(limit=1501)
    with pytest.raises(RefusedInput, match="298"):
        dataset(test_limit=298)
    with pytest.raises(RefusedInput, match=r"corruption\.count = 101"):
        dataset(limit=100, corrupted=101)


def test_select_and_inputs_leave_the_dataset_as_it_is() -> None:
    data = dataset()
    before = data.train.images.clone()
    chosen = data.train.select(torch.tensor([7, 3, 3]))
    assert chosen.ids.tolist() == [7, 3, 3]
    assert torch.equal(chosen.images[1], before[3])
    chosen.images.zero_()
    data.inputs(data.train.images).zero_()
    assert torch.equal(data.train.images, before)


def test_pixels_that_are_already_floats_are_not_changed_in_place() -> None:
    data = dataset()
    pixels = data.train.images.float()
    assert torch.equal(data.inputs(pixels), data.inputs(data.train.images))
    assert torch.equal(pixels, data.train.images.float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("examples", "positions"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_positions_may_be_on_another_device(examples: str, positions: str) -> None:
    data = dataset()
    chosen = data.to(examples).train.select(torch.tensor([7, 3], device=positions))
    assert chosen.images.device.type == examples
    assert same(chosen.to("cpu"), data.train.select(torch.tensor([7, 3])))


def test_everything_goes_to_the_device() -> None:
    # Without a second device at hand, the meta device shows that nothing is left behind.
    data = dataset().to("meta")
    tensors = [data.scale, data.shift, *vars(data.train).values(), *vars(data.test).values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert data.inputs(data.train.images).device.type == "meta"
    assert dataset().train.to("meta").select(torch.tensor([1])).images.device.type == "meta"


def shares(counts: list[int], size: int) -> Counter[int]:
    """Sizes of the classes in a balanced choice, by pouring one example at a time into the emptiest open class."""
    taken = [0] * len(counts)
    for _ in range(size):
        emptiest = min((n, k) for k, n in enumerate(taken) if n < counts[k])[1]
        taken[emptiest] += 1
    return Counter(taken)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.data())
def test_a_subset_is_as_balanced_as_the_classes_allow(counts: list[int], data: st.DataObject) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    size, seed = data.draw(st.integers(0, len(labels))), data.draw(st.integers(0, 1000))
    chosen = balanced_subset(labels, size, seed)
    assert chosen.dtype == np.int64
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    taken = [int((labels[chosen] == 3 * k).sum()) for k in range(len(counts))]
    assert Counter(taken) == shares(counts, size)
    assert all(n <= bound for n, bound in zip(taken, counts, strict=True))
    assert np.array_equal(chosen, balanced_subset(torch.from_numpy(labels), size, seed))
    assert set(balanced_subset(labels, size // 2, seed)) <= set(chosen)


def test_a_subset_is_random_within_and_between_classes() -> None:
    labels = np.arange(30) % 3
    picked = np.bincount(np.concatenate([balanced_subset(labels, 10, seed) for seed in range(600)]), minlength=30)
    assert picked.sum() == 6000
    assert 150 < picked.min() <= picked.max() < 250  # 200 each; the tenth example comes from any of the classes
    extra = Counter(int(np.bincount(labels[balanced_subset(labels, 10, seed)]).argmax()) for seed in range(600))
    assert min(extra.values()) > 150
    unequal = np.repeat([0, 1], [5, 95])  # a large class is no more likely to give the odd one
    first = [int(unequal[balanced_subset(unequal, 1, seed)[0]]) for seed in range(200)]
    assert 65 < sum(first) < 135


def test_a_subset_has_a_stream_of_its_own_for_each_purpose() -> None:
    labels = np.arange(100) % 10
    first = balanced_subset(labels, 50, 0)
    assert np.array_equal(first, balanced_subset(labels, 50, 0, purpose="limit"))
    assert not np.array_equal(first, balanced_subset(labels, 50, 0, purpose="tracking"))
    assert not np.array_equal(first, balanced_subset(labels, 50, 1))


@pytest.mark.parametrize("size", [-1, 11])
def test_an_impossible_subset_is_refused(size: int) -> None:
    with pytest.raises(RefusedInput, match=f"subset of {size} examples: must be from 0 to 10"):
        balanced_subset(np.zeros(10, dtype=np.int64), size, 0)
