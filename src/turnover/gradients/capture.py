"""What a forward pass does with every parameter, recorded so that per-example gradients follow from one backward pass.

Every PyTorch function that is called with a trainable parameter is seen, whether by a module or by hand. Those that are
known give a factored gradient (`factors`); a parameter that meets any other function is found one example at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from turnover.checks.watched_pass import mixes_examples
from turnover.errors import TurnOverError
from turnover.gradients.rules import EXPANSIONS, RULES, Build, Known


@dataclass(frozen=True)
class Use:
    """One function call with a parameter."""

    name: str  # of the parameter
    edge: GradientEdge  # of the output as the function left it, whatever is done to it in place afterwards
    build: Build
    inputs: tuple[tuple[Tensor, int], ...]  # all tensors that it was given, and their versions then

    @property
    def spoiled(self) -> bool:
        """Whether an input was changed in place after the call, so that nothing can be built from it."""
        return any(each._version != version for each, version in self.inputs)


class Capture(TorchFunctionMode):
    """Inside, every use of a trainable parameter of `model` by a batch of this size is recorded.

    Attributes:
        uses: those whose gradients factor.
        others: names of parameters that met a function without a known factored gradient, with the function's name.
        low: whether anything was computed in less than 32 bits.

    Raises:
        TurnOverError: batch normalisation in training mode, which mixes the examples of a batch.
    """

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.names = {id(each): name for name, each in model.named_parameters() if each.requires_grad}
        self.batch = batch
        self.uses: list[Use] = []
        self.others: dict[str, str] = {}
        self.low = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if mixes_examples(func, args, kwargs):
            raise TurnOverError(
                "batch normalisation in training mode mixes the examples of a batch, so none has a gradient of its "
                "own: call model.eval() first"
            )
        given = list(_tensors((args, kwargs)))
        found = [each for each in given if id(each) in self.names]
        if not found or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        output = func(*args, **kwargs)
        if not any(each.requires_grad for each in _tensors(output)):
            return output  # its shape was asked for, say
        known: Known = []
        first = next((each for each in given if each.dim() and id(each) not in self.names), None)
        if isinstance(output, Tensor) and func in RULES and output.shape[:1] == (self.batch,):
            if func in EXPANSIONS or (first is not None and len(first) == self.batch):
                known = RULES[func](output, *args, **kwargs)
            self.low |= output.dtype.itemsize < 4
        inputs = tuple((each, each._version) for each in given if each is not output)
        for parameter, build in known:
            if id(parameter) in self.names:
                self.uses.append(Use(self.names[id(parameter)], get_gradient_edge(output), build, inputs))
        for each in found:
            if not any(each is parameter for parameter, _ in known):
                self.others[self.names[id(each)]] = getattr(func, "__name__", str(func))
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
