"""Networks drawn at random train as those in which masks are multiplied in by hand, or are refused."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import turnover
from turnover.errors import TurnOverError

Multiply = Callable[[Tensor], Tensor]  # an activation -> masked by hand


class Gelu(nn.Module):
    """GPT-2's, written out."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


class Bent(nn.Module):
    """A function around two known ones."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) ** 2 - 0.1 * torch.sigmoid(x) * x


class Around(nn.Module):
    """A known one as a module inside of an own one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class SwishFunction(torch.autograd.Function):
    """A function with a backward pass of its own, as memory-efficient networks have it."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, error):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return error * s * (1 + x * (1 - s))


class Swish(nn.Module):
    """The same as a module."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = SwishFunction.apply(x)
        return result


ACTIVATIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "relu": lambda: F.relu,
    "relu in place": lambda: lambda x: F.relu(x, inplace=True),
    "method": lambda: lambda x: x.tanh(),
    "leaky": lambda: nn.LeakyReLU(),
    "module": nn.GELU,
    "module in place": lambda: nn.ReLU(inplace=True),
    "gate": lambda: lambda x: x * torch.sigmoid(1.702 * x),
    "own module": Gelu,
    "bent module": Bent,
    "nested module": Around,
    "swish module": Swish,
    # each of these is right only as a module
    "by hand": lambda: Gelu().forward,
    "bent by hand": lambda: Bent().forward,
    "around by hand": lambda: lambda x: x + torch.tanh(x),
    "square by hand": lambda: lambda x: F.relu(x) ** 2,
    "function": lambda: Swish().forward,
}
REFUSED = ("by hand", "bent by hand", "around by hand", "square by hand", "function")


@dataclass(frozen=True)
class Spec:
    """A network: how it is built, and how it treats its batch."""

    kind: str  # vector | tokens | maps
    activations: tuple[str, ...]  # a layer each
    norm: str
    skip: bool
    checkpointed: str
    last: bool = field(default=False)  # the batch comes second inside


class Drawn(nn.Module):
    """Layers of equal width, each with norm, activation and perhaps a skip connection."""

    def __init__(self, spec: Spec, width: int = 6) -> None:
        super().__init__()
        self.spec = spec
        layer: Callable[[], nn.Module] = lambda: nn.Linear(width, width)  # noqa: E731
        if spec.kind == "maps":
            layer = lambda: nn.Conv2d(width, width, 3, padding=1)  # noqa: E731
        self.layers = nn.ModuleList(layer() for _ in spec.activations)
        self.norms = nn.ModuleList(self._norm(spec, width) for _ in spec.activations)
        made = [ACTIVATIONS[name]() for name in spec.activations]
        self.modules_ = nn.ModuleList(each for each in made if isinstance(each, nn.Module))
        self.functions = made
        self.head = nn.Linear(width, 3)

    @staticmethod
    def _norm(spec: Spec, width: int) -> nn.Module:
        match spec.norm, spec.kind:
            case "layer", "vector" | "tokens":
                return nn.LayerNorm(width)
            case "layer", "maps":
                return nn.GroupNorm(2, width)
            case "batch", "maps":
                return nn.BatchNorm2d(width).eval()
            case "batch", "vector":
                return nn.BatchNorm1d(width).eval()
        return nn.Identity()

    def forward(self, x: Tensor, by_hand: Multiply | None = None) -> Tensor:
        if self.spec.last:
            x = x.transpose(0, 1)
        how = None if by_hand else self.spec.checkpointed
        if how in ("reentrant", "other"):
            x = checkpoint(self.body, x, use_reentrant=how == "reentrant")
        elif how == "layers":
            for number in range(len(self.layers)):
                x = checkpoint(self.layer, x, number, None, use_reentrant=False)
        else:
            x = self.body(x, by_hand)
        if self.spec.last:
            x = x.transpose(0, 1)
        x = {"vector": lambda x: x, "tokens": lambda x: x.mean(1), "maps": lambda x: x.mean((2, 3))}[self.spec.kind](x)
        return self.head(x)

    def body(self, x: Tensor, by_hand: Multiply | None = None) -> Tensor:
        for number in range(len(self.layers)):
            x = self.layer(x, number, by_hand)
        return x

    def layer(self, x: Tensor, number: int, by_hand: Multiply | None) -> Tensor:
        h = self.functions[number](self.norms[number](self.layers[number](x)))
        h = by_hand(h) if by_hand else h
        return x + h if self.spec.skip else h


def multiply(ids: Tensor, *, p: float, flipped: bool, channel: int) -> Multiply:
    """Masks of one layer after another, multiplied in."""
    layer = iter(range(100))

    def by_hand(h: Tensor) -> Tensor:
        mask = turnover.mask(ids, h.shape[channel], next(layer), 5, p)
        shape = [len(ids)] + [1] * (h.dim() - 1)
        shape[channel] = h.shape[channel]
        keep = round(p * 2**16) / 2**16
        scale = 1 / (1 - keep) if flipped else 1 / keep
        return h * (mask ^ flipped).reshape(shape) * scale

    return by_hand


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    kind = draw(st.sampled_from(("vector", "tokens", "maps")))
    return Spec(
        kind=kind,
        activations=tuple(draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=1, max_size=3))),
        norm=draw(st.sampled_from(("none", "layer", "batch"))),
        skip=draw(st.booleans()),
        checkpointed=draw(st.sampled_from(("no", "reentrant", "other", "layers"))),
        last=kind == "tokens" and draw(st.integers(0, 5)) == 0,
    )


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in model.parameters()]


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    specs(), st.sampled_from((0.3, 0.5)), st.booleans(), st.booleans(), st.integers(2, 5), st.sampled_from((5, 6, 7))
)
def test_a_drawn_network(spec: Spec, p: float, flipped: bool, inside: bool, batch: int, length: int) -> None:
    torch.manual_seed(0)
    model = Drawn(spec).double()
    twin = Drawn(spec).double()
    twin.load_state_dict(model.state_dict())
    shape = {"vector": (batch, 6), "tokens": (batch, length, 6), "maps": (batch, 6, 5, 4)}[spec.kind]
    x = torch.randn(
        shape, dtype=torch.float64, requires_grad=True
    )  # a reentrant checkpoint needs a gradient to pass on
    ids = torch.randperm(1000)[:batch]
    weights = torch.randn(batch, 3, dtype=torch.float64)
    turnover.attach(model, p=p, seed=5)
    context = turnover.flipped if flipped else turnover.own

    def train() -> tuple[Tensor, list[Tensor]]:
        with context(model, ids):
            logits = model(x)
            if inside:
                return logits, gradients(model, (logits * weights).sum())
        return logits, gradients(model, (logits * weights).sum())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if spec.last or set(spec.activations) & set(REFUSED):
            with pytest.raises(
                TurnOverError, match=r"batch_first=True|is only a part of the activation|autograd\.Func"
            ):
                train()
            return
        logits, found = train()
    expected = twin(x, multiply(ids, p=p, flipped=flipped, channel=1 if spec.kind == "maps" else -1))
    assert torch.allclose(logits, expected, rtol=1e-12, atol=1e-13)
    for ours, theirs in zip(found, gradients(twin, (expected * weights).sum()), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
