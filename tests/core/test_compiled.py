"""Compiled networks: one graph, the masks and steps of the network itself, compiled once, and fit for a CUDA graph."""

import copy
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._inductor import metrics
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.utils import get_first_incompatible_cudagraph_node
from torch.utils._pytree import tree_leaves

import turnover
from turnover.core import dropout
from turnover.core.masks import Balance, MaskRule
from turnover.models.conv import vgg11
from turnover.models.cvt import cvt
from turnover.models.gpt import GPT
from turnover.models.mlp import mlp

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp(3 * 32 * 32, [100, 64], 10),
    "vgg11": lambda: vgg11(3, 10, width=4),
    "transformer": lambda: cvt((3, 32, 32), 10, dim=16, depth=1, heads=2, mlp_ratio=1, convolutions=2),
    "language model": lambda: GPT(10, 8, layers=1, dim=16, heads=2, mlp_ratio=4),
}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double()


def batch(name: str, step: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, labels and ids of a step."""
    torch.manual_seed(step)
    x = torch.randint(10, (4, 8)) if name == "language model" else torch.randn(4, 3, 32, 32, dtype=torch.float64)
    y = torch.randint(10, (4, 8) if name == "language model" else (4,))
    return x.to(device), y.to(device), torch.randint(2**40, (4,)).to(device)


def step(model: nn.Module, x: Tensor, y: Tensor, ids: Tensor) -> list[Tensor]:
    """Return the logits of a pass under masks, and the gradients of their mean loss."""
    model.zero_grad()
    with turnover.own(model, ids):
        logits = model(x)
    F.cross_entropy(logits.flatten(0, -2), y.flatten()).backward()
    return [logits.detach(), *(cast(Tensor, parameter.grad) for parameter in model.parameters())]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_one_graph_and_that_of_the_network_itself(name: str) -> None:
    model = turnover.attach(made(name), seed=3)
    itself = copy.deepcopy(model)
    compiled = cast(nn.Module, torch.compile(model, backend="aot_eager", fullgraph=True))
    for number in range(3):
        given = batch(name, number)
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            found = step(compiled, *given)
        torch.testing.assert_close(found, step(itself, *given), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("p", "groups", "balance"), [(0.5, None, "bernoulli"), (0.3, 8, "bernoulli"), (0.3, None, "exact")]
)
def test_masks_are_the_same_bits(p: float, groups: int | None, balance: Balance, flipped: bool) -> None:
    rule, (_, _, ids) = MaskRule(p, 2**40 + 3, groups, balance), batch("mlp", 0)

    def multiplier(ids: Tensor) -> Tensor:
        return rule.multiplier(ids, 100, 7, flipped=flipped, dtype=torch.float32)

    compiled = torch.compile(multiplier, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(ids), multiplier(ids))


def test_a_mask_is_made_in_the_kernel_that_multiplies_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the C++ that PyTorch writes for a CPU, which is not compiled here."""
    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda *source: lambda *tensors: None)
    rule = MaskRule(0.5, 3)

    def hidden(x: Tensor, ids: Tensor) -> Tensor:
        return F.relu(x) * rule.multiplier(ids, 100, 0, flipped=False, dtype=torch.float32)

    metrics.reset()
    with torch._inductor.config.patch({"fx_graph_cache": False, "cpp.vec_isa_ok": False}):
        torch.compile(hidden, fullgraph=True)(torch.randn(4, 100), torch.arange(4))
    assert metrics.generated_kernel_count == 1


def test_a_unit_that_is_off_is_0_whatever_comes_in() -> None:
    first = nn.Linear(3, 64)
    model = turnover.attach(nn.Sequential(first, nn.ReLU(), nn.Linear(64, 2)))
    with torch.no_grad():
        first.bias[:32] = -torch.inf
    compiled = cast(nn.Module, torch.compile(model, backend="aot_eager", fullgraph=True))
    x, ids = torch.randn(4, 3), torch.arange(4)
    with turnover.own(compiled, ids):
        found = compiled(x)
    with turnover.own(model, ids):
        torch.testing.assert_close(found, model(x))
    assert found.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_suits_a_cuda_graph(name: str) -> None:
    """Forward and backward pass stay on the device of the network, and nothing in them waits for a number."""
    graphs: list[torch.fx.GraphModule] = []

    def kept(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    model = dropout.attach(made(name).to("meta"), MaskRule(0.5, 0), None, 0.0, lambda *given: None)
    backend = aot_autograd(fw_compiler=kept, bw_compiler=kept)
    step(cast(nn.Module, torch.compile(model, backend=backend, fullgraph=True)), *batch(name, 0, "meta"))
    assert len(graphs) == 2
    for graph in graphs:
        assert get_first_incompatible_cudagraph_node(graph) is None
        values = tree_leaves([node.meta.get("val") for node in graph.graph.nodes])
        places = {str(value.device) if isinstance(value, Tensor) else value for value in values} - {None}
        assert places == {"meta"}, "numbers among them have left the device"
