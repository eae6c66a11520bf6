"""A forward pass under observation: its activations, and the tensors that each of them is computed from."""

import sys
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from turnover.core.activation_modules import ACTIVATIONS, CONVOLUTIONS, LAYERS, NORMS, OTHER_LAYERS, from_the_left
from turnover.core.activations import TurnOverDropout
from turnover.core.masked import Masked, unseen

BY_HAND = (
    "write the whole of it as a module without weights, class Activation(nn.Module): def forward(self, x): return ..., "
    "and call an instance of it"
)


def mixes_examples(function: Any, args: Any, kwargs: Any) -> bool:
    """Return True if a call is batch normalisation by the statistics of the batch."""
    if function is not F.batch_norm:
        return False
    training = kwargs.get("training", args[5] if len(args) > 5 else False)
    return bool(training or kwargs.get("running_mean", args[1] if len(args) > 1 else None) is None)


class WatchedPass(TorchFunctionMode):
    """Observes a forward pass, above the `Interception` that masks it.

    Batch normalisation keeps the statistics of the first pass, so that examples can be changed one at a time. If `cut`,
    the graph is cut at every function that is not elementwise: each piece of it belongs to one activation.
    """

    def __init__(
        self, module: nn.Module, state: TurnOverDropout, statistics: list[tuple[Tensor, Tensor]], cut: bool
    ) -> None:
        super().__init__()
        self.module, self.state, self.cut = module, state, cut
        self.outputs: list[Tensor] = []
        self.masked: list[tuple[str, Masked]] = []  # with the name of its module
        self.modules: list[tuple[str, Tensor]] = []  # outputs of modules, in the order of their ends
        self.stack: list[str] = []
        self.statistics = statistics  # of every batch normalisation, by the first pass
        self.normalised = 0
        self.mixing: list[str] = []  # modules that normalise by the batch
        self.layers: list[Tensor] = []  # inputs of layers with weights, if there is a graph
        self.sources: list[Tensor] = []  # where the pieces of a cut graph begin
        self.units: list[int | None] = []  # the dimension in which each of these has its units, if it is known
        self.sinks: list[Tensor] = []  # where they end
        self.into_layers: list[Tensor] = []  # those of them that are inputs of layers
        self.weights: list[str] = []  # the name of the matrix that made each of these, if one did
        self.hidden: list[str] = []  # functions that may be activations, and are not masked
        self.broken: list[tuple[str, str]] = []
        self._given = frozenset[tuple[str, int]]()  # origin of the arguments of the function that runs
        self._origin: dict[int, frozenset[tuple[str, int]]] = {}  # by tensor: sources and masks that it is made of
        self._names = {id(parameter): name for name, parameter in module.named_parameters() if parameter.dim() > 1}
        self._kept: list[Any] = []

    def __enter__(self) -> "WatchedPass":
        self.state.on_masked = self._mask
        for name, module in self.module.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                enter, leave = partial(self._enter, name), partial(self._leave, name)
                self._kept.append(module.register_forward_pre_hook(enter, prepend=True))
                self._kept.append(module.register_forward_hook(leave, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.state.on_masked = None
        for handle in self._kept:
            handle.remove()
        if self.cut and not any(error):
            self.sinks += [output for output in self.outputs if output.requires_grad]

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self.stack.append(name)

    def _leave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()
        first = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
        if first is not None and not self.cut and not torch.is_grad_enabled():
            self.modules.append((name, first))

    def _mask(self, activation: Masked) -> None:
        name = self.stack[-1]
        if self.cut:
            origin = self._of(activation.before) | self._given
            self._origin[id(activation.before)] = origin
            self._origin[id(activation.after)] = frozenset({("mask", len(self.masked))})
            function = _autograd_function() if not torch.is_grad_enabled() else None
            if function is not None:
                what = f"runs an activation inside of {function}, a torch.autograd.Function, whose backward pass knows"
                self.broken.append((name, f"{what} nothing of masks; {BY_HAND}"))
        self.masked.append((name, activation))

    def reach(self, tensor: Tensor) -> list[int]:
        """Return the numbers of the masked activations it is computed from, elementwise."""
        return sorted(number for kind, number in self._of(tensor) if kind == "mask")

    def comes_from(self, tensor: Tensor) -> list[int]:
        """Return the numbers of the sources it is computed from, elementwise."""
        return sorted(number for kind, number in self._of(tensor) if kind == "source")

    def _of(self, tensor: Tensor) -> frozenset[tuple[str, int]]:
        return self._origin.get(id(tensor), frozenset())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.stack:
            return func(*args, **kwargs)
        if mixes_examples(func, args, kwargs):
            self.mixing.append(self.stack[-1])
            func, args, kwargs = F.batch_norm, self._frozen(*args, **kwargs), {}
        if func in LAYERS and not self.cut:
            batch = (args or (kwargs.get("input"),))[func is torch.addmm or from_the_left(func, args) < 0]
            self.layers += [batch] if isinstance(batch, Tensor) and batch.grad_fn is not None else []
        if not self.cut or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        where = self.stack[-1] or "the network"
        unseen_before = any(tensor.grad_fn is not None and id(tensor) not in self._origin for tensor in given)
        if _passes_entries_on(func):
            self._given = origin = frozenset[tuple[str, int]]().union(*map(self._of, given))
            output = func(*args, **kwargs)
            bends = origin and func not in ACTIVATIONS and _name(func) in _BENDING
            made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            for leaf in made:
                if not (self.masked and leaf is self.masked[-1][1].after):
                    self._origin[id(leaf)] = origin | {(func.__name__, -1)} if bends else origin
            self.hidden += [f"a function in {where}"] if made and unseen_before else []
            return output
        sinks = [tensor for tensor in given if tensor.requires_grad and self._of(tensor)]
        self.sinks += sinks
        if func in LAYERS or func in OTHER_LAYERS:
            self.into_layers += sinks
            bent = (
                name for tensor in sinks if not self.reach(tensor) for name, number in self._of(tensor) if number < 0
            )
            self.hidden += [f"{name} in {where}" for name in bent]
        units = {**dict.fromkeys(CONVOLUTIONS, 1), **dict.fromkeys(NORMS, 1), F.linear: -1}.get(func)
        weight = next((self._names[id(tensor)] for tensor in given if id(tensor) in self._names), "")
        self.hidden += [f"a function in {where}"] if unseen_before and func in LAYERS else []
        output = func(*args, **kwargs)
        # functions of constants alone, such as the angles of positions, stay constant
        parameters = any(isinstance(tensor, nn.Parameter) for tensor in given)
        if not parameters and not any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(output)):
            return output
        return tree_map(partial(self._source, units, weight), output)

    def run_again(self) -> list[str]:
        """Return names of the matrices that are used more than once, each time before another mask."""
        uses: dict[str, set[tuple[int, int]]] = {}  # by matrix: the calls, and the masks that followed
        for number, (_, activation) in enumerate(self.masked):
            for source in self.comes_from(activation.before):
                uses.setdefault(self.weights[source], set()).add((source, number))
        return [
            name
            for name, pairs in uses.items()
            if name and len({source for source, _ in pairs}) > 1 < len({mask for _, mask in pairs})
        ]

    def _source(self, units: int | None, weight: str, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        with unseen(output):
            source = output.detach().requires_grad_()
            self._origin[id(source)] = frozenset({("source", len(self.sources))})
            self.sources.append(source)
            self.units.append(units)
            self.weights.append(weight)
            output = source.clone()  # may be changed in place
        self._origin[id(output)] = self._of(source)
        return output

    def _frozen(
        self,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Any, ...]:
        """Return arguments of a batch normalisation with the statistics that it had in the first pass."""
        if self.normalised == len(self.statistics):
            with unseen(input), torch.no_grad():
                over = [dim for dim in range(input.dim()) if dim != 1]
                wide = input.detach().to(torch.promote_types(input.dtype, torch.float32))
                self.statistics.append((wide.mean(over), wide.var(over, unbiased=False)))
        mean, variance = self.statistics[self.normalised]
        self.normalised += 1
        return input, mean, variance, weight, bias, False, momentum, eps


class Backward(TorchFunctionMode):
    """Records activation functions that a backward pass calls without masks."""

    def __init__(self, state: TurnOverDropout) -> None:
        super().__init__()
        self.state = state
        self.unmasked = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ACTIVATIONS and not self.state.running and _autograd_function("backward") is None:
            self.unmasked = func.__name__
        return func(*args, **(kwargs or {}))


# no activations by themselves, but often parts of ones written by hand
_BENDING = frozenset("clamp clip clamp_max maximum minimum where sin cos exp erf square abs log1p".split()) | {
    function.__name__.rstrip("_") for function in ACTIVATIONS
}
_ENTRIES = frozenset(  # functions each of whose output's entries is one entry of an input, or made of one of each
    "get view view_as reshape reshape_as flatten unflatten squeeze unsqueeze transpose t mT swapaxes movedim permute "
    "chunk split tensor_split unbind getitem setitem select narrow expand expand_as broadcast_to contiguous clone to "
    "float half double bfloat16 type type_as masked_fill where pow dropout dropout1d dropout2d dropout3d".split()
)


def _name(function: Any) -> str:
    """Return PyTorch's name of a function, in place or not, an operator of Python or one of torch.ops."""
    return str(getattr(function, "__name__", "")).split(".")[0].strip("_")


@cache
def _passes_entries_on(function: Any) -> bool:
    """Return True if a function is elementwise, or only rearranges entries."""
    name = _name(function)
    for prefix, kinds in (("r", "add sub mul truediv pow"), ("i", "add sub mul truediv pow")):
        if name.removeprefix(prefix) in kinds.split():
            name = name.removeprefix(prefix)
    packet = getattr(torch.ops.aten, {"truediv": "div"}.get(name, name), None)
    tagged = packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )
    return function in ACTIVATIONS or name in _ENTRIES or tagged


def _autograd_function(method: str = "forward") -> str | None:
    """Return the name of the torch.autograd.Function whose method the caller runs in, else None."""
    functions, codes = [torch.autograd.Function], {}
    for function in functions:
        functions += function.__subclasses__()
        code = getattr(getattr(function, method, None), "__code__", None)
        codes[code] = function.__name__
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code in codes:
            return codes[frame.f_code]
    return None
