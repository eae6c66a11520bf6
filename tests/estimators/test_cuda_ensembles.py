"""Nothing mixes devices where networks are trained in a stack and their outcomes put together, on fake CUDA tensors."""

from collections.abc import Callable

import pytest
import torch
from test_cuda import on_fake_cuda
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from turnover.core.examples import Examples
from turnover.estimators.membership import log_likelihood_ratios, membership
from turnover.estimators.subsampling import all_but, influence, memorization, with_and_without
from turnover.models.mlp import mlp
from turnover.training.stack import train_stack

CUDA = torch.device("cuda")


def examples(n: int = 20) -> Examples:
    images = torch.zeros(n, 1, 4, 4, dtype=torch.uint8, device=CUDA)
    scale, labels = torch.ones(1, 1, 1, device=CUDA), torch.zeros(n, dtype=torch.int64, device=CUDA)
    return Examples(images, labels, torch.arange(n, device=CUDA), lambda x: x.float() * scale)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_a_stack(momentum: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def yes(tensor: Tensor) -> bool:
        """Whether weights are finite is the one number that leaves the device, once an epoch."""
        asked.append(tensor.device.type)
        return True

    models = [mlp(16, [8], 3) for _ in range(3)]
    steps: list[int] = []
    monkeypatch.setattr(torch.Tensor, "__bool__", yes)
    with FakeTensorMode():
        models = [on_fake_cuda(model) for model in models]  # type: ignore[misc]
        included = torch.arange(14, device=CUDA).expand(3, 14)
        options = {"momentum": momentum, "weight_decay": 0.1}
        train_stack(
            models,
            examples(),
            included,
            [1, 2, 3],
            lambda step: 0.1,
            epochs=2,
            batch_size=8,
            on_step=steps.append,
            **options,
        )
    assert steps == [3, 3, 3, 3]
    assert asked == ["cuda"] * 2
    assert all(parameter.device.type == "cuda" for model in models for parameter in model.parameters())


AGGREGATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "with_and_without": lambda values, included: torch.stack(with_and_without(values, included)),
    "memorization": lambda values, included: memorization(values > 0, included),
    "influence": lambda values, included: influence(values > 0, included),
    "ratios": log_likelihood_ratios,
    "membership": membership,
}


@pytest.mark.parametrize("networks", [10, 70])
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations(name: str, networks: int) -> None:
    with FakeTensorMode():
        values = torch.zeros(networks, 20, device=CUDA)
        found = AGGREGATIONS[name](values, values > 0)
    assert found.device.type == "cuda"
    assert found.dtype == torch.float64


def test_networks_that_leave_out_one_example() -> None:
    with FakeTensorMode():
        found = all_but(torch.arange(5, device=CUDA), 20)
    assert (found.device.type, found.shape) == ("cuda", (5, 20))
