"""A record of every use of a parameter in a forward pass, from which per-example gradients take one backward pass.

Every PyTorch function call with a trainable parameter is recorded, whether by a module or by hand. Functions with a
rule give a factored gradient (`factors`); that of a parameter with any other use is computed one example at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from turnover.checks.watched_pass import mixes_examples
from turnover.errors import TurnOverError
from turnover.gradients.rules import EXPANSIONS, RULES, SELECTIONS, Build, Known, Widen, of_selected, widening


@dataclass(frozen=True)
class Use:
    """One function call with a parameter."""

    name: str  # of the parameter
    edge: GradientEdge  # of the output as the function left it, whatever is done to it in place afterwards
    build: Build
    inputs: tuple[tuple[Tensor, int], ...]  # all tensors among its arguments, and their versions at the call

    @property
    def spoiled(self) -> bool:
        """Return True if an input was changed in place after the call, so that nothing can be built from it."""
        return any(tensor._version != version for tensor, version in self.inputs)


class Capture(TorchFunctionMode):
    """Records, inside the context, every use of a trainable parameter of `model` by a batch of this size.

    Attributes:
        uses: those whose gradients factor.
        others: names of parameters used by a function without a rule, with the function's name.
        low: whether anything was computed in less than 32 bits.

    Raises:
        TurnOverError: batch normalisation in training mode, which mixes the examples of a batch.
    """

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.batch = batch
        self.uses: list[Use] = []
        self.others: dict[str, str] = {}
        self.low = False
        # what was selected from a parameter, by its id (it is kept, so that no other tensor gets it), and the way back
        self._selected: dict[int, tuple[Tensor, Widen]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if mixes_examples(func, args, kwargs):
            raise TurnOverError(
                "batch normalisation in training mode mixes the examples of a batch, so none has a gradient of its "
                "own: call model.eval() first"
            )
        given = list(_tensors((args, kwargs)))
        parameters = [parameter for parameter in given if id(parameter) in self.names]
        if not parameters or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        output = func(*args, **kwargs)
        if not any(tensor.requires_grad for tensor in _tensors(output)):
            return output  # a query of its shape, for example
        builds: Known = []
        first = next((tensor for tensor in given if tensor.dim() and id(tensor) not in self.names), None)
        if isinstance(output, Tensor) and func in RULES and output.shape[:1] == (self.batch,):
            if func in EXPANSIONS or (first is not None and len(first) == self.batch):
                builds = RULES[func](output, *args, **kwargs)
            self.low |= output.dtype.itemsize < 4
        if func in SELECTIONS and not builds and self._same_for_all(given, parameters[0]):
            self._select(output, parameters[0], widening(parameters[0], func, args, kwargs))
            return output
        inputs = tuple((tensor, tensor._version) for tensor in given if tensor is not output)
        for parameter, build in builds:
            if id(parameter) in self.names:
                if id(parameter) in self._selected:
                    build = of_selected(build, *self._selected[id(parameter)])
                self.uses.append(Use(self.names[id(parameter)], get_gradient_edge(output), build, inputs))
        for parameter in parameters:
            if not any(parameter is built for built, _ in builds):
                self.others[self.names[id(parameter)]] = getattr(func, "__name__", str(func))
        return output

    def _same_for_all(self, given: Sequence[Tensor], parameter: Tensor) -> bool:
        """Return True if no argument but the parameter has the dimension of the batch."""
        return not any(tensor.shape[:1] == (self.batch,) for tensor in given if tensor is not parameter)

    def _select(self, part: Tensor, parameter: Tensor, widen: Widen) -> None:
        """Take a part of a parameter, or of such a part, for the parameter itself from now on."""
        if id(parameter) in self._selected:
            earlier, last = self._selected[id(parameter)][1], widen
            widen = lambda rows: earlier(last(rows))  # noqa: E731
        self.names[id(part)] = self.names[id(parameter)]
        self._selected[id(part)] = part, widen


def _tensors(values: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
