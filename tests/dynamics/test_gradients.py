"""Gradients of single examples in factored form, against autograd one example at a time, in float64."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import oracles
import pytest
import torch
from gradient_networks import CASES, MASKED, Case, made
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.dynamics import backpack, factors
from turnover.dynamics.capture import Capture
from turnover.dynamics.gradients import Gradients, gradients
from turnover.errors import TurnOverError
from turnover.evaluation import flipped, full, own


def close(found: Tensor, expected: Tensor, scale: float = 1.0) -> None:
    """Equal to 1e-10 in float64, relative to `scale` where that is larger."""
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * max(scale, 1.0))


def all_of(found: Gradients, model: nn.Module, expected: dict[str, Tensor]) -> None:
    """Every quantity against the built gradients."""
    generator = torch.Generator().manual_seed(1)
    built = torch.cat(list(expected.values()), dim=1)  # [batch, numbers]
    direction = {
        name: torch.randn(each.shape, generator=generator, dtype=torch.float64)
        for name, each in model.named_parameters()
    }
    along = torch.cat([direction[name].flatten() for name in expected])
    weights = torch.rand(len(built), generator=generator, dtype=torch.float64)
    scale = float(built.square().sum(dim=1).max()) or 1.0
    close(found.squared_norms(), built.square().sum(dim=1), scale)
    close(found.gram(), built @ built.T, scale)
    close(found.dot(direction), built @ along, scale)
    total = found.total(weights)
    for name, rows in expected.items():
        ours = total.get(name, torch.zeros(rows.shape[1], dtype=torch.float64))
        close(ours.flatten(), weights @ rows, scale)
        part = found.only([name])
        close(part.squared_norms(), rows.square().sum(dim=1), scale)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 5])
def test_every_quantity_is_that_of_autograd(name: str, batch: int) -> None:
    model, x, y = made(CASES[name], batch)
    found = gradients(model, x, y, check=True)
    all_of(found, model, oracles.example_gradients(model, x, y))
    with torch.no_grad():
        torch.testing.assert_close(found.losses, nn.functional.cross_entropy(model(x), y, reduction="none"))


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("kind", ["own", "flipped", "full"])
def test_sub_networks_have_gradients_of_their_own(name: str, kind: str) -> None:
    model, x, y = made(CASES[name], 5)
    turnover.attach(model, seed=3)
    ids = torch.tensor([7, 2**33, 0, 12, 5])
    choose = {"own": own, "flipped": flipped, "full": full}[kind]
    contexts: dict[str, Callable[[int], AbstractContextManager[None]] | None] = {
        "own": lambda i: turnover.own(model, ids[i : i + 1]),
        "flipped": lambda i: turnover.flipped(model, ids[i : i + 1]),
        "full": None,
    }
    expected = oracles.example_gradients(model, x, y, contexts[kind])
    all_of(gradients(model, x, y, choose(ids), check=True), model, expected)


@pytest.mark.parametrize("built", [1, 500, 10**9])
@pytest.mark.parametrize("name", ["vgg11", "cvt", "words", "convolutions", "twice convolved"])
def test_how_much_is_built_at_once_changes_nothing(name: str, built: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "BUILT", built)
    model, x, y = made(CASES[name], 4)
    all_of(gradients(model, x, y), model, oracles.example_gradients(model, x, y))


@given(
    batch=st.integers(1, 6),
    places=st.integers(1, 7),
    into=st.integers(1, 9),
    out=st.integers(1, 9),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_inner_products_of_any_shape(batch: int, places: int, into: int, out: int, seed: int) -> None:
    """Both orders of multiplication, zero gradients and duplicated examples."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(batch, places, into, generator=generator, dtype=torch.float64)
    d = torch.randn(batch, places, out, generator=generator, dtype=torch.float64)
    if batch > 1:
        a[-1], d[-1] = a[0], d[0]
    if batch > 2:
        d[1] = 0
    one = factors.Outer(a, d, torch.Size([out, into]))
    built = torch.einsum("bto,bti->boi", d, a).flatten(1)
    close(one.squared_norms(), built.square().sum(dim=1))
    close(one.gram(), built @ built.T)
    table = factors.Lookup(torch.randint(4, (batch, places), generator=generator), d, torch.Size([4, out]))
    rows = torch.zeros(batch, 4, out, dtype=torch.float64)
    for b in range(batch):
        for t in range(places):
            rows[b, table.index[b, t]] += d[b, t]
    close(table.squared_norms(), rows.flatten(1).square().sum(dim=1))
    close(table.gram(), rows.flatten(1) @ rows.flatten(1).T)
    close(table.build(slice(0, batch)), rows.flatten(1))


