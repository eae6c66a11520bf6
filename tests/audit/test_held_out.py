"""Held-out predictions: exactly held out, what they know, and how many labels are wrong by them."""

import numpy as np
import pytest
import torch
from audits import config_of
from scipy.optimize import minimize

from turnover.audit.held_out import by_networks, by_regression, folds_of, networks_for
from turnover.audit.knowledge import Knowledge
from turnover.audit.labelled import Collection
from turnover.audit.ranking import ranked
from turnover.audit.wrong_share import WrongShare, wrong_share
from turnover.errors import RefusedInput


def blobs(n: int, classes: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    return (random.normal(size=(n, 8)) + apart * np.eye(classes, 8)[labels]).astype(np.float32), labels


def test_folds_divide_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 7, 3])
    fold = folds_of(labels, 5)
    for label, most in ((0, 10), (1, 2), (2, 1)):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.sum() == (labels == label).sum()
        assert counts.max() <= most
    assert np.bincount(fold).tolist() == [12] * 5


@pytest.mark.parametrize("by", ["regression", "networks"])
def test_the_label_of_an_example_does_not_reach_its_own_prediction(by: str) -> None:
    x, labels = blobs(60, 3, 2.0)
    fold = folds_of(labels, 3)
    config = config_of("data", "model=mlp", "model.hidden=[8]", "epochs=3", "batch_size=16")

    def predicted(y: np.ndarray) -> np.ndarray:
        if by == "regression":
            return by_regression(x, y, fold)
        return by_networks(Collection(x, y, ("a", "b", "c"), tuple(map(str, range(60)))), config, fold)

    before = predicted(labels)
    np.testing.assert_allclose(before.sum(1), 1, atol=1e-5)
    changed = np.where(np.arange(60) == fold.argmax(), (labels + 1) % 3, labels)  # of one example, of the last fold
    after = predicted(changed)
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert (abs(before - after)[fold != 2].max(1) > 0).all()


def test_copies_of_an_example_in_its_group_teach_nothing_about_it_from_pixels_either() -> None:
    random = np.random.default_rng(0)
    things, labels = random.normal(size=(40, 16)).astype(np.float32), random.integers(2, size=40)  # nothing to learn
    x, y = np.repeat(things, 5, axis=0), np.repeat(labels, 5)
    config = config_of("data", "model=mlp", "model.hidden=[64]", "batch_size=16")
    names = tuple(map(str, range(200)))
    groups = tuple(f"thing {number // 5}" for number in range(200))
    _, alone, _ = ranked(Collection(x, y, ("a", "b"), names, groups=groups), config)
    _, leaked, _ = ranked(Collection(x, y, ("a", "b"), names), config)
    assert leaked.accuracy > 0.95
    assert alone.accuracy < 0.7
    with pytest.raises(RefusedInput, match="all examples are of one, so none can be held out; leave the column out"):
        ranked(Collection(x, y, ("a", "b"), names, groups=("same",) * 200), config)


def test_a_class_of_one_example_is_not_predicted() -> None:
    x, labels = blobs(40, 2, 3.0)
    labels[0] = 2
    probabilities = by_regression(x, labels, folds_of(labels, 4))
    assert probabilities.shape == (40, 3)
    assert probabilities[0, 2] == 0
    two = np.array([0, 0, 0, 1])
    assert np.isfinite(by_regression(x[:4], two, np.array([0, 1, 0, 1]))).all(), "one class alone is left to train on"


def test_many_networks_are_of_few_examples_only() -> None:
    config = config_of("data", "folds=7")
    assert [networks_for(n, config) for n in (100, 2000, 2001)] == [7, 7, 2]


# --- what is known ---


def test_near_chance_nothing_is_known() -> None:
    for apart, known in ((0.0, False), (3.0, True)):
        x, labels = blobs(300, 3, apart)
        knowledge = Knowledge.of(by_regression(x, labels, folds_of(labels, 5)), labels)
        assert knowledge.any == known
        assert ("cannot be said" in knowledge.sentence()) == (not known)
    none = WrongShare(0.0, 0.0, 0.0)
    assert not Knowledge(0.92, 0.9, 300, none).any, "a constant is right in 90 %"
    assert not Knowledge(0.37, 1 / 3, 100_000, none).any, "significant, but of no use"
    assert Knowledge(0.5, 1 / 3, 1000, none).any


# --- how many are wrong ---


def noisy(n: int, classes: int, share: float, sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn by known probabilities, a share of them replaced by other classes."""
    random = np.random.default_rng(seed)
    logits = sure * random.normal(size=(n, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (probabilities.cumsum(1) > random.random((n, 1))).argmax(1)
    wrong = random.random(n) < share
    return probabilities, np.where(wrong, (labels + random.integers(1, classes, n)) % classes, labels)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_the_share_of_wrong_labels_is_found_however_sure_the_predictions_are(share: float, exponent: float) -> None:
    inside = []
    for seed in range(4):
        probabilities, labels = noisy(2000, 10, share, 4.0, seed)
        powers = probabilities**exponent
        found = wrong_share(powers / powers.sum(1, keepdims=True), labels)
        assert abs(found.share - share) < 0.035
        assert found.low <= found.share <= found.high
        inside.append(found.low <= share <= found.high)
    assert np.mean(inside) >= 0.75


def test_predictions_that_know_nothing_leave_a_wide_interval() -> None:
    labels = np.random.default_rng(0).integers(10, size=500)
    found = wrong_share(np.full((500, 10), 0.1), labels)
    assert found.low == 0
    assert found.high > 0.5


def test_the_share_does_not_hang_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = noisy(500, 3, 0.1, 3.0, 0)
    at_once = wrong_share(probabilities, labels)
    monkeypatch.setattr("turnover.audit.wrong_share._BLOCK", 1000)
    assert wrong_share(probabilities, labels) == at_once


def test_the_share_is_that_of_the_largest_likelihood() -> None:
    probabilities, labels = noisy(2000, 4, 0.1, 3.0, 0)
    p, y = torch.from_numpy(probabilities), torch.from_numpy(labels)

    def loss(v: np.ndarray) -> float:
        of_label = (v[0] * p.log()).softmax(1)[torch.arange(len(y)), y]
        return -float(((1 - v[1]) * of_label + v[1] / 3 * (1 - of_label)).log().sum())

    best = minimize(loss, [1.0, 0.05], method="Nelder-Mead", bounds=[(0.05, 20), (0, 0.6)])
    assert wrong_share(probabilities, labels).share == pytest.approx(best.x[1], abs=0.006)
