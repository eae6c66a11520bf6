"""Nothing mixes devices: masks, a step's forward pass and scoring on fake CUDA tensors, which need no GPU."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import turnover
from turnover import evaluation
from turnover.device import autocast
from turnover.dynamics.accuracy import measure
from turnover.examples import Examples
from turnover.masks import Balance, MaskRule
from turnover.models.mlp import mlp
from turnover.seeding import torch_generator

CUDA = torch.device("cuda")


def network(name: str) -> nn.Module:
    return mlp(3 * 32 * 32, [64, 32], 10) if name == "mlp" else torchvision.models.resnet18(num_classes=10)


@pytest.mark.parametrize("p", [0.5, 0.3])
@pytest.mark.parametrize("balance", ["bernoulli", "exact"])
@pytest.mark.parametrize("groups", [None, 8])
def test_masks(p: float, balance: Balance, groups: int | None) -> None:
    with FakeTensorMode():
        ids = torch.arange(16, device=CUDA)
        bits = turnover.mask(ids, 100, 0, 0, p, groups=groups, balance=balance)
        rule = MaskRule(p, 0, groups, balance)
        factors = rule.multiplier(ids, 100, 0, flipped=True, dtype=torch.bfloat16)
    assert bits.device.type == factors.device.type == "cuda"
    assert bits.shape == factors.shape == (16, 100)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_step_and_scoring(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # the trial on a few examples compares numbers, and fake tensors have none
    monkeypatch.setattr(evaluation, "_can_share", lambda *arguments: True)
    with FakeTensorMode(), torch.device(CUDA):
        model = turnover.attach(network(name))
        images = torch.zeros(20, 3, 32, 32, dtype=torch.uint8)
        scale = torch.ones(3, 1, 1)
        examples = Examples(images, torch.zeros(20, dtype=torch.int64), torch.arange(20), lambda x: x.float() * scale)
        order = torch.randperm(20, generator=torch_generator(0, "order", 1), device="cpu").to(CUDA)
        x, y, ids = examples.batch(order[:8])
        with turnover.own(model, ids), autocast(CUDA, precision):  # type: ignore[arg-type]
            loss = F.cross_entropy(model(x), y)
        wanted = (evaluation.own, evaluation.flipped, evaluation.full, evaluation.fresh(0))
        outcomes = evaluation.evaluate(model, examples, wanted, batch_size=8, precision=precision)  # type: ignore
    assert loss.device.type == "cuda"
    assert all(one.loss.device.type == one.prediction.device.type == "cuda" for one in outcomes)
    assert all(one.loss.shape == (20,) for one in outcomes)


def test_a_tensor_on_the_wrong_device_is_noticed() -> None:
    """The other tests here mean something only if a mix of devices raises."""
    with FakeTensorMode(), torch.device(CUDA):
        model = mlp(4, [3], 2)
        with pytest.raises(RuntimeError, match="device"):
            model(torch.zeros(2, 4, device="cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_real_gpu_gives_the_same_masks_and_scores() -> None:
    ids = torch.tensor([0, 1, 2**24 + 1, 2**40])
    assert torch.equal(turnover.mask(ids.cuda(), 500, 1, 2, 0.3).cpu(), turnover.mask(ids, 500, 1, 2, 0.3))
    model = turnover.attach(network("resnet18").double())
    x, y = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    on_cpu = turnover.score(model, x, y, ids)
    on_gpu = turnover.score(model.cuda(), x, y, ids)
    assert (on_cpu["score"] - on_gpu["score"]).abs().max() < 1e-9
    examples = Examples(x.cuda(), y.cuda(), ids.cuda())
    measure(model, examples, examples, fresh_masks=1, precision="float32")
