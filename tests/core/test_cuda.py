"""Nothing mixes devices: masks, a step's forward pass and scoring on fake CUDA tensors, which need no GPU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import GradientEdge
from torchvision.models.resnet import BasicBlock, ResNet

import turnover
from turnover.common.device import autocast
from turnover.common.seeding import torch_generator
from turnover.config.options import CvTConfig, MLPConfig, VGG11Config
from turnover.core import evaluation
from turnover.core.examples import Examples
from turnover.core.masks import Balance, MaskRule
from turnover.gradients.sets import contributions, set_gradients
from turnover.models import build
from turnover.models.mlp import mlp
from turnover.training.accuracy import Name, measure
from turnover.training.updates import Updates

CUDA = torch.device("cuda")
NETWORKS: dict[str, MLPConfig | VGG11Config | CvTConfig] = {
    "mlp": MLPConfig(name="mlp", hidden=[64, 32], dropout=0.0),
    "vgg11": VGG11Config(name="vgg11", width=8, bias=True, dropout=0.0, channels_last=True),
    "cvt": CvTConfig(
        name="cvt", dim=32, depth=2, heads=2, mlp_ratio=1, convolutions=2, dropout=0.0, channels_last=True
    ),
}


def network(name: str) -> nn.Module:
    if name == "resnet":
        return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    return build(NETWORKS[name], (3, 32, 32), 10)


def on_fake_cuda(model: nn.Module) -> nn.Module:
    """The network after `.to("cuda")`; made from a real one, since its initialisation looks at numbers."""

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)

    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(fake(parameter)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, fake(buffer))
    return model


def images() -> Examples:
    """20 stored images, prepared on their device; nothing else in a test is made on the GPU by hand."""
    pixels = torch.zeros(20, 3, 32, 32, dtype=torch.uint8, device=CUDA)
    scale, labels = torch.ones(3, 1, 1, device=CUDA), torch.zeros(20, dtype=torch.int64, device=CUDA)
    return Examples(pixels, labels, torch.arange(20, device=CUDA), lambda x: x.float() * scale)


@pytest.fixture
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    # the trial on a few examples compares numbers, and fake tensors have none
    monkeypatch.setattr(evaluation, "_can_share", lambda *arguments: True)


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
@pytest.mark.parametrize("name", [*NETWORKS, "resnet"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.usefixtures("_shared")
def test_step_and_scoring(name: str, precision: str, dropout: float) -> None:
    model = network(name)
    with FakeTensorMode():
        model, examples = turnover.attach(on_fake_cuda(model), dropout=dropout), images()
        order = torch.randperm(20, generator=torch_generator(0, "order", 1), device="cpu").to(CUDA)
        x, y, ids = examples.batch(order[:8])
        with turnover.own(model, ids), autocast(CUDA, precision):  # type: ignore[arg-type]
            loss = F.cross_entropy(model(x), y)
        wanted = (evaluation.own_units, evaluation.flipped_units, evaluation.all_units, evaluation.fresh_units(0))
        outcomes = evaluation.evaluate(model, examples, wanted, batch_size=8, precision=precision)  # type: ignore
    assert loss.device.type == "cuda"
    assert all(one.loss.device.type == one.prediction.device.type == "cuda" for one in outcomes)
    assert all(one.loss.shape == (20,) for one in outcomes)


@pytest.mark.parametrize("name", [*NETWORKS, "resnet"])
@pytest.mark.usefixtures("_shared")
def test_measuring_groups(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def number(tensor: torch.Tensor) -> float:
        devices.append(tensor.device.type)
        return 0.5

    monkeypatch.setattr(torch.Tensor, "__float__", number)
    model = network(name)
    with FakeTensorMode():
        model, everything = turnover.attach(on_fake_cuda(model)), images()
        groups: dict[Name, Examples] = {
            ("train", "easy"): everything.select(torch.arange(3)),
            ("train", "all"): everything,
            ("test", "all"): everything,
        }
        found = measure(model, groups, fresh_masks=2, precision="float32", batch_size=8)
    assert {group: len(values) for group, values in found.items()} == dict(zip(groups, (6, 8, 4), strict=True))
    assert devices == ["cuda"] * 18, "numbers leave the device one by one, at the end"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_single_examples(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(
        loss: torch.Tensor, edges: list[GradientEdge] | torch.Tensor, *arguments: object, **named: object
    ) -> list[torch.Tensor]:
        """PyTorch's own wants a real device: gradients of the right shapes take its place."""
        if isinstance(edges, torch.Tensor):
            return [torch.zeros_like(edges)]
        metadata = [edge.node._input_metadata[edge.output_nr] for edge in edges]
        return [torch.zeros(one.shape, dtype=one.dtype, device=one.device) for one in metadata]

    monkeypatch.setattr(torch.autograd, "grad", backward)
    # one example is compared with autograd, and fake tensors have no numbers
    monkeypatch.setattr("turnover.gradients.per_example._deviating", lambda *arguments: set())
    monkeypatch.setattr("turnover.gradients.per_example._refuse_mixing", lambda *arguments: None)
    model = network(name)
    with FakeTensorMode():
        model, examples = turnover.attach(on_fake_cuda(model)), images()
        found = set_gradients(model, examples, evaluation.own_units, layers=True, batch_size=8, precision=precision)  # type: ignore
        results = [found.cosine(), found.contribution(found.mean()), contributions(model, examples, found.mean())]
        observer = Updates(model, {"all": torch.ones(20, dtype=torch.bool, device=CUDA)}, lambda epoch: True)
        x, y, ids = examples.batch(torch.arange(8, device=CUDA))
        with observer.forward(1, 8), turnover.own(model, ids), autocast(CUDA, precision):  # type: ignore[arg-type]
            logits = model(x)
        observer.update(logits, y, torch.arange(8, device=CUDA))
    assert all(each.device.type == "cuda" for each in [*results, *found.layer_cosines().values()])
    assert all(each.device.type == "cuda" for sums in observer._sums.values() for each in sums.values())


def test_a_tensor_on_the_wrong_device_is_noticed() -> None:
    """The other tests here mean something only if a mix of devices raises."""
    with FakeTensorMode(), torch.device(CUDA):
        model = mlp(4, [3], 2)
        with pytest.raises(RuntimeError, match="device"):
            model(torch.zeros(2, 4, device="cpu"))
