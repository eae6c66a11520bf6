"""Corrupted labels: exactly as many as asked for, uniform over the classes, and from a stream of their own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from turnover.common.seeding import numpy_generator
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.data.corruption import Kind, corrupt
from turnover.data.datasets import load
from turnover.errors import RefusedInput

KINDS: tuple[Kind, ...] = ("random", "symmetric", "pair")


def labels_of(n: int, classes: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(classes, size=n))


def test_new_classes_are_uniform_and_may_be_the_true_one() -> None:
    labels = labels_of(60_000, 10)
    new, corrupted = corrupt(labels, 10, 20_000, 0)
    assert chisquare(np.bincount(new[corrupted].numpy(), minlength=10)).pvalue > 1e-3
    for true_class in range(10):  # also among the examples of every single class
        drawn = new[corrupted & (labels == true_class)].numpy()
        assert chisquare(np.bincount(drawn, minlength=10)).pvalue > 1e-4
    kept = int((new[corrupted] == labels[corrupted]).sum())
    assert binomtest(kept, 20_000, 0.1).pvalue > 1e-3


def test_every_example_is_as_likely_to_be_chosen() -> None:
    chosen = sum(corrupt(torch.zeros(50, dtype=torch.int64), 10, 10, seed)[1].long() for seed in range(1000))
    assert isinstance(chosen, torch.Tensor)
    assert int(chosen.sum()) == 10_000
    # Without replacement, the counts vary less than the chi-square of independent draws by this factor.
    statistic = chisquare(chosen.numpy()).statistic / (1 - 10 / 50)
    assert 20 < statistic < 95  # 49 degrees of freedom: outside once in ten thousand


def test_the_seed_decides_and_nothing_else_does() -> None:
    labels = labels_of(1000, 10)
    first = corrupt(labels, 10, 500, 7)
    torch.manual_seed(5)
    np.random.default_rng(7).integers(10)
    numpy_generator(7, "limit").permutation(1000)
    again = corrupt(labels, 10, 500, 7)
    other = corrupt(labels, 10, 500, 8)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    # Its own stream: which are chosen says nothing about the first of another purpose's permutation.
    order = numpy_generator(7, "limit").permutation(1000)[:500]
    assert 200 < int(first[1][torch.from_numpy(order)].sum()) < 300


def test_the_labels_of_a_seed_never_change() -> None:
    # Finished runs were trained on these: if this fails, for example under another NumPy, they are no longer valid.
    new, corrupted = corrupt(torch.zeros(12, dtype=torch.int64), 10, 6, 0)
    assert new.tolist() == [0, 9, 0, 9, 2, 0, 2, 0, 0, 7, 0, 0]
    assert corrupted.long().tolist() == [1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("count", [-1, 11])
def test_an_impossible_count_is_refused(count: int) -> None:
    with pytest.raises(RefusedInput, match=rf"corruption\.count = {count}: must be from 0 to 10"):
        corrupt(torch.zeros(10, dtype=torch.int64), 10, count, 0)


# --- other kinds of wrong labels ---


@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_structure_of_every_kind(kind: Kind, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 60))
    classes = data.draw(st.integers(2, 12))
    larger = data.draw(st.integers(0, n))
    smaller = data.draw(st.integers(0, larger))
    seed = data.draw(st.integers(0, 2**62))
    labels = labels_of(n, classes)
    before = labels.clone()
    new, corrupted = corrupt(labels, classes, larger, seed, kind)
    assert torch.equal(labels, before)
    assert (new.dtype, corrupted.dtype) == (torch.int64, torch.bool)
    assert new.shape == corrupted.shape == labels.shape
    assert torch.equal(new[~corrupted], labels[~corrupted])
    assert torch.equal(corrupted, corrupt(labels, classes, larger, seed)[1]), "each kind chooses the same examples"
    assert n == 0 or (int(new.min()) >= 0 and int(new.max()) < classes)
    if kind != "random":
        assert bool((new[corrupted] != labels[corrupted]).all()), "every replaced label is wrong"
    few, few_mask = corrupt(labels, classes, smaller, seed, kind)
    assert int(few_mask.sum()) == smaller
    assert bool(corrupted[few_mask].all())
    assert torch.equal(few[few_mask], new[few_mask])


def test_a_symmetric_label_is_uniform_over_the_other_classes() -> None:
    labels = labels_of(60_000, 10)
    new, corrupted = corrupt(labels, 10, 20_000, 0, "symmetric")
    assert int(corrupted.sum()) == 20_000
    for true_class in range(10):
        counts = np.bincount(new[corrupted & (labels == true_class)].numpy(), minlength=10)
        assert counts[true_class] == 0
        assert chisquare(np.delete(counts, true_class)).pvalue > 1e-4


def test_a_label_of_a_pair_is_the_next_class() -> None:
    labels = torch.arange(5).repeat(4)
    new, corrupted = corrupt(labels, 5, 12, 1, "pair")
    following = {0: 1, 1: 2, 2: 3, 3: 4, 4: 0}
    assert new[corrupted].tolist() == [following[int(label)] for label in labels[corrupted]]
    assert set(labels[corrupted].tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(new[~corrupted], labels[~corrupted])


def test_symmetric_labels_of_a_seed_never_change() -> None:
    new, corrupted = corrupt(torch.zeros(12, dtype=torch.int64), 10, 6, 0, "symmetric")
    assert new.tolist() == [1, 9, 0, 9, 3, 0, 3, 0, 0, 7, 0, 0]
    assert corrupted.long().tolist() == [1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_data_are_corrupted_by_the_kind_of_their_config(kind: Kind) -> None:
    dataset = DatasetConfig(
        name="digits", limit=400, test_limit=None, include_test=False, normalization="standard", seed=0
    )
    clean = load(dataset, CorruptionConfig(count=0, seed=0, kind=kind, path=None, sizes=[]))
    found = load(dataset, CorruptionConfig(count=150, seed=3, kind=kind, path=None, sizes=[]))
    labels, corrupted = corrupt(clean.train.labels, 10, 150, 3, kind)
    assert torch.equal(found.train.labels, labels)
    assert torch.equal(found.train.corrupted, corrupted)
    assert torch.equal(found.train.true_labels, clean.train.labels)
    assert torch.equal(found.test.labels, clean.test.labels)
    changed = (found.train.labels != found.train.true_labels)[corrupted]
    assert (100 < int(changed.sum()) < 150) if kind == "random" else bool(changed.all())
