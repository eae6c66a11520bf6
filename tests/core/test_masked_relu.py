"""ReLU and mask in one operation: bit for bit the product of the two, forward and backward."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import turnover
from turnover.core.masked import MaskedReLU


@pytest.mark.parametrize("shape", [(5, 64), (5, 7, 3, 3), (5, 9, 64)])
@pytest.mark.parametrize("scale", [2.0, 1 / 0.3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_same_bits_as_two_operations(shape: tuple[int, ...], scale: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, error = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    x[0] = 0  # a ReLU passes no gradient there
    x.requires_grad_()
    mask = (torch.rand((5, shape[1], *[1] * (len(shape) - 2)), generator=generator) < 0.5).to(dtype)
    mask *= torch.tensor(scale, dtype=dtype)
    wanted = x.relu() * mask
    (gradient,) = torch.autograd.grad(wanted, x, error)
    found = MaskedReLU.apply(x, x.detach().relu(), mask.clone(), torch.tensor(scale, dtype=dtype).item())
    assert torch.equal(found, wanted)
    assert torch.equal(torch.autograd.grad(found, x, error)[0], gradient)


class Net(nn.Module):
    """A ReLU in one of its spellings between two layers."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.first, self.last, self.spelling = nn.Linear(6, 20), nn.Linear(20, 3), spelling
        self.module = nn.ReLU(inplace="in place" in spelling)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        match self.spelling:
            case "F":
                z = F.relu(z)
            case "F in place":
                z = F.relu(z, inplace=True)
            case "F in place, by position":
                z = F.relu(z, True)
            case "method":
                z = z.relu()
            case "method in place":
                z = z.relu_()
            case "clamp":
                z = z.clamp_min(0)
            case _:
                z = self.module(z)
        logits: Tensor = self.last(z)
        return logits


SPELLINGS = ["F", "F in place", "F in place, by position", "method", "method in place", "clamp", "module", "in place"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("frozen", [False, True])
def test_every_spelling_has_the_same_gradients(spelling: str, frozen: bool) -> None:
    """One of them, clamp_min, is never fused."""
    x, ids = torch.randn(4, 6), torch.arange(4)
    results = []
    for each in ("clamp", spelling):
        torch.manual_seed(0)
        net = turnover.attach(Net(each))
        net.first.requires_grad_(not frozen)
        with turnover.own(net, ids):
            logits = net(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *[each.grad for each in net.parameters() if each.grad is not None]])
    assert len(results[0]) == (3 if frozen else 5)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("grad", [True, False])
def test_what_is_kept_for_the_backward_pass(grad: bool) -> None:
    """One tensor of the activations' size beside the inputs: the masked activations, which the next layer keeps too."""
    net = turnover.attach(Net("module"))
    with turnover.own(net, torch.arange(4)):  # the first pass looks at the network
        net(torch.randn(4, 6))
    kept: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with (
        nullcontext() if grad else torch.no_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        turnover.own(net, torch.arange(4)),
    ):
        net(torch.randn(4, 6))
    assert kept.count((4, 20)) == (2 if grad else 0)
