"""Products of linear layers by oneDNN: the same numbers and gradients as PyTorch's own, to the rounding of float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.common import matmul
from turnover.common.matmul import add_batched, batched, fast_products, linear, suits
from turnover.models.mlp import mlp


@pytest.fixture(autouse=True)
def _wherever_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "mkl_lags", lambda: True)
    monkeypatch.setattr(matmul, "SMALL", 1 << 20)


SHAPES = [(256, 784, 64), (37, 501, 129), (1, 4096, 512), (1024, 1024, 1)]


def operands(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def close(found: Tensor, wanted: Tensor) -> None:
    """To 1e-5 of the largest value."""
    assert found.shape == wanted.shape
    assert (found.double() - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(("batch", "inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_is_the_sum_in_float64(batch: int, inputs: int, outputs: int, with_bias: bool) -> None:
    x, weight, bias = operands((batch, inputs), (outputs, inputs), (outputs,))
    assert suits(x, weight)
    wanted = x.double() @ weight.double().T + (bias.double() if with_bias else 0)
    close(linear(x, weight, bias if with_bias else None), wanted)
    # of transposed memory too, as the gradients need it
    close(linear(x.t().contiguous().t(), weight.t().contiguous().t(), bias if with_bias else None), wanted)


@pytest.mark.parametrize("places", [(), (9,), (3, 3)])
def test_gradients_are_those_in_float64(places: tuple[int, ...]) -> None:
    x, weight, bias, error = operands((40, *places, 400), (80, 400), (80,), (40, *places, 80))
    single = [each.requires_grad_() for each in (x, weight, bias)]
    double = [each.detach().double().requires_grad_() for each in single]
    with fast_products(x.device):
        found = torch.autograd.grad(F.linear(*single), single, error)
    wanted = torch.autograd.grad(F.linear(*double), double, error.double())
    for a, b in zip(found, wanted, strict=True):
        close(a, b)


def test_gradients_have_gradients() -> None:
    x, weight = (each.requires_grad_() for each in operands((40, 400), (80, 400)))
    wide = [each.detach().double().requires_grad_() for each in (x, weight)]
    with fast_products(x.device):
        (first,) = torch.autograd.grad(F.linear(x, weight).square().sum(), weight, create_graph=True)
    (wanted,) = torch.autograd.grad(F.linear(*wide).square().sum(), wide[1], create_graph=True)
    found = torch.autograd.grad(first.square().sum(), x)[0]
    close(found, torch.autograd.grad(wanted.square().sum(), wide[0])[0])


def test_only_what_suits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []

    def remember(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        taken.append(tuple(weight.shape))
        return F.linear(x, weight, bias)

    monkeypatch.setattr(matmul, "linear", remember)
    large, small = nn.Linear(1024, 1024), nn.Linear(8, 8)
    with fast_products(torch.device("cpu")), torch.no_grad():
        large(torch.ones(2, 1024))
        small(torch.ones(2, 8))
        large.double()(torch.ones(2, 1024).double())
        large.float()
        large(torch.ones(1024))  # one example without a batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert large(torch.ones(2, 1024)).dtype == torch.bfloat16
    large(torch.ones(2, 1024))
    assert taken == [(1024, 1024)]


@pytest.mark.parametrize("units", [4, 64])
@pytest.mark.parametrize("beta", [1.0, 0.9])
def test_batched_products_are_those_in_float64(units: int, beta: float) -> None:
    x, weight, bias, error = operands((3, 100, 300), (3, units, 300), (3, 1, units), (3, 100, units))
    assert suits(x[0], weight[0]) == (units == 64)
    x64, weight64, bias64, error64 = (each.double() for each in (x, weight, bias, error))
    close(batched(x, weight, bias, torch.empty(3, 100, units)), x64 @ weight64.mT + bias64)
    add_batched(weight, error.mT, x, beta=beta, alpha=-0.01)
    close(weight, beta * weight64 - 0.01 * error64.mT @ x64)


def test_a_network_is_computed_as_before() -> None:
    model = mlp(784, [300], 10)
    x = torch.rand(64, 1, 28, 28)
    with torch.no_grad(), fast_products(x.device):
        found = model(x)
    close(found, model.double()(x.double()))
