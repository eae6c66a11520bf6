"""Losses of single examples: equal to their definitions, and refused where they are none."""

import ast
from pathlib import Path
from typing import Any

import oracles
import pytest
import torch
import torch.nn.functional as F
from targets import KINDS, WIDTH, network, targets
from torch import Tensor

import turnover
from turnover.core.evaluation import Outcome, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.core.losses import LOSSES, TOKENS, UNCOUNTED, loss_of
from turnover.errors import RefusedInput


def outputs(kind: str, n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 4 * torch.randn(n, WIDTH[kind], generator=torch.Generator().manual_seed(0), dtype=dtype)


def rows(values: Tensor) -> list[list[float]]:
    return [row.tolist() for row in values.double().reshape(len(values), -1)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_its_definition(kind: str) -> None:
    z, y = outputs(kind, 40), targets(kind, 40, torch.float64)
    outcome = Outcome.of(z, y, LOSSES[kind])
    assert LOSSES[kind].name == kind
    for i, (row, label) in enumerate(zip(rows(z), rows(y), strict=True)):
        assert float(outcome.loss[i]) == pytest.approx(oracles.example_loss(kind, row, label), rel=1e-12, abs=1e-14)
        assert bool(outcome.right[i]) == oracles.is_right(kind, row, label)
    assert LOSSES[kind].tells_right == (kind != "squared")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_loss_is_that_of_pytorch(kind: str) -> None:
    theirs: dict[str, Any] = {
        "class": F.cross_entropy,
        "soft": F.cross_entropy,
        "binary": lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y),
        "multilabel": F.binary_cross_entropy_with_logits,
        "squared": F.mse_loss,
    }
    z, y = outputs(kind, 20).requires_grad_(), targets(kind, 20, torch.float64)
    [found] = torch.autograd.grad(LOSSES[kind](z, y).mean(), [z])
    [expected] = torch.autograd.grad(theirs[kind](z, y), [z])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_what_is_fitted_keeps_its_precision(kind: str, label: float) -> None:
    """1e-20 and not 0, so that a network that fits all of its data still ranks them, whichever the label is."""
    z = torch.full((1, 1), 46.0 if label else -46.0)
    y = torch.full((1,) if kind == "binary" else (1, 1), label)
    assert float(LOSSES[kind](z, y)) == pytest.approx(1.0530617e-20, rel=1e-5)


@pytest.mark.parametrize("kind", [name for name, loss in LOSSES.items() if loss.of_classes])
def test_as_classes_a_loss_stays_what_it_is(kind: str) -> None:
    z, y = outputs(kind, 30), targets(kind, 30, torch.float64)
    logits, labels = LOSSES[kind].as_classes(z, y)
    torch.testing.assert_close(F.cross_entropy(logits, labels, reduction="none"), LOSSES[kind](z, y))
    assert torch.equal(logits.argmax(1) == labels, LOSSES[kind].right(z, y))
    assert torch.equal(labels, LOSSES[kind].label(y))


@pytest.mark.parametrize("kind", [name for name, loss in LOSSES.items() if loss.predicts_classes])
def test_predicted_classes_are_the_labels_of_what_is_right(kind: str) -> None:
    z, y = outputs(kind, 30), targets(kind, 30, torch.float64)
    predicted = LOSSES[kind].predicted(LOSSES[kind].value(z, y))
    assert torch.equal(predicted == LOSSES[kind].label(y), LOSSES[kind].right(z, y))


@pytest.mark.parametrize("kind", [*KINDS, "function"])
def test_neither_batch_size_nor_order_matters(kind: str) -> None:
    of = "squared" if kind == "function" else kind
    loss = LOSSES.get(kind) or loss_of(lambda outputs, y: (outputs - y).abs().sum(1))
    torch.manual_seed(0)
    model = turnover.attach(network(of).double(), seed=1)
    x, y = torch.randn(23, 6, dtype=torch.float64), targets(of, 23, torch.float64)
    examples = Examples(x, y, torch.arange(23) * 7, loss=loss)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    for whole, parts, moved in zip(
        evaluate(model, examples, (own_units, flipped_units)),
        evaluate(model, examples, (own_units, flipped_units), batch_size=4),
        evaluate(model, examples.select(order), (own_units, flipped_units), batch_size=5),
        strict=True,
    ):
        for name in ("loss", "right", "prediction"):
            a, b, c = (getattr(outcome, name) for outcome in (whole, parts, moved))
            torch.testing.assert_close(a, b)
            torch.testing.assert_close(a[order], c)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_of_a_sequence_is_the_mean_over_its_tokens_that_count(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    z, y = 3 * torch.randn(9, 6, 5, generator=draw, dtype=dtype), torch.randint(5, (9, 6), generator=draw)
    y[torch.rand(9, 6, generator=draw) < 0.4] = UNCOUNTED
    y[:, 2] = 1
    outcome = Outcome.of(z, y, TOKENS)
    for i, tokens in enumerate(y.tolist()):
        counted = [t for t, token in enumerate(tokens) if token != UNCOUNTED]
        losses = [oracles.cross_entropy(z[i, t].double(), tokens[t]) for t in counted]
        right = [int(z[i, t].argmax()) == tokens[t] for t in counted]
        assert float(outcome.loss[i]) == pytest.approx(
            sum(losses) / len(losses), rel=1e-12 if dtype.itemsize > 4 else 1e-5
        )
        assert float(outcome.right[i]) == float(outcome.prediction[i]) == pytest.approx(sum(right) / len(right))
        assert int(TOKENS.label(y)[i]) == len(counted)


def test_padding_changes_no_loss_of_a_sequence() -> None:
    z = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tensor([[1, 4, 2, 0, 3, 1]] * 4)
    y[2, 3:] = UNCOUNTED
    padded = F.pad(y, (2, 3), value=UNCOUNTED)
    torch.testing.assert_close(TOKENS(F.pad(z, (0, 0, 2, 3), value=7.0), padded), TOKENS(z, y))


def test_the_loss_of_a_function_is_what_it_returns() -> None:
    loss = loss_of(lambda outputs, y: (outputs - y).abs().amax(1))
    z, y = outputs("squared", 9), targets("squared", 9)
    assert torch.equal(loss(z, y), (z - y.double()).abs().amax(1))
    assert not loss.tells_right


@pytest.mark.parametrize(
    "function",
    [
        F.mse_loss,
        lambda outputs, y: F.mse_loss(outputs, y, reduction="none"),
        lambda outputs, y: (outputs > y).any(1),
        lambda outputs, y: 1.0,
    ],
    ids=["a mean", "a loss for each output", "no floats", "no tensor"],
)
def test_a_function_that_gives_no_loss_an_example_is_told_what_to_return(function: Any) -> None:
    z, y = outputs("squared", 9), targets("squared", 9)
    with pytest.raises(RefusedInput, match=r"must return a loss for each example, floats of shape \[9\]") as refused:
        loss_of(function)(z, y)
    advice = eval(str(refused.value).partition("for example ")[2])
    assert loss_of(advice)(z, y).shape == (9,)


@pytest.mark.parametrize("loss", ["mse", "", None, 3, ["class"]])
def test_a_name_that_is_no_loss_is_refused(loss: Any) -> None:
    with pytest.raises(RefusedInput, match=f"allowed: {', '.join(LOSSES)}, or a function"):
        loss_of(loss)


def test_nothing_else_computes_a_cross_entropy(root: Path) -> None:
    called = {
        path.name
        for path in (root / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("cross_entropy", "binary_cross_entropy_with_logits")
    }
    assert called == {"losses.py", "robust.py", "small_loss.py", "adversarial.py"}, (
        "but for what a training minimises in its place"
    )
