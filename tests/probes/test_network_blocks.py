"""Blocks of networks: every weight in one of them, what each passes on, and what is refused."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.models.conv import conv, vgg11
from turnover.models.cvt import cvt
from turnover.models.mlp import mlp
from turnover.probes.blocks import Block, blocks, features, in_order


class Called(nn.Module):
    """Activations are calls, layers are normalised, and a residual block is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.inner = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)])
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for layer in self.inner:
            x = x + F.relu(layer(x))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


class Shared(nn.Module):
    """One layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(64, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.again(self.again(self.first(x.flatten(1)))))
        return logits


def some_images(side: int = 8, channels: int = 1, n: int = 7) -> Examples:
    x = torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))
    return Examples(x, torch.zeros(n, dtype=torch.int64), torch.arange(n))


def running(model: nn.Module, images: Examples) -> list[Block]:
    return in_order(model, blocks(model), images)


CVT = {"dim": 8, "depth": 2, "heads": 2, "mlp_ratio": 1, "convolutions": 2}
NETWORKS = {
    "mlp": (lambda: mlp(64, [6, 5], 3), ["1", "3", "5"]),
    "conv": (lambda: conv(1, 3, width=2, side=8, dropout=0.5), ["block1", "block2", "block3", "logits"]),
    "vgg11": (lambda: vgg11(1, 3, width=2), [*(f"block{number}" for number in range(1, 6)), "logits"]),
    "cvt": (
        lambda: cvt((1, 8, 8), 3, **CVT),
        ["tokenizer", *(f"classifier.{name}" for name in ("blocks.0", "blocks.1", "attention_pool", "fc"))],
    ),
    "called": (Called, ["conv1", "inner.0", "inner.1", "fc"]),
    "wrapped": (Wrapped, ["net.1", "net.3"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_in_one_block(name: str) -> None:
    make, names = NETWORKS[name]
    model = make()
    found = running(model, some_images(32 if name == "vgg11" else 8))
    assert [block.name for block in found] == names
    entries = [entry for block in found for entry in block.entries]
    assert sorted(entries) == sorted(model.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_features_of_the_last_block_are_the_logits(name: str) -> None:
    model, images = NETWORKS[name][0](), some_images(32 if name == "vgg11" else 8)
    parts = running(model, images)
    values = features(model, images, parts, batch_size=3)
    assert model.training
    assert torch.allclose(values[-1], model.eval()(images.inputs), atol=1e-6)
    assert [len(value) for value in values] == [7] * len(parts)


def test_what_blocks_pass_on_by_hand() -> None:
    model, images = Called().eval(), some_images()
    first = F.relu(model.bn1(model.conv1(images.inputs)))
    second = first + F.relu(model.inner[0](first))
    third = second + F.relu(model.inner[1](second))
    values = features(model, images, blocks(model))
    for value, expected in zip(values, [first, second, third.mean((2, 3))], strict=False):
        assert torch.allclose(value, expected.flatten(1), atol=1e-6)
    pooled = features(model, images, blocks(model), pooled=True)
    assert torch.allclose(pooled[0], first.mean((2, 3)), atol=1e-6)


def test_tokens_and_positions_of_a_transformer() -> None:
    model: Any = cvt((1, 8, 8), 3, **CVT).eval()
    images, inner = some_images(), model.classifier
    tokens = model.tokenizer(images.inputs) + inner.positional_emb
    first = inner.blocks[0](tokens)
    normed = inner.norm(inner.blocks[1](first))
    parts = running(model, images)
    assert "classifier.positional_emb" in parts[0].entries
    values = features(model, images, parts, pooled=True)
    weights = inner.attention_pool(normed)[..., 0].softmax(1)
    for value, expected in zip(
        values,
        [tokens.mean(1), first.mean(1), normed.mean(1), torch.einsum("bn,bnd->bd", weights, normed)],
        strict=False,
    ):
        assert torch.allclose(value, expected, atol=1e-6)


def test_blocks_by_their_names() -> None:
    model, images = vgg11(1, 3, width=2), some_images(32)
    parts = blocks(model, ["block1", "block4", "logits"])
    assert [block.name for block in parts] == ["block1", "block4", "logits"]
    read = features(model, images, parts)
    assert torch.allclose(read[0], model[:3](images.inputs).flatten(1), atol=1e-6)  # what block4 reads
    for wrong, message in ((["block9"], "no module 'block9'"), (["block1.relu1"], "'block1.relu1' has no weights")):
        with pytest.raises(RefusedInput, match=message):
            blocks(model, wrong)


def test_a_layer_that_runs_twice_is_refused() -> None:
    model = Shared()
    with pytest.raises(RefusedInput, match=r"again, again, last after the first: name those"):
        features(model, some_images(), blocks(model))
    assert len(features(model, some_images(), blocks(model, ["first", "last"]))) == 2
