"""Targets and outputs that a loss cannot take: what the message says to do is done, and then it works."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from targets import network, targets
from torch import nn

import turnover
from turnover.errors import RefusedInput

N = 24
X = np.random.default_rng(0).normal(size=(N, 6)).astype("float32")
Y = np.arange(N) % 3
SIGNS = np.where(np.arange(N) % 2, 1, -1)
HOLE = np.where(np.arange(N) == 7, np.nan, Y.astype(float))
COUNTS = np.eye(3)[Y] * 3 + 1
MANY = np.eye(3)[Y] + np.eye(3)[(Y + 1) % 3]


def run(given: dict[str, Any], make_model: Any) -> Any:
    return turnover.memorization(make_model, **given, epochs=1, lr=0.1, seeds=1, progress=False)


# y, loss, outputs of the network, the step, outputs of the network afterwards
STEPS: dict[str, tuple[Any, str, int, str, int]] = {
    "class numbers as probabilities": (Y, "soft", 3, "leave loss out", 3),
    "counts as probabilities": (COUNTS, "soft", 3, "y = y / y.sum(1)[:, None]", 3),
    "several ones as probabilities": (MANY, "soft", 3, "loss='multilabel'", 3),
    "signs": (SIGNS, "binary", 1, "y = y == 1", 1),
    "signs of a tensor": (torch.from_numpy(SIGNS), "binary", 1, "y = y == 1", 1),
    "three classes as two": (Y, "binary", 3, "leave loss out", 3),
    "numbers as two classes": (X[:, 0], "binary", 1, "loss='squared'", 1),
    "several labels as one": (MANY, "binary", 3, "loss='multilabel'", 3),
    "one label as several": (Y > 0, "multilabel", 1, "loss='binary'", 1),
    "signs as several labels": (MANY * 2 - 1, "multilabel", 3, "y = y == 1", 3),
    "numbers as classes": (X[:, 0], "class", 1, "loss='squared'", 1),
    "two classes of one logit": (Y > 0, "class", 1, "y.astype('int64')", 2),
    "missing numbers": (
        HOLE,
        "squared",
        1,
        "keep = torch.as_tensor(y).isfinite().reshape(len(y), -1).all(1).cpu().numpy(); x, y = x[keep], y[keep]",
        1,
    ),
    "masked numbers": (
        np.ma.masked_array(X[:, 0], np.arange(N) == 7),
        "squared",
        1,
        "keep = ~numpy.ma.getmaskarray(y).reshape(len(y), -1).any(1); x, y = x[keep], y[keep]",
        1,
    ),
    "numbers too large": (
        np.where(np.arange(N) == 7, 1e39, 0.0),
        "squared",
        1,
        "keep = torch.as_tensor(y).to(torch.float32).isfinite().reshape(len(y), -1).all(1).cpu().numpy(); "
        "x, y = x[keep], y[keep]",
        1,
    ),
    "complex numbers": (X[:, 0] + 0j, "squared", 1, "y.real", 1),
}


@pytest.mark.parametrize("case", STEPS)
def test_targets_of_another_kind(case: str) -> None:
    y, loss, before, step, after = STEPS[case]
    given = {"x": X, "y": y, "loss": loss}

    def make_model(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))

    with pytest.raises(RefusedInput) as refused:
        run(given, lambda: make_model(before))
    assert step in str(refused.value)
    if step == "leave loss out":
        del given["loss"]
    elif " = " in step:
        scope = dict(given) | {"torch": torch, "numpy": np}
        exec(step, scope)
        given = {name: scope[name] for name in given}
    else:
        name = "loss" if step.startswith("loss=") else "y"
        given[name] = eval(step.removeprefix("loss="), {"y": y})
    assert len(run(given, lambda: make_model(after))) in (N, N - 1)


@pytest.mark.parametrize(
    ("kind", "outputs"), [("soft", 4), ("binary", 2), ("multilabel", 3), ("squared", 1), ("squared", 3)]
)
def test_outputs_of_another_shape_are_refused_with_the_right_one(kind: str, outputs: int) -> None:
    given = {"x": X, "y": targets(kind, N), "loss": kind}
    with pytest.raises(RefusedInput, match="let its last layer give") as refused:
        run(given, lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs)))
    right = int(re.findall(r"let its last layer give (\d+)", str(refused.value))[0])
    run(given, lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, right)))


class Probability(nn.Module):
    def __init__(self, *, gate: bool) -> None:
        super().__init__()
        self.hidden, self.last, self.gate = nn.Linear(6, 8), nn.Linear(8, 1), gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(x).relu()
        return (self.last(hidden * hidden.sigmoid()) if self.gate else torch.sigmoid(self.last(hidden))).squeeze(1)


def test_outputs_of_a_sigmoid_that_is_no_module_are_refused() -> None:
    given = {"x": X, "y": targets("binary", N), "loss": "binary"}
    with pytest.raises(RefusedInput, match=r"before any sigmoid: leave its last .* or torch\.sigmoid"):
        run(given, lambda: Probability(gate=False))
    assert len(run(given | {"estimator": "final_loss"}, lambda: Probability(gate=True))) == N


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_last_sigmoid_is_refused(kind: str) -> None:
    with pytest.raises(RefusedInput, match=r"before any sigmoid: leave its last nn\.Sigmoid out"):
        run(
            {"x": X, "y": targets(kind, N), "loss": kind},
            lambda: nn.Sequential(*network(kind).children(), nn.Sigmoid()),
        )


def test_one_number_of_class_labels_names_the_losses_that_take_it() -> None:
    with pytest.raises(
        RefusedInput, match=r"gives \(2, 1\); or, if it gives one number, loss='binary' for y of 0 and 1"
    ):
        run({"x": X, "y": Y}, lambda: network("binary"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (F.mse_loss, r"loss = mse_loss must return a loss for each example, floats of shape \[2\]"),
        (lambda z, y: F.mse_loss(z, y).expand(len(y)), "gives an example another loss in a batch than alone"),
        (lambda z, y: (z - z).sum(1) / 0, r"is \[nan, nan\] for the first examples: it must be finite"),
        (lambda z, y: z @ torch.ones(5), "cannot take outputs .* and y .*: RuntimeError"),
    ],
    ids=["a mean", "a mean for each example", "not finite", "an error"],
)
def test_a_function_that_is_no_loss_of_an_example_is_refused_before_any_work(function: Any, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        run({"x": X, "y": targets("squared", N), "loss": function}, lambda: network("squared"))


def test_a_function_that_mixes_the_targets_of_a_batch_is_refused_where_the_first_are_alike() -> None:
    def mixing(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (outputs - y).abs().mean(1)  # [n, 1] - [n] is [n, n]

    with pytest.raises(RefusedInput, match="gives an example another loss in a batch than alone"):
        run({"x": X, "y": np.sort(Y).astype("float32"), "loss": mixing}, lambda: network("squared"))


@pytest.mark.parametrize(
    "function",
    [
        lambda outputs, y: (outputs[:, 0] - y).abs().detach(),
        lambda outputs, y: torch.tensor(
            [abs(one.item() - other.item()) for one, other in zip(outputs[:, 0], y, strict=True)]
        ),
        lambda outputs, y: torch.from_numpy(np.abs(outputs[:, 0].numpy() - y.numpy())),
    ],
)
def test_a_loss_that_no_gradient_can_pass_is_refused(function: Any) -> None:
    with pytest.raises(RefusedInput, match=r"without gradients.* without .detach\(\), .item\(\), .numpy\(\)"):
        run({"x": X, "y": X[:, 0], "loss": function}, lambda: network("squared"))


class Squeezed(nn.Sequential):
    """As people write it who have batches of more than one in mind; the last layer is to be replaced by advice."""

    ending = ".squeeze()"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return eval(f"outputs{self.ending}", {"outputs": super().forward(x)})


@pytest.mark.parametrize(("loss", "outputs"), [("class", 2), ("binary", 1), ("squared", 1)])
def test_outputs_squeezed_to_a_number_for_one_example_are_refused_and_the_advice_works(loss: str, outputs: int) -> None:
    layers = nn.Linear(X.shape[1], 8), nn.ReLU(), nn.Linear(8, outputs)
    y = X[:, 0] if loss == "squared" else (X[:, 0] > 0).astype(int)
    model = turnover.attach(Squeezed(*layers))
    with pytest.raises(RefusedInput):
        turnover.score(model, X[:1], y[:1], loss=loss)
    with pytest.raises(RefusedInput, match="for one example alone") as refused:
        turnover.score(model, X, y, loss=loss)
    for ending in re.findall(r"\.(?:squeeze|flatten)\(1\)", str(refused.value)):
        model.ending = ending
        assert np.isfinite(turnover.score(model, X, y, loss=loss)["score"]).all()


def test_masked_values_of_an_argument_are_refused() -> None:
    def make_model() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    x = {"input": np.ma.masked_array(X, X > 2.0)}
    with pytest.raises(RefusedInput, match=r"x\['input'\] has \d+ masked values") as refused:
        run({"x": x, "y": Y}, make_model)
    scope: dict[str, Any] = {"x": x, "y": Y, "numpy": np}
    exec(str(refused.value).partition("remove these: ")[2], scope)
    assert len(run({"x": scope["x"], "y": scope["y"]}, make_model)) == (X <= 2.0).all(1).sum() < N


def test_targets_of_a_network_of_16_bits_keep_their_own() -> None:
    """In bfloat16 numbers from 256 to 512 differ by 2, and thirds do not sum to 1."""

    def make_model(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs)).bfloat16()

    y = np.arange(N) / 8 + 300
    given: dict[str, Any] = {"epochs": 1, "lr": 1e-6, "seeds": 1, "progress": False, "estimator": "final_loss"}
    table = turnover.memorization(lambda: make_model(1), X, y, loss="squared", **given)
    assert table["label"].tolist() == y.tolist()
    assert len(turnover.memorization(lambda: make_model(3), X, COUNTS / COUNTS.sum(1)[:, None], loss="soft", **given))


def test_targets_of_a_function_stay_what_they_are() -> None:
    """Class numbers with a cross-entropy that is smoothed, for example."""
    seen = set()

    def smoothed(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.add(y.dtype)
        return F.cross_entropy(outputs, y, reduction="none", label_smoothing=0.1)

    table = run({"x": X, "y": Y, "loss": smoothed}, lambda: network("class"))
    assert seen == {torch.int64}
    assert table["label"].tolist() == Y.tolist()
    assert "own_value" not in table
