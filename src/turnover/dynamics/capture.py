"""What a forward pass does with every parameter, recorded so that per-example gradients follow from one backward pass.

Every PyTorch function that is called with a trainable parameter is seen, whether by a module or by hand. Those that are
known give a factored gradient (`factors`); a parameter that meets any other function is found one example at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from turnover.dynamics.rules import RULES, Build


@dataclass(frozen=True)
class Use:
    """One function call with a parameter."""

    name: str  # of the parameter
    edge: GradientEdge  # of the output as the function left it, whatever is done to it in place afterwards
    build: Build


class Capture(TorchFunctionMode):
    """Inside, every use of a trainable parameter of `model` by a batch of this size is recorded.

    Attributes:
        uses: those whose gradients factor.
        others: names of parameters that met a function without a known factored gradient, with the function's name.
    """

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.names = {id(each): name for name, each in model.named_parameters() if each.requires_grad}
        self.batch = batch
        self.uses: list[Use] = []
        self.others: dict[str, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = [self.names[id(each)] for each in _tensors((args, kwargs)) if id(each) in self.names]
        output = func(*args, **kwargs)
        if not found or not any(each.requires_grad for each in _tensors(output)):
            return output  # no parameter, or no gradient flows: its shape was asked for, say
        known: dict[int, Build] = {}
        if isinstance(output, Tensor) and output.shape[:1] == (self.batch,) and func in RULES:
            known = RULES[func](output, *args, **kwargs)
        edge = get_gradient_edge(output) if known else None
        for each in _tensors((args, kwargs)):
            name = self.names.get(id(each))
            if name is not None and edge is not None and id(each) in known:
                self.uses.append(Use(name, edge, known[id(each)]))
            elif name is not None:
                self.others[name] = getattr(func, "__name__", str(func))
        return output


def _tensors(values: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)
