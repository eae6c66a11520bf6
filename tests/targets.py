"""Outputs and targets for every loss of an example."""

import torch
from torch import Tensor, nn

KINDS = ("class", "soft", "binary", "multilabel", "squared")


def targets(kind: str, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Targets y of n examples."""
    draw = torch.Generator().manual_seed(3)
    match kind:
        case "class":
            return torch.arange(n) % 3
        case "soft":
            return torch.rand(n, 3, generator=draw, dtype=dtype).softmax(1)
        case "binary":
            return (torch.arange(n) % 2).to(dtype)
        case "multilabel":
            return torch.randint(2, (n, 4), generator=draw).to(dtype)
        case _:
            return torch.randn(n, 2, generator=draw, dtype=dtype)


WIDTH = {"class": 3, "soft": 3, "binary": 1, "multilabel": 4, "squared": 2}


def network(kind: str, inputs: int = 6, hidden: int = 16) -> nn.Module:
    """A network whose outputs suit them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, WIDTH[kind]))
