"""Masks of activations in a forward pass, by interception of every PyTorch function that it calls.

Activations are modules or calls such as F.relu; the last layer that ran decides between neurons and feature maps.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from turnover.core.activation_modules import (
    CONVOLUTIONS,
    KNOWN,
    LAYERS,
    LINEAR,
    NORMS,
    OTHER_LAYERS,
    RELU,
    from_the_left,
    has_values,
    is_activation,
    is_one_activation,
    unit_dimension,
)
from turnover.core.masked import Masked, Subnetwork, masked, unseen
from turnover.core.masks import MaskRule
from turnover.errors import TurnOverError

# called before a forward pass under masks, with the network and its inputs
Look = Callable[["TurnOverDropout", nn.Module, Any, Any], None]


class TurnOverDropout:
    """State that `attach` adds to a network: the rule of its masks, and the progress of a forward pass."""

    def __init__(self, rule: MaskRule, dropout: float, network: str, look: Look) -> None:
        self.rule, self.dropout, self.network, self.look = rule, dropout, network, look
        self.handles: list[RemovableHandle] = []
        self.whole: set[str] = set()  # names of the modules that are one activation as a whole
        self.tried: set[str] = set()  # names of those of which this is known
        self.layers: list[str] | None = None  # names of the modules whose activations are masked; None: all
        self.verifying = False  # whether `verify` runs
        self.on_masked: Callable[[Masked], object] | None = None  # called with every masked activation
        self.wrapper = 0  # id of the module that `own` was entered with, which holds this turn-over dropout alone
        self.record: Any = None  # a `TrainingRecord`
        self.verified: set[Any] = set()  # modes and shapes of inputs that were verified
        self.weights: frozenset[int] = frozenset()  # ids of the network's parameters, once it was verified
        self.strayed = False  # whether a layer of it ran in this context, but not in its forward pass
        self.mixing: tuple[str, ...] = ()  # modules that mixed the examples of a batch in training
        self.subnetworks: list[Subnetwork] = []  # empty: the full network, untouched
        self.running = False  # inside the network's forward pass
        self.dropped = 0.0  # share of own units that are dropped in this pass: `dropout` in training, else 0
        self.inside = 0  # depth of modules whose activations are masked
        self.within = 0  # depth of modules inside one that is an activation as a whole
        self.masked_before = 0  # `masked_count` when the innermost of them was entered
        self.layer = 0  # number of the next activation, counted over all of them, masked or not
        self.widths: tuple[int, int] = (0, 0)  # channels of the last layer with weights, and of the last convolution
        self.by_rows = False  # whether the last layer with weights was a linear one, whose units come last
        self.channels_first = False  # whether the last layer with weights was a convolution
        self.masked_count = 0  # masked activations so far
        self.open = False  # a masked activation has not met a layer with weights yet
        self.passes = 0  # forward passes finished in this context
        self.trace: tuple[int, ...] = ()  # units of every activation so far
        self.expected: tuple[int, ...] | None = None  # the trace of the first pass ever
        self.stale: list[weakref.ref[Tensor]] = []  # activations made in place, whose masked version took their place
        self.spoiled: dict[int, Tensor] = {}  # the same by their memory, while `verify` runs
        self.compiled: tuple[nn.Module, Any, Any] | None = None  # network and inputs of a compiled pass

    @contextmanager
    def at(self, snapshot: dict[str, Any]) -> Iterator[None]:
        """Return to the forward pass at the time of `snapshot`, inside the context only."""
        now = self.snapshot()
        vars(self).update(snapshot)
        try:
            yield
        finally:
            vars(self).update(now)

    def snapshot(self) -> dict[str, Any]:
        """Return the state that changes during a forward pass."""
        counts = "inside within layer passes masked_before masked_count".split()
        names = [*counts, *"subnetworks running dropped widths by_rows channels_first open trace".split()]
        return {name: getattr(self, name) for name in names} | {"stale": list(self.stale)}

    def enter_network(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Hook before the network's forward pass."""
        if self.running:
            raise TurnOverError(f"{self.network} calls itself, and its masks would be those of one call: unroll it")
        if not (self.subnetworks or self.verifying or torch.compiler.is_compiling()):
            self.record.plain += module.training and torch.is_grad_enabled()
        if self.subnetworks:
            self.running, self.inside, self.within, self.layer, self.masked_count = True, 0, 0, 0, 0
            self.widths, self.channels_first, self.open, self.trace, self.stale = (0, 0), False, False, (), []
            self.by_rows, self.spoiled = False, {}
            self.dropped = self.dropout if module.training and not self.verifying else 0.0
            if torch.compiler.is_compiling():
                self.compiled = (module, args, kwargs)

    def leave_network(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Hook after the network's forward pass; refuses one without masks, or with a masked output."""
        if not self.subnetworks:
            return
        self.running, self.stale, self.passes = False, [], self.passes + 1
        if torch.compiler.is_compiling():
            return  # compared with the network itself when the context ends
        if not self.masked_count:
            raise TurnOverError(
                f"turn-over dropout masked nothing in {self.network}: no activation function ran in the chosen layers"
            )
        if self.open:
            raise TurnOverError(
                f"no layer with weights follows the last masked activation of {self.network}, so its output would be "
                "masked: let it give logits, without that activation, or name the hidden layers in attach(layers=[...])"
            )
        self.expected = self.expected or self.trace
        if self.trace != self.expected:
            raise TurnOverError(
                f"the forward pass of {self.network} ran {len(self.trace)} activations, an earlier one "
                f"{len(self.expected)}, or ones of other widths. Masks are numbered in the order of activations, so "
                "the same ones must run every time, in training and in evaluation: build the network without what runs "
                "in one of them alone, such as auxiliary classifiers (aux_logits=False)"
            )

    def end_network(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Hook after the network's forward pass, however it ended."""
        self.running, self.stale = False, []

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy, which is outside of any context."""
        outside = {"subnetworks": [], "running": False, "verifying": False, "on_masked": None, "compiled": None}
        return vars(self) | outside | {"stale": [], "spoiled": {}, "weights": frozenset()}

    def refuse_stray(self, function: Any, args: Any, kwargs: Any) -> None:
        """Refuse activations after layers of the network that run outside of its forward pass."""
        self.strayed |= function in LAYERS and any(id(argument) in self.weights for argument in args)
        if self.strayed and is_activation(function, args, kwargs):
            raise TurnOverError(
                f"a part of {self.network} runs outside of its forward pass, and its activations are not masked: let "
                "forward return what is needed of it, or leave the context before it runs"
            )

    def enter_layers(self, module: nn.Module, inputs: Any) -> None:
        """Hook before a module whose activations are masked."""
        self.inside += 1
        self.masked_before = self.masked_count

    def leave_layers(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Hook after a module whose activations are masked; refuses one without activations."""
        self.inside -= 1
        if self.running and self.masked_count == self.masked_before and not torch.compiler.is_compiling():
            raise TurnOverError(
                f"turn-over dropout masked nothing in a {type(module).__name__} of {self.network}: no activation "
                "function ran inside it; it needs one, such as nn.ReLU(), between two layers"
            )

    def enter_module(self, name: str, named: bool, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Hook before a module that may be an activation as a whole; `named`: in `layers`."""
        if self.running and not self.within and has_values(*args) and name not in self.tried:
            with self.at(self.snapshot() | {"running": False}):
                self.whole |= {name} if is_one_activation(module, args, kwargs, named=named) else set()
            self.tried.add(name)  # what compilers must not look at, or they compile again when it changes
        if self.running and (self.within or name in self.whole):
            self.within += 1

    def leave_module(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Hook after such a module; masks its output."""
        if not self.running or not self.within:
            return None
        self.within -= 1
        return None if self.within or not isinstance(output, Tensor) else self._activated(output, inputs)

    def fuses(self, function: Any, args: Any, kwargs: Any) -> bool:
        """Return True if this call is a ReLU that is computed with its mask as one operation."""
        mine = function in RELU and self.inside > 0 and not self.within and len(self.subnetworks) == 1 and len(args) > 0
        if not mine or self.subnetworks[0].ids is None or kwargs.get("inplace", args[1:] == (True,)):
            return False
        suits = torch.compiler.is_compiling() or has_values(args[0])
        return suits and args[0].dim() > 1 and args[0].requires_grad and torch.is_grad_enabled()

    def after(self, function: Any, args: Any, kwargs: Any, output: Any, fused: bool = False) -> Any:
        """Return the output of a function call, masked if it is a hidden activation.

        If `fused`, the output is that of a ReLU without a gradient of its own.
        """
        if self.stale and any(self._is_stale(argument) for argument in args if isinstance(argument, Tensor)):
            raise TurnOverError(
                f"{self.network} runs an activation in place and drops its result, so its mask would be lost: "
                "write x = relu(x), not relu(x)"
            )
        if function in CONVOLUTIONS or from_the_left(function, args):
            width = output.shape[1 if function in CONVOLUTIONS else from_the_left(function, args)]
            self.widths, self.channels_first, self.open, self.by_rows = (width, width), True, False, False
        elif function in LINEAR:
            self.widths, self.channels_first, self.open = (output.shape[-1], self.widths[1]), False, False
            self.by_rows = function in (F.linear, torch.addmm)
        elif function in OTHER_LAYERS:
            first = output[0] if isinstance(output, tuple) else output
            self.widths, self.channels_first, self.open = (first.shape[-1], self.widths[1]), False, False
        elif function in NORMS and args and args[0].dim() > 2:
            _, maps, *_, last = args[0].shape
            if not self.by_rows or maps == self.widths[0] or last != self.widths[0]:
                self.widths, self.channels_first = (maps, maps), True
        elif is_activation(function, args, kwargs) and not self.within and output.dim() > 1:  # not of a temperature
            return self._activated(output, args, fused, fresh=not self.on_masked and output is not (args or [None])[0])
        return output

    def _activated(self, output: Tensor, args: Any, fused: bool = False, fresh: bool = False) -> Tensor:
        """Return the output of the next activation, masked inside of the chosen layers; `fresh`: nobody holds it."""
        layer, self.layer = self.layer, self.layer + 1
        with unseen(output):
            channel = unit_dimension(output, args, self.widths, self.channels_first, self.network)
            self.trace = (*self.trace, output.shape[channel])
            if not self.inside:
                return output
            given = output if fresh else output.view_as(output)  # which stays as it is
            rest = args[0] if fused else None, self.network, self.dropped
            result = masked(given, self.subnetworks, self.rule, layer, channel, *rest)
        if args and output is args[0] and not torch.compiler.is_compiling():
            self.stale.append(weakref.ref(output))
            if self.verifying:  # kept, so that no other tensor gets its memory, and views of it are recognised
                self.spoiled[output.untyped_storage().data_ptr()] = output
        self.masked_count, self.open = self.masked_count + 1, True
        if self.on_masked is not None:
            self.on_masked(Masked(layer, args[0] if fused else output, result, channel))
        return result

    def _is_stale(self, x: Tensor) -> bool:
        of_view = self.verifying and x.untyped_storage().data_ptr() in self.spoiled
        return of_view or any(x is reference() for reference in self.stale)


class Interception(TorchFunctionMode):
    """Passes every PyTorch function call of the network's forward pass to its turn-over dropout."""

    def __init__(self, state: TurnOverDropout) -> None:
        super().__init__()
        self.state = state

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, state = kwargs or {}, self.state
        if not state.running and state.weights and not state.verifying:
            state.refuse_stray(func, args, kwargs)
        # most calls of a transformer are none of these, and as quick as what would be asked of them
        if not state.running or (func not in KNOWN and not state.stale):
            return func(*args, **kwargs)
        if state.fuses(func, args, kwargs):
            with torch.no_grad():
                output = func(*args, **kwargs)
            return state.after(func, args, kwargs, output, fused=True)
        return state.after(func, args, kwargs, func(*args, **kwargs))
