"""How turn-over dropout sees a network: every PyTorch function that its forward pass calls is shown to it.

This finds activations whether they are modules or calls such as F.relu, and tells neurons from feature maps by the last
layer with weights that ran.
"""

import copy
import weakref
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from turnover.errors import TurnOverError
from turnover.masked_relu import MaskedReLU
from turnover.masks import MaskRule

_ACTIVATIONS = frozenset(
    getattr(place, name + suffix)
    for place in (torch, F, torch.Tensor)
    for name in "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish "
    "hardsigmoid sigmoid tanh threshold logsigmoid glu softshrink hardshrink tanhshrink clamp_min".split()
    for suffix in ("", "_")
    if hasattr(place, name + suffix)
)
_RELU = frozenset({F.relu, torch.relu, torch.Tensor.relu})
_LINEAR = frozenset({F.linear, F.bilinear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.einsum})
_CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d})


@dataclass(frozen=True)
class Branch:
    """One sub-network an example: its own or flipped one, or with `ids=None` the full network."""

    ids: Tensor | None  # [batch]
    flipped: bool = False


class TurnOverDropout:
    """What `attach` leaves on a network: the rule of its masks, and where a forward pass is at the moment."""

    def __init__(self, rule: MaskRule, network: str) -> None:
        self.rule = rule
        self.network = network
        self.handles: list[RemovableHandle] = []
        self.branches: list[Branch] = []  # empty: the full network, untouched
        self.running = False  # inside the network's forward pass
        self.inside = 0  # depth of modules whose activations are masked
        self.before = 0  # masked activations before the innermost of them
        self.layer = 0  # number of the next activation, counted over all of them, masked or not
        self.widths: tuple[int, int] = (0, 0)  # channels of the last layer with weights, and of the last convolution
        self.channels_first = False  # whether the last layer with weights was a convolution
        self.masked = 0  # masked activations so far
        self.open = False  # a masked activation has not met a layer with weights yet
        self.passes = 0  # forward passes finished in this context
        self.trace: tuple[int, ...] = ()  # units of every activation so far
        self.expected: tuple[int, ...] | None = None  # the trace of the first pass ever
        self.stale: list[weakref.ref[Tensor]] = []  # activations made in place, whose masked version took their place
        self.compiled: tuple[nn.Module, Any, Any] | None = None  # network and inputs of a compiled forward pass
        self.activations: int | None = None  # how many there are, if the network was ever compiled

    def enter_network(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Hook before the network's forward pass."""
        if self.branches:
            self.running, self.inside, self.layer, self.masked = True, 0, 0, 0
            self.widths, self.channels_first, self.open, self.trace, self.stale = (0, 0), False, False, (), []
            if torch.compiler.is_compiling():
                self.compiled = (module, args, kwargs)

    def leave_network(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Hook after the network's forward pass: something was masked, and it was not the output."""
        if not self.branches:
            return
        self.running, self.stale = False, []
        self.passes += 1
        if not self.masked:
            raise TurnOverError(
                f"turn-over dropout masked nothing in {self.network}: no activation function ran in the chosen layers"
            )
        if self.open:
            raise TurnOverError(
                f"no layer with weights follows the last masked activation of {self.network}, so its output would be "
                "masked: name the hidden layers in attach(layers=[...])"
            )
        if torch.compiler.is_compiling():
            return  # compared with the network itself when the context ends
        self.expected = self.expected or self.trace
        if self.trace != self.expected:
            raise TurnOverError(
                f"the forward pass of {self.network} ran {len(self.trace)} activations, an earlier one "
                f"{len(self.expected)}, or ones of other widths. Masks are numbered in the order of activations, so "
                "the same ones must run every time, in training and in evaluation"
            )

    def enter_layers(self, module: nn.Module, inputs: Any) -> None:
        """Hook before a module whose activations are masked."""
        self.inside += 1
        self.before = self.masked

    def leave_layers(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Hook after a module whose activations are masked: there were some."""
        self.inside -= 1
        if self.running and self.masked == self.before:
            raise TurnOverError(
                f"turn-over dropout masked nothing in a {type(module).__name__} of {self.network}: no activation "
                "function ran inside it; it needs one, such as nn.ReLU(), between two layers"
            )

    def fuses(self, function: Any, args: Any, kwargs: Any) -> bool:
        """Whether this call is a ReLU whose mask is applied together with it, forward and backward."""
        return (
            function in _RELU
            and self.inside > 0
            and len(self.branches) == 1
            and self.branches[0].ids is not None
            and not kwargs.get("inplace", args[1:] == (True,))
            and len(args) > 0
            and args[0].dim() > 1
            and args[0].requires_grad
            and torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
        )

    def after(self, function: Any, args: Any, output: Any, fused: bool = False) -> Any:
        """The output of one function call in the forward pass, masked if it is an activation to be masked.

        If `fused`, the output is that of a ReLU without a gradient of its own.
        """
        if self.stale and any(each is one() for one in self.stale for each in args if isinstance(each, Tensor)):
            raise TurnOverError(
                f"{self.network} runs an activation in place and drops its result, so its mask would be lost: "
                "write x = relu(x), not relu(x)"
            )
        if function in _CONVOLUTIONS:
            self.widths, self.channels_first, self.open = (output.shape[1], output.shape[1]), True, False
        elif function in _LINEAR:
            self.widths, self.channels_first, self.open = (output.shape[-1], self.widths[1]), False, False
        elif function in _ACTIVATIONS and output.dim() > 1:  # not of a single parameter, say a temperature
            layer, self.layer = self.layer, self.layer + 1
            channel = self._channel(output)
            self.trace = (*self.trace, output.shape[channel])
            if self.inside:
                with _unseen(output):
                    masked = self._mask(output, layer, channel, args[0] if fused else None)
                if args and output is args[0] and not torch.compiler.is_compiling():
                    self.stale.append(weakref.ref(output))
                self.masked, self.open = self.masked + 1, True
                return masked
        return output

    def _channel(self, x: Tensor) -> int:
        """The dimension whose entries are units: features after a linear layer, maps after a convolution."""
        if x.dim() == 2:
            return 1
        channel, (width, maps) = (1 if self.channels_first else x.dim() - 1), self.widths
        beside = not self.channels_first and x.shape[1] == maps  # a linear layer, such as a gate, beside a convolution
        if (not width or x.shape[channel] == width) and not beside:
            return channel
        if beside and x.shape[channel] != width:
            return 1
        raise TurnOverError(
            f"cannot tell which dimension of an activation of {self.network} holds its units: it has shape "
            f"{tuple(x.shape)}, and the last layer with weights had {width}; choose others in attach(layers=[...])"
        )

    def _mask(self, x: Tensor, layer: int, channel: int, before: Tensor | None) -> Tensor:
        """x times the multipliers of each branch.  # [batch or branches * batch, ...] -> [branches * batch, ...]

        `before`: what x is the ReLU of, if the gradient is to go straight there.
        """
        count = len(self.branches)
        batch = next((len(branch.ids) for branch in self.branches if branch.ids is not None), len(x))
        if len(x) not in (batch, count * batch):
            raise TurnOverError(f"ids have length {batch}, but the batch in the network has {len(x)} examples")
        shape = [batch] + [1] * (x.dim() - 1)
        shape[channel] = units = x.shape[channel]
        parts = x.split(batch) if len(x) > batch else [x] * count  # the input of each branch, [batch, ...]

        def factor(branch: Branch, out: Tensor | None = None) -> Tensor:
            if branch.ids is None:
                return x.new_ones(()) if out is None else out.fill_(1)
            ids = branch.ids.to(x.device)
            return self.rule.multiplier(ids, units, layer, flipped=branch.flipped, dtype=x.dtype, out=out)

        if before is not None:
            scale = torch.tensor(self.rule.scale(units, flipped=self.branches[0].flipped), dtype=x.dtype).item()
            return MaskedReLU.apply(before, x, factor(self.branches[0]).reshape(shape), scale)
        if count == 1 or torch.is_grad_enabled():
            masked = [
                part * factor(one).reshape(shape if one.ids is not None else ())
                for part, one in zip(parts, self.branches, strict=True)
            ]
            return torch.cat(masked) if count > 1 else masked[0]
        layout = torch.contiguous_format
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            layout = torch.channels_last
        output = torch.empty((count * batch, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=layout)
        for part, place, one in zip(parts, output.split(batch), self.branches, strict=True):
            if x.dim() == 2:  # made where it is used: fresh memory costs as much as the arithmetic
                factor(one, out=place).mul_(part)
            else:
                torch.mul(part, factor(one).reshape(shape if one.ids is not None else ()), out=place)
        return output


def _unseen(x: Tensor) -> AbstractContextManager[None]:
    """Inside, function calls are shown to no TorchFunctionMode: a mask takes fifty, each slower to show than to do."""
    plain = type(x) is Tensor and not torch.compiler.is_compiling()
    return torch._C.DisableTorchFunction() if plain else nullcontext()


def refuse_hidden_activations(state: TurnOverDropout) -> None:
    """Compare the activations seen in a compiled forward pass with those of the network itself.

    torch.compile does not show every function to a TorchFunctionMode (torch.relu_ and F.hardswish are hidden, for
    example), and a hidden activation would stay unmasked without a word.
    """
    assert state.compiled is not None
    (network, args, kwargs), seen = state.compiled, state.layer
    state.compiled = None  # holds tensors of the graph, which cannot be copied
    if state.activations is None:
        # what a forward pass changes, such as batch statistics, changes in the twin
        twin, twin_state = copy.deepcopy((network, state))
        devices = {tensor.device for tensor in twin.parameters() if tensor.device.type == "cuda"}
        with torch.random.fork_rng(devices), torch.no_grad(), Interception(twin_state):
            twin(*args, **kwargs)
        state.activations = twin_state.layer
    if seen != state.activations:
        raise TurnOverError(
            f"torch.compile hides {state.activations - seen} of the {state.activations} activations of "
            f"{state.network}: use modules or functions that it shows, such as nn.ReLU or F.relu, "
            "or do not compile this network"
        )


class Interception(TorchFunctionMode):
    """Shows every PyTorch function call inside the network's forward pass to its turn-over dropout."""

    def __init__(self, state: TurnOverDropout) -> None:
        super().__init__()
        self.state = state

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.state.running:
            return func(*args, **kwargs)
        if self.state.fuses(func, args, kwargs):
            with torch.no_grad():
                output = func(*args, **kwargs)
            return self.state.after(func, args, output, fused=True)
        return self.state.after(func, args, func(*args, **kwargs))
