"""Scores of one training run against tables worked out by hand and against slow versions from the definitions."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import score_oracles as oracles
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from turnover.errors import RefusedInput
from turnover.estimators.confident_learning import confident_learning
from turnover.estimators.logit_scores import el2n, final_loss, margin, unconfidence
from turnover.estimators.one_run_scores import cumulative_loss, first_learning_epoch, forgetting_events, negative_aum
from turnover.estimators.second_split import second_split_forgetting

OF_CORRECTNESS = (forgetting_events, first_learning_epoch, second_split_forgetting)
OF_HISTORY = (negative_aum, cumulative_loss)
OF_LOGITS = (margin, el2n, final_loss, unconfidence)

HISTORIES = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))
NUMBERS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.floats(-30, 30, width=32))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits in float32 and labels."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 6)))
    logits = draw(arrays(np.float32, shape, elements=st.floats(-30, 30, width=32)))
    return torch.from_numpy(logits), torch.from_numpy(
        draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    )


# --- tables worked out by hand ---

# epochs 1 to 5: forgetting events, first-split learning time, 6 - second-split forgetting time
TABLE = {
    "11111": (0, 1, 0),
    "01111": (0, 2, 0),
    "00001": (0, 5, 0),
    "10101": (2, 5, 0),
    "11110": (1, 6, 1),
    "11000": (1, 6, 3),
    "01010": (2, 6, 1),
    "10000": (1, 6, 4),
    "00000": (5, 6, 5),
}


@pytest.mark.parametrize("number", range(3))
def test_correctness_by_hand(number: int) -> None:
    correct = torch.tensor([[each == "1" for each in row] for row in TABLE]).T
    found = OF_CORRECTNESS[number](correct)
    assert found.dtype == torch.float32
    assert found.tolist() == [row[number] for row in TABLE.values()]


def test_what_is_fitted_keeps_its_precision() -> None:
    """In float32 a softmax of this is 1 and its logarithm 0."""
    logits, labels = torch.tensor([[40.0, 0], [0, 40], [0, 200]]), torch.tensor([0, 1, 0])
    small = 1 / (1 + math.exp(40))  # 4.2e-18
    close(unconfidence(logits, labels), [small, small, 1], 1e-6)
    close(final_loss(logits, labels), [small, small, 200], 1e-6)
    close(el2n(logits, labels), [small * math.sqrt(2), small * math.sqrt(2), math.sqrt(2)], 1e-6)


def close(found: Tensor, expected: list[float], relative: float = 1e-12) -> None:
    assert found.tolist() == pytest.approx(expected, rel=relative, abs=0)


# --- slow versions ---


@given(HISTORIES)
def test_correctness_from_the_definitions(history: np.ndarray) -> None:
    correct, columns = torch.from_numpy(history), history.T.tolist()
    slow = (oracles.forgetting_events, oracles.earliest_epoch, oracles.second_split_forgetting)
    for score, oracle in zip(OF_CORRECTNESS, slow, strict=True):
        assert score(correct).tolist() == [oracle(column) for column in columns]


@given(NUMBERS)
def test_means_from_the_definitions(history: np.ndarray) -> None:
    values = torch.from_numpy(history).double()
    means = [oracles.mean(column) for column in values.T.tolist()]
    assert cumulative_loss(values).tolist() == pytest.approx(means, rel=1e-12, abs=1e-12)
    assert negative_aum(values).tolist() == pytest.approx([-mean for mean in means], rel=1e-12, abs=1e-12)


@given(labelled())
def test_logits_from_the_definitions(given: tuple[Tensor, Tensor]) -> None:
    logits, labels = given
    rows = list(zip(logits.tolist(), labels.tolist(), strict=True))
    wide = logits.double()
    assert margin(wide, labels).tolist() == [oracles.margin(*row) for row in rows]
    other = [oracles.unconfidence(*row) for row in rows]
    close(unconfidence(wide, labels), other)
    losses = [
        -math.log1p(-p) if p < 0.5 else -math.log(oracles.softmax(row)[y])
        for p, (row, y) in zip(other, rows, strict=True)
    ]
    close(final_loss(wide, labels), losses)
    assert el2n(wide, labels).tolist() == pytest.approx([oracles.el2n(*row) for row in rows], rel=1e-12, abs=1e-15)
    # in float32 too every digit that it has
    close(unconfidence(logits, labels), other, 1e-5)
    close(final_loss(logits, labels), losses, 1e-5)
    close(el2n(logits, labels), el2n(wide, labels).tolist(), 1e-5)


@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_confident_learning_from_its_definition(n: int, classes: int, seed: int) -> None:
    """Most of these labels leave a class out."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), n)
    labels = generator.integers(classes, size=n)
    found = confident_learning(probabilities, labels)
    expected = oracles.confident_learning(probabilities.tolist(), labels.tolist())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_class_without_labels_leaves_the_order_of_the_others() -> None:
    generator = np.random.default_rng(0)
    few = generator.dirichlet(np.ones(3), 50)
    labels = generator.integers(3, size=50)
    more = np.insert(few, 1, 0, axis=1)  # a class between, that is never predicted either
    scores, pressed = confident_learning(few, labels), confident_learning(more, labels + (labels > 0))
    assert scores.argsort().tolist() == pressed.argsort().tolist()
    assert abs(pressed - 0.5).max() < abs(scores - 0.5).max()