def test_parameters_without_a_formula_are_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    model, x, y = made(CASES["attention"], 3)
    with caplog.at_level("WARNING", logger="turnover"):
        gradients(model, x, y, check=True)
        gradients(model, x, y)
    [record] = caplog.records
    assert "attention.in_proj_weight (multi_head_attention_forward)" in record.getMessage()
    assert "twice.weight (conv1d)" in record.getMessage()
    assert "head.weight" not in record.getMessage()


def test_what_runs_where_no_call_is_seen_is_not_left_out() -> None:
    class Hidden(torch.autograd.Function):
        """Its forward pass calls nothing that takes a parameter."""

        @staticmethod
        def forward(context: object, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(context: object, d: Tensor) -> Tensor:
            return d * 2

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            weight = Hidden.apply(self.layer.weight)
            logits: Tensor = self.head(torch.relu(x @ weight))
            return logits

    model, x, y = made(Case(Network, lambda batch: torch.randn(batch, 4), 3), 4)
    all_of(gradients(model, x, y, check=True), model, oracles.example_gradients(model, x, y))


# --- what is refused ---


class TimeFirst(nn.Module):
    """Its middle layer has the batch as second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x.transpose(0, 1)).relu().transpose(0, 1).mean(dim=1))
        return logits


def test_a_batch_in_another_dimension_is_right_or_refused() -> None:
    model, x, y = made(Case(TimeFirst, lambda batch: torch.randn(batch, 4, 6), 3), 5)
    all_of(gradients(model, x, y, check=True), model, oracles.example_gradients(model, x, y))
    with pytest.raises(TurnOverError, match=r"layer\.weight.*not the first dimension"):
        gradients(model, x[:4], y[:4], check=True)  # as many examples as steps in time


def test_batch_normalisation_must_not_mix_examples() -> None:
    model, x, y = made(CASES["convolutions"], 5)
    with pytest.raises(TurnOverError, match=r"model\.eval\(\)"):
        gradients(model.train(), x, y)


def test_a_network_that_mixes_its_batch_is_refused() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            logits: Tensor = self.head(torch.relu(x - x.mean(dim=0)))
            return logits

    model, x, y = made(Case(Centred, lambda batch: torch.randn(batch, 4), 3), 5)
    with pytest.raises(TurnOverError, match="mixes the examples"):
        gradients(model, x, y, check=True)


# --- what it leaves behind ---


def test_nothing_is_left_on_the_network() -> None:
    model, x, y = made(CASES["cvt"], 3)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    gradients(model, x, y, check=True)
    assert all(each.grad is None for each in model.parameters())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_frozen_parameters_are_left_out_and_unused_ones_have_no_gradient() -> None:
    model, x, y = made(CASES["words"], 3)
    found = gradients(model, x, y)
    assert not any(name.startswith(("frozen", "unused")) for name in found.factors)
    assert {"table.weight", "position", "token", "norm.weight", "layer.bias"} <= set(found.factors)


def test_only_the_known_uses_are_factored() -> None:
    model, x, _ = made(CASES["cvt"], 3)
    with Capture(model, 3) as seen:
        model(x)
    assert not seen.others, "the compact transformer has a formula for every parameter"


def test_low_precision_is_near_float32() -> None:
    model, x, y = made(CASES["vgg11"], 6)
    model, x = model.float(), x.float()
    exact, low = gradients(model, x, y).gram(), gradients(model, x, y, precision="bfloat16", check=True).gram()
    assert low.dtype == torch.float32
    assert (exact - low).abs().max() < 0.1 * exact.abs().max()


# --- BackPACK ---


@pytest.mark.parametrize("name", ["mlp", "vgg11", "convolutions"])
def test_backpack_agrees(name: str) -> None:
    case = CASES[name]
    if name == "convolutions":  # BackPACK has no padding in words and no groups of unequal use
        case = Case(
            lambda: nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)),
            CASES[name].inputs,
            3,
        )
    model, x, y = made(case, 7)
    model, x = model.float(), x.float()
    ours, theirs = gradients(model, x, y), backpack.gradients(model, x, y)
    assert list(ours.factors) == list(theirs.factors)
    scale = float(theirs.squared_norms().max())
    torch.testing.assert_close(ours.gram() / scale, theirs.gram() / scale, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.squared_norms() / scale, theirs.squared_norms() / scale, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.losses, theirs.losses)


def test_backpack_knows_sub_networks() -> None:
    model, x, y = made(CASES["mlp"], 4)
    turnover.attach(model, seed=3)
    ids = torch.arange(4) * 3
    close(backpack.gradients(model, x, y, own(ids)).gram(), gradients(model, x, y, own(ids)).gram())


@pytest.mark.parametrize("name", ["shared", "words", "cvt"])
def test_backpack_refuses_what_it_cannot_do(name: str) -> None:
    model, x, y = made(CASES[name], 4)
    with pytest.raises(TurnOverError, match="BackPACK"):
        backpack.gradients(model, x, y)
