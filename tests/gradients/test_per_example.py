"""Gradients of single examples in factored form, against autograd one example at a time, in float64."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import oracles
import pytest
import torch
from gradient_networks import CASES, MASKED, Case, made
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.core.evaluation import all_units, flipped_units, own_units
from turnover.errors import TurnOverError
from turnover.gradients import backpack, factors
from turnover.gradients.capture import Capture
from turnover.gradients.per_example import Gradients, gradients
from turnover.gradients.updates import cosines


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
    found = gradients(model, x, y, check=False)  # which would mend a wrong formula
    all_of(found, model, oracles.example_gradients(model, x, y))
    assert str(found).startswith(f"<Gradients of {batch} examples for ")
    with torch.no_grad():
        torch.testing.assert_close(found.losses, nn.functional.cross_entropy(model(x), y, reduction="none"))


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("kind", ["own", "flipped", "full"])
def test_sub_networks_have_gradients_of_their_own(name: str, kind: str) -> None:
    model, x, y = made(CASES[name], 5)
    turnover.attach(model, seed=3)
    ids = torch.tensor([7, 2**33, 0, 12, 5])
    choose = {"own": own_units, "flipped": flipped_units, "full": all_units}[kind]
    contexts: dict[str, Callable[[int], AbstractContextManager[None]] | None] = {
        "own": lambda i: turnover.own(model, ids[i : i + 1]),
        "flipped": lambda i: turnover.flipped(model, ids[i : i + 1]),
        "full": None,
    }
    expected = oracles.example_gradients(model, x, y, contexts[kind])
    all_of(gradients(model, x, y, choose(ids), check=False), model, expected)


@pytest.mark.parametrize("built", [1, 500, 10**9])
@pytest.mark.parametrize("name", ["vgg11", "cvt", "words", "convolutions", "twice convolved"])
def test_how_much_is_built_at_once_changes_nothing(name: str, built: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "BUILT", built)
    model, x, y = made(CASES[name], 4)
    all_of(gradients(model, x, y, check=False), model, oracles.example_gradients(model, x, y))


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
        loose: set[str] = set()
        gradients(model, x, y, loose=loose)
        gradients(model, x, y, loose=loose)
    [record] = caplog.records
    assert "attention.in_proj_weight (multi_head_attention_forward)" in record.getMessage()
    assert "twice.weight (conv1d)" in record.getMessage()
    assert "head.weight" not in record.getMessage()


# --- networks that lead a formula astray: the check finds what it cannot do, and does it one example at a time ---


class Trap(nn.Module):
    """A layer, a bare parameter, a head, and something in between."""

    def __init__(self, between: Callable[["Trap", Tensor], Tensor], size: tuple[int, ...] = (6,)) -> None:
        super().__init__()
        self.layer, self.head, self.p = nn.Linear(6, 6), nn.Linear(6, 3), nn.Parameter(torch.randn(size))
        self.norm = nn.LayerNorm(6)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self, x)
        logits: Tensor = self.head(x.flatten(1, -2).mean(dim=1) if x.dim() > 2 else x)
        return logits


def sliced(trap: Trap, x: Tensor) -> Tensor:
    x = trap.layer(x)
    x[..., 2:] += trap.p[2:]
    part = x[..., :2]
    part += trap.p[:2]
    return torch.relu(x)


def hidden_use(trap: Trap, x: Tensor) -> Tensor:
    class Copy(torch.autograd.Function):
        """Calls nothing with a parameter."""

        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(context: Any, *d: Tensor) -> Tensor:
            return d[0] * 2

    return torch.relu(trap.layer(x)) @ Copy.apply(trap.layer.weight)


def without_gradient(trap: Trap, x: Tensor) -> Tensor:
    x = trap.layer(x)
    with torch.no_grad():
        x.add_(trap.p)
    return torch.tanh(x)


def one_call_each(trap: Trap, x: Tensor) -> Tensor:
    return torch.stack([torch.relu(trap.layer(each)) for each in x])


def tied_norm(trap: Trap, x: Tensor) -> Tensor:
    return nn.functional.layer_norm(trap.layer(x), (6,), trap.norm.weight, trap.norm.weight)


def overwritten(trap: Trap, x: Tensor) -> Tensor:
    """In low precision autograd keeps a copy of the input, which would stay as it was."""
    h = torch.tanh(x)
    h += trap.layer(h.clone())
    return h


TRAPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "in place on a view": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(True), nn.Flatten(), nn.Linear(24, 3)),
        (4, 6),
    ),
    "in place on slices": (lambda: Trap(sliced), (4, 6)),
    "a second use that is hidden": (lambda: Trap(hidden_use), (6,)),
    "sorted batch": (lambda: Trap(lambda t, x: torch.relu(t.layer(x.flip(0))).flip(0)), (6,)),
    "parameters alone, as many as examples": (lambda: Trap(lambda t, x: x @ torch.relu(t.layer(t.p)), (6, 6)), (6,)),
    "product of parameters": (lambda: Trap(lambda t, x: x @ (t.layer.weight * t.p), (1, 6)), (6,)),
    "expanded to no batch": (lambda: Trap(lambda t, x: x @ t.p.expand(6, 6), (1, 6)), (6,)),
    "without gradient": (lambda: Trap(without_gradient), (6,)),
    "one call for each example": (lambda: Trap(one_call_each), (6, 6)),
    "batch second": (lambda: Trap(lambda t, x: torch.relu(t.layer(x.transpose(0, 1))).transpose(0, 1)), (6, 6)),
    "weight and bias tied": (lambda: Trap(tied_norm), (6,)),
    "overwritten later": (lambda: Trap(overwritten), (6,)),
    "vector of weights": (lambda: Trap(lambda t, x: x * nn.functional.linear(x, t.p)[:, None]), (6,)),
}


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("name", TRAPS)
def test_traps(name: str, batch: int) -> None:
    network, shape = TRAPS[name]
    model, x, y = made(Case(network, lambda n: torch.randn(n, *shape), 3), batch)
    all_of(gradients(model, x, y), model, oracles.example_gradients(model, x, y))


def test_what_is_unknown_is_remembered() -> None:
    model, x, y = made(Case(lambda: Trap(hidden_use), lambda n: torch.randn(n, 6), 3), 5)
    loose: set[str] = set()
    gradients(model, x, y, loose=loose)
    assert loose == {"layer.weight"}
    all_of(gradients(model, x, y, check=False, loose=loose), model, oracles.example_gradients(model, x, y))


def test_rows_that_each_example_takes_by_itself_are_no_part_of_a_table() -> None:
    """They take no formula from what meets them."""

    def rows(trap: Trap, x: Tensor) -> Tensor:
        return trap.layer(x) * (trap.p[x.argmax(1)] * trap.norm.weight)

    model, x, y = made(Case(lambda: Trap(rows, (6, 6)), lambda n: torch.randn(n, 6), 3), 5)
    loose: set[str] = set()
    all_of(gradients(model, x, y, loose=loose), model, oracles.example_gradients(model, x, y))
    assert loose == {"p"}


def test_hooks_of_parameters_count() -> None:
    model, x, y = made(CASES["mlp"], 5)
    next(model.parameters()).register_hook(lambda gradient: gradient * 3)
    all_of(gradients(model, x, y), model, oracles.example_gradients(model, x, y))


def test_examples_that_are_fitted_keep_their_direction() -> None:
    """In float32 softmax - 1 is rounding noise there, and a unit vector of noise is as long as any other."""
    torch.manual_seed(0)
    model = nn.Linear(20, 4)
    x, y = torch.randn(40, 20), torch.randint(4, (40,))
    with torch.no_grad():
        model.bias.zero_()
        x = x + 4 * model.weight[y] / model.weight.square().sum(dim=1)[y, None] * 5  # a margin of about 20 nats
    low, exact = gradients(model, x, y).gram(), gradients(model.double(), x.double(), y).gram()
    assert float(gradients(model, x.double(), y).losses.min()) < 1e-8
    torch.testing.assert_close(cosines(low.double()), cosines(exact), rtol=1e-3, atol=1e-3)


# --- what is refused ---


def test_batch_normalisation_must_not_mix_examples() -> None:
    model, x, y = made(CASES["convolutions"], 5)
    with pytest.raises(TurnOverError, match=r"model\.eval\(\)"):
        gradients(model.train(), x, y)
    for parameter in model.norm.parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(False)
    with pytest.raises(TurnOverError, match=r"model\.eval\(\)"):
        gradients(model, x, y)


def test_complex_parameters_are_refused() -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.randn(4, 3, dtype=torch.complex128))

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.complex128) @ self.p).abs()

    with pytest.raises(TurnOverError, match="real parameters"):
        gradients(Complex(), torch.randn(5, 4, dtype=torch.float64), torch.randint(3, (5,)))


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
    model.eval()
    with pytest.raises(TurnOverError, match="mixes the examples"):
        gradients(model, x, y)


# --- what it leaves behind ---


def test_nothing_is_left_on_the_network() -> None:
    model, x, y = made(CASES["cvt"], 3)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    gradients(model, x, y)
    assert all(each.grad is None for each in model.parameters())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_frozen_parameters_are_left_out_and_unused_ones_have_no_gradient() -> None:
    model, x, y = made(CASES["words"], 3)
    found = gradients(model, x, y)
    assert not any(name.startswith(("frozen", "unused")) for name in found.factors)
    assert {"table.weight", "position", "token", "norm.weight", "layer.bias"} <= set(found.factors)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"attention"}))
def test_every_parameter_has_a_formula_that_passes_the_check(name: str) -> None:
    model, x, y = made(CASES[name], 3)
    with Capture(model, 3) as seen:
        model(x)
    assert not seen.others
    loose: set[str] = set()
    gradients(model, x, y, loose=loose)
    assert not loose


@pytest.mark.parametrize("name", ["mlp", "vgg11", "cvt"])
def test_low_precision_is_near_float32(name: str) -> None:
    model, x, y = made(CASES[name], 6)
    model, x = model.float(), x.float()
    exact, low = gradients(model, x, y).gram(), gradients(model, x, y, precision="bfloat16").gram()
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
    close(backpack.gradients(model, x, y, own_units(ids)).gram(), gradients(model, x, y, own_units(ids)).gram())


@pytest.mark.parametrize("name", ["shared", "words", "cvt"])
def test_backpack_refuses_what_it_cannot_do(name: str) -> None:
    model, x, y = made(CASES[name], 4)
    with pytest.raises(TurnOverError, match="BackPACK"):
        backpack.gradients(model, x, y)
