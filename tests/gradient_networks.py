"""Small networks that use their parameters in every way that gradients of single examples must cope with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.models.conv import vgg11
from turnover.models.cvt import cvt
from turnover.models.mlp import mlp


@dataclass(frozen=True)
class Case:
    """How to make a network, its inputs and how many classes it has."""

    network: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]  # batch size -> [batch, ...]
    classes: int


class Shared(nn.Module):
    """A layer that is used twice, a scale for each channel and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.head = nn.Linear(12, 12), nn.Linear(12, 4)
        self.scale, self.temperature = nn.Parameter(torch.rand(12)), nn.Parameter(torch.tensor(1.3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(x)) * self.scale
        logits: Tensor = self.head(torch.relu(self.twice(x))) * self.temperature
        return logits


class Words(nn.Module):
    """An embedding whose table is the output layer too, a position embedding, a class token and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6, padding_idx=2)
        self.position, self.token = nn.Parameter(torch.randn(1, 7, 6)), nn.Parameter(torch.randn(1, 1, 6))
        self.norm, self.layer = nn.LayerNorm(6), nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.unused = nn.Linear(3, 3)

    def forward(self, words: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(words), -1, -1), self.table(words)], dim=1)
        x += self.position
        x = self.frozen(self.layer(self.norm(x))).tanh()
        return F.linear(x.mean(dim=1), self.table.weight)


class Places(nn.Module):
    """Positions as language models have them: the first rows of tables, one row of all, parts of parts, a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.looked_up, self.sliced = nn.Embedding(9, 6), nn.Embedding(8, 6), nn.Embedding(8, 6)
        self.layer, self.scales = nn.Linear(6, 6), nn.Parameter(torch.randn(3, 6))

    def forward(self, words: Tensor) -> Tensor:
        n = torch.arange(words.shape[1])
        x = self.table(words) + self.looked_up(n) + self.looked_up(n[None] // 2) + self.sliced.weight[: len(n)]
        x = torch.tanh(self.layer(x * self.scales[1])) + self.sliced.weight[1:][0].unsqueeze(0)
        return F.linear(x.mean(dim=1), self.table.weight)


class Convolutions(nn.Module):
    """Groups, strides, dilations, both kinds of padding in words, batch normalisation and an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, (3, 2), groups=2, padding="same", dilation=2)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 1, padding="valid", groups=8, bias=False)
        self.third = nn.Conv2d(8, 6, (3, 2), stride=2, padding=(1, 0))
        self.head = nn.Linear(6, 3)
        nn.init.uniform_(self.norm.weight)
        nn.init.uniform_(self.norm.bias)
        self.norm.running_mean = torch.rand(8)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.norm(self.first(x)).relu_())
        logits: Tensor = self.head(self.third(x).relu_().mean(dim=(2, 3)))
        return logits


class Attention(nn.Module):
    """PyTorch's own attention, whose weights meet one function that has no formula, and a convolution used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv1d(6, 6, 3, padding=1)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.tanh(self.twice(x))).mT
        logits: Tensor = self.head(self.attention(x, x, x)[0].mean(dim=1))
        return logits


class TwiceConvolved(nn.Module):
    """One 2-d convolution in two places of different size."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.head = nn.Conv2d(3, 3, 3), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.twice(torch.relu(self.twice(x))).mean(dim=(2, 3)))
        return logits


def numbers(*shape: int) -> Callable[[int], Tensor]:
    return lambda batch: torch.randn(batch, *shape)


CASES = {
    "mlp": Case(lambda: mlp(12, [16, 9], 4), numbers(12), 4),
    "vgg11": Case(lambda: vgg11(3, 10, width=4), numbers(3, 32, 32), 10),
    "cvt": Case(
        lambda: cvt((1, 28, 28), 10, dim=16, depth=2, heads=2, mlp_ratio=1, convolutions=2), numbers(1, 28, 28), 10
    ),
    "shared": Case(Shared, numbers(12), 4),
    "words": Case(Words, lambda batch: torch.randint(9, (batch, 6)), 9),
    "places": Case(Places, lambda batch: torch.randint(9, (batch, 7)), 9),
    "convolutions": Case(Convolutions, numbers(4, 7, 6), 3),
    "attention": Case(Attention, numbers(6, 5), 3),
    "twice convolved": Case(TwiceConvolved, numbers(3, 9, 8), 4),
}
MASKED = ("mlp", "vgg11", "cvt", "convolutions")  # suit turn-over dropout


def made(case: Case, batch: int, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """The network in float64, inputs and labels."""
    torch.manual_seed(seed)
    network, x = case.network().double(), case.inputs(batch)
    return network, x.double() if x.is_floating_point() else x, torch.randint(case.classes, (batch,))
