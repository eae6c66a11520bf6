"""Turn-over dropout in 100 lines of plain PyTorch, each step against the library's."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from readings import page
from sklearn.datasets import load_digits
from torch import nn

import turnover


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    [code] = re.findall(r"```python\n(.*?)```", page("hundred-lines.md"), flags=re.DOTALL)
    assert len(code.splitlines()) <= 100
    names: dict[str, Any] = {"__name__": "plain"}
    exec(compile(code, "hundred-lines.md", "exec"), names)
    return names


@pytest.mark.parametrize(("layer", "seed"), [(0, 0), (3, 12345)])
def test_masks_are_the_same_bits(plain: dict[str, Any], layer: int, seed: int) -> None:
    ids = [0, 1, 2, 59_999, 1 << 41, (1 << 63) - 1]
    expected = turnover.mask(torch.tensor(ids), units=100, layer=layer, seed=seed)
    assert torch.equal(plain["own_mask"](ids, 100, layer, seed), expected)


def test_the_loop_and_the_scores_are_the_same(plain: dict[str, Any]) -> None:
    digits = load_digits()
    x, y = torch.tensor(digits.data[:200] / 16), torch.tensor(digits.target[:200])
    y[:20] = (y[:20] + 1) % 10
    torch.manual_seed(0)
    network = plain["Network"](64, 96, 10)
    weights = ("w1", "b1", "w2", "b2")
    for name in weights:
        setattr(network, name, getattr(network, name).detach().double().requires_grad_())
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)).double()
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), weights, strict=True):
            parameter.copy_(getattr(network, name))
    masks, ids = plain["own_mask"](list(range(200)), 96, 0, 7), torch.arange(200)
    turnover.attach(model, seed=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(40):
        for index in torch.randperm(200, generator=torch.Generator().manual_seed(epoch)).split(32):
            with turnover.own(model, ids[index]):
                loss = F.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    plain["train"](network, x, y, masks, epochs=40, lr=0.1, batch=32)
    for parameter, name in zip(model.parameters(), weights, strict=True):
        assert torch.allclose(parameter, getattr(network, name), rtol=0, atol=1e-10)
    expected = torch.tensor(turnover.score(model, x, y, ids)["score"].to_numpy()).double()
    found = plain["scores"](network, x, y, masks)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found[:20].mean() > found[20:].mean() + 1, "wrong labels are memorized"