# --- what holds of all of them ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_low_precision_is_widened_before_anything_is_computed(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values, labels = torch.randn(6, 5).to(dtype), torch.randint(5, (6,))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for of_logits in OF_LOGITS:
        assert torch.equal(of_logits(values, labels), of_logits(values.to(wide), labels))
    for of_history in OF_HISTORY:
        assert torch.equal(of_history(values), of_history(values.to(wide)))


def test_the_host_never_waits_for_the_device() -> None:
    """A tensor of the device meta has no numbers: asking for one would fail."""
    values, labels = torch.randn(6, 5, device="meta"), torch.zeros(6, dtype=torch.int64, device="meta")
    found = [score(values, labels) for score in OF_LOGITS]
    found += [score(values) for score in OF_HISTORY] + [score(values > 0) for score in OF_CORRECTNESS]
    assert {each.device.type for each in found} == {"meta"}
    assert {each.dtype for each in found} == {torch.float32}


# --- what is refused ---


@pytest.mark.parametrize("score", OF_CORRECTNESS)
@pytest.mark.parametrize(
    ("correct", "why"),
    [
        (torch.ones(3, 2, dtype=torch.uint8), "must be bool"),
        (torch.ones(3, dtype=torch.bool), r"\[epochs, n\]"),
        (torch.ones(0, 2, dtype=torch.bool), "one epoch or more"),
    ],
)
def test_what_is_no_correctness_is_refused(score: Callable[[Tensor], Tensor], correct: Tensor, why: str) -> None:
    with pytest.raises(RefusedInput, match=why):
        score(correct)


@pytest.mark.parametrize("score", OF_HISTORY)
@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 3, 4)])
def test_what_is_no_history_is_refused(score: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(RefusedInput, match=r"must be \[epochs, n\]"):
        score(torch.zeros(shape))


@pytest.mark.parametrize("score", OF_LOGITS)
@pytest.mark.parametrize(
    ("logits", "labels", "why"),
    [
        ((3,), torch.zeros(3, dtype=torch.int64), "two classes or more"),
        ((3, 1), torch.zeros(3, dtype=torch.int64), "two classes or more"),
        ((3, 4), torch.zeros(1, dtype=torch.int64), "labels must be int64"),
        ((3, 4), torch.zeros(3, dtype=torch.int32), "labels must be int64"),
    ],
)
def test_logits_and_labels_must_fit(
    score: Callable[[Tensor, Tensor], Tensor], logits: tuple[int, ...], labels: Tensor, why: str
) -> None:
    with pytest.raises(RefusedInput, match=why):
        score(torch.zeros(logits), labels)


@pytest.mark.parametrize(
    ("probabilities", "labels", "why"),
    [
        ([[1.0], [1.0]], [0, 0], "two classes or more"),
        ([[0.5, 0.5]], [0, 1], "two classes or more"),
        ([[0.5, 0.5]], [2], "from 0 to 1"),
        ([[0.5, 0.5]], [-1], "from 0 to 1"),
        ([[0.5, 0.5]], [1.0], "integers"),
        ([[0.5, 0.4]], [0], "sum to 1"),
        ([[1.5, -0.5]], [0], "at least 0"),
        ([[math.nan, 1.0]], [0], "sum to 1"),
    ],
)
def test_what_confident_learning_refuses(probabilities: list[list[float]], labels: list[float], why: str) -> None:
    with pytest.raises(RefusedInput, match=why):
        confident_learning(np.array(probabilities), np.array(labels))
