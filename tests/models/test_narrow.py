"""A network with fewer hidden units: its shapes, its initial weights, and networks that have to be written by hand."""

import copy

import pytest
import torch
from torch import nn

from turnover.errors import RefusedInput
from turnover.models.conv import conv, vgg11
from turnover.models.mlp import mlp
from turnover.models.narrow import narrower


class Skipping(nn.Sequential):
    """Layers in a row by their names, but not in their forward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self[0](x))
        return self[3](self[2](hidden) + hidden)


@pytest.mark.parametrize(
    ("wide", "narrow", "shape"),
    [
        (mlp(12, [64, 32], 5), mlp(12, [16, 8], 5), (12,)),
        (conv(3, 10, width=8, side=9), conv(3, 10, width=2, side=9), (3, 9, 9)),
        (vgg11(3, 10, width=8), vgg11(3, 10, width=2), (3, 32, 32)),
        (vgg11(1, 7, width=4, bias=False, side=64), vgg11(1, 7, width=1, bias=False, side=64), (1, 64, 64)),
    ],
)
def test_it_is_the_network_of_a_smaller_width(wide: nn.Module, narrow: nn.Module, shape: tuple[int, ...]) -> None:
    before = copy.deepcopy(wide.state_dict())
    found = narrower(wide, 4)
    assert [(name, each.shape) for name, each in found.named_parameters()] == [
        (name, each.shape) for name, each in narrow.named_parameters()
    ]
    assert str(found) == str(narrow)
    x = torch.rand(2, *shape)
    assert found(x).shape == narrow(x).shape
    found(x).sum().backward()
    assert all(each.grad is not None for each in found.parameters())
    assert all(torch.equal(each, before[name]) for name, each in wide.state_dict().items()), "the other is left alone"


def test_its_weights_are_as_large_as_those_of_a_new_one() -> None:
    torch.manual_seed(0)
    found, new = narrower(mlp(300, [1600, 800], 10), 4), mlp(300, [400, 200], 10)
    for mine, theirs in zip(found.state_dict().values(), new.state_dict().values(), strict=True):
        assert float(mine.std()) == pytest.approx(float(theirs.std()), rel=0.1 if mine.dim() > 1 else 0.4)
    heads = [each.state_dict()["logits.weight"] for each in (narrower(vgg11(3, 10), 4), vgg11(3, 10, width=16))]
    assert float(heads[0].std()) == pytest.approx(float(heads[1].std()), rel=0.1)


@pytest.mark.parametrize(
    ("network", "factor", "told"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), 2, "a layer of type BatchNorm1d: give a"),
        (nn.Sequential(nn.Conv2d(4, 8, 1, groups=2), nn.Linear(8, 2)), 2, "of type grouped Conv2d"),
        (nn.Sequential(nn.Linear(4, 2)), 2, "no hidden layer: give a function"),
        (Skipping(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 2)), 2, "a layer of type Skipping"),
        (mlp(4, [6], 2), 8, "factor = 8: layer 1 has 6 units, so take at most 6"),
        (mlp(4, [6], 2), 0, "factor = 0"),
    ],
)
def test_what_it_cannot_make_narrower(network: nn.Module, factor: int, told: str) -> None:
    with pytest.raises(RefusedInput, match=told):
        narrower(network, factor)
    if factor == 8:
        assert narrower(network, 6)(torch.rand(3, 4)).shape == (3, 2)
