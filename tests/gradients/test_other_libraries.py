"""Lengths of the gradients of single examples, as four libraries compute them in the benchmark, in float64."""

from importlib import import_module
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from torch import nn

from turnover.core.losses import CLASSES, TOKENS
from turnover.models.conv import vgg11
from turnover.models.gpt import GPT
from turnover.models.mlp import mlp

SIZES = {"layers": 2, "dim": 8, "heads": 2, "mlp_ratio": 2}


@pytest.fixture
def contestants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return import_module("contestants_gradients")


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("name", ["mlp", "vgg11", "gpt", "its own output layer"])
def test_all_agree(name: str, contestants: ModuleType) -> None:
    torch.manual_seed(0)
    networks = {
        "mlp": lambda: mlp(784, [5], 10),
        "vgg11": lambda: vgg11(3, 10, width=4),
        "gpt": lambda: GPT(11, 6, **SIZES),
        "its own output layer": lambda: contestants.Untied(11, 6, **SIZES),
    }
    model, texts = networks[name]().double(), torch.randint(11, (4, 6))
    images = torch.rand(4, *((784,) if name == "mlp" else (3, 32, 32)), dtype=torch.float64)
    of_images, given = name in ("mlp", "vgg11"), torch.randint(10, (4,))
    x, y, loss = (images, given, CLASSES) if of_images else (texts, texts.roll(1, dims=1), TOKENS)
    expected = []
    for one, target in zip(x, y, strict=True):
        model.zero_grad()
        loss(model(one[None]), target[None]).sum().backward()
        expected.append(nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()]))
    able = contestants.agreeing(contestants.norms(model, x, y, loss))
    assert {"factored", "torch.func.vmap"} <= {each for each, function in able.items() if function}
    assert of_images == all(able.values())
    for function in filter(None, able.values()):
        torch.testing.assert_close(function(), torch.stack(expected), rtol=1e-9, atol=0)


def test_a_library_that_gives_other_numbers_is_not_timed(contestants: ModuleType) -> None:
    ones = torch.ones(3)
    with pytest.raises(AssertionError, match="another"):
        contestants.agreeing({"one": lambda: ones, "another": lambda: ones * 1.001})
