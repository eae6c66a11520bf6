"""Turn-over dropout on any nn.Module: its own, flipped and full sub-networks as contexts.

`attach` changes neither the class, the parameters nor the state_dict of a network. Inside `own` or `flipped` every
activation function that runs in the network's forward pass, whether a module or a call such as F.relu, is followed by
the mask of the examples in the batch. After a Linear layer's activation a bit stands for a neuron (in a transformer for
a channel, shared by all tokens), after a convolution's for a whole feature map. (Kobayashi et al., 2020; Liu et al.,
appendix B.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from turnover.errors import TurnOverError
from turnover.masks import Balance, MaskRule, check_ids

Net = TypeVar("Net", bound=nn.Module)

_ACTIVATIONS = frozenset(
    getattr(place, name + suffix)
    for place in (torch, F, torch.Tensor)
    for name in "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish "
    "hardsigmoid sigmoid tanh threshold logsigmoid".split()
    for suffix in ("", "_")
    if hasattr(place, name + suffix)
)
_LINEAR = frozenset({F.linear, F.bilinear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.einsum})
_CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d})
_ATTRIBUTE = "_turnover"


def attach(
    model: Net,
    p: float = 0.5,
    seed: int = 0,
    layers: list[str] | None = None,
    groups: int | None = None,
    balance: Balance = "bernoulli",
) -> Net:
    """Prepare `model` for turn-over dropout and return it. Outside `own` and `flipped` it computes what it did before.

    Args:
        model: any network whose input and output have the batch as first dimension.
        p: share of the units that an example trains.
        seed: of the masks.
        layers: names of modules (as in `model.named_modules()`); activations that run inside them are masked.
            None: every hidden activation. The last logits never are.
        groups: examples share this many masks; None: a mask of its own for every example.
        balance: "bernoulli", every unit by itself; "exact", exactly a share p of a layer's units.

    Raises:
        TurnOverError: a bad argument, a layer that does not exist, or turn-over dropout already attached.
    """
    if hasattr(model, "_orig_mod"):
        raise TurnOverError("attach turn-over dropout first and compile afterwards: torch.compile(attach(model))")
    if any(hasattr(module, _ATTRIBUTE) for module in model.modules()):
        raise TurnOverError(f"{type(model).__name__} has turn-over dropout attached already: call detach(model) first")
    modules = dict(model.named_modules())
    for name in layers or []:
        if name not in modules:
            raise TurnOverError(f"layers: no module is named {name!r}; there are {', '.join(filter(None, modules))}")
    if layers is not None and not layers:
        raise TurnOverError("layers = []: name at least one module, or None for every hidden activation")
    state = TurnOverDropout(MaskRule(p, seed, groups, balance), type(model).__name__)
    # a layer's own hooks run inside the root's: the root's are registered first and last
    state.handles.append(model.register_forward_pre_hook(state.enter_network))
    for name in layers or [""]:
        state.handles.append(modules[name].register_forward_pre_hook(state.enter_layers))
        state.handles.append(modules[name].register_forward_hook(state.leave_layers))
    state.handles.append(model.register_forward_hook(state.leave_network))
    setattr(model, _ATTRIBUTE, state)
    return model


def detach(model: Net) -> Net:
    """Take turn-over dropout off again: the plain network, with the weights it has now."""
    for handle in attached(model).handles:
        handle.remove()
    for module in model.modules():
        if hasattr(module, _ATTRIBUTE):
            delattr(module, _ATTRIBUTE)
    return model


@contextmanager
def own(model: nn.Module, ids: Tensor | None = None) -> Iterator[None]:
    """Inside, `model(x)` runs each example through its own sub-network, scaled by 1/p. Train this.

    Args:
        ids: the permanent id of each example of the batch; integers, not negative.  # [batch]

    Raises:
        TurnOverError: ids missing, of wrong length, dtype or sign; contexts nested; no activation was masked.
    """
    with branches(model, [Branch(check_ids(ids), flipped=False)]):
        yield


@contextmanager
def flipped(model: nn.Module, ids: Tensor | None = None) -> Iterator[None]:
    """Inside, `model(x)` runs each example through its flipped sub-network, scaled by 1/(1-p).

    These are the units that the example never trains. Arguments and errors as in `own`.
    """
    with branches(model, [Branch(check_ids(ids), flipped=True)]):
        yield


@dataclass(frozen=True)
class Branch:
    """One sub-network an example: its own or flipped one, or with `ids=None` the full network."""

    ids: Tensor | None  # [batch]
    flipped: bool = False


@contextmanager
def branches(model: nn.Module, wanted: list[Branch]) -> Iterator[None]:
    """Inside, `model(x)` runs several sub-networks of each example in one pass: output [branches * batch, ...].

    The batch is repeated at the first masked activation, so everything below it is computed once.
    """
    state = attached(model)
    if state.branches:
        raise TurnOverError("own, flipped and branches cannot be nested: leave the first context before the second")
    state.branches = wanted
    try:
        with _Interception(state):
            yield
    finally:
        state.branches, state.running, state.masked = [], False, None


def attached(model: nn.Module) -> "TurnOverDropout":
    """The turn-over dropout of a network, also when it is wrapped (torch.compile, DistributedDataParallel)."""
    for module in model.modules():
        if hasattr(module, _ATTRIBUTE):
            state: TurnOverDropout = getattr(module, _ATTRIBUTE)
            return state
    raise TurnOverError(f"{type(model).__name__} has no turn-over dropout: call turnover.attach(model) first")


def is_attached(model: nn.Module) -> bool:
    """Whether `attach` was called on this network."""
    return any(hasattr(module, _ATTRIBUTE) for module in model.modules())


class TurnOverDropout:
    """What `attach` leaves on a network: the rule of its masks, and where a forward pass is at the moment."""

    def __init__(self, rule: MaskRule, network: str) -> None:
        self.rule = rule
        self.network = network
        self.handles: list[RemovableHandle] = []
        self.branches: list[Branch] = []  # empty: the full network, untouched
        self.running = False  # inside the network's forward pass
        self.inside = 0  # depth of modules whose activations are masked
        self.layer = 0  # number of the next activation, counted over all of them, masked or not
        self.channels_first = False  # whether the last layer with weights was a convolution
        self.masked: Tensor | None = None  # the last masked activation

    def enter_network(self, module: nn.Module, inputs: Any) -> None:
        if self.branches:
            self.running, self.inside, self.layer, self.masked = True, 0, 0, None

    def leave_network(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not self.branches:
            return
        self.running, masked, self.masked = False, self.masked, None
        if masked is None:
            raise TurnOverError(
                f"turn-over dropout masked nothing in {self.network}: no activation function ran in the chosen layers"
            )
        if output is masked:
            raise TurnOverError(
                f"the output of {self.network} is an activation, and an output must never be masked: "
                "name the hidden layers in attach(layers=[...])"
            )

    def enter_layers(self, module: nn.Module, inputs: Any) -> None:
        self.inside += 1

    def leave_layers(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.inside -= 1

    def after(self, function: Any, output: Any) -> Any:
        """The output of one function call in the forward pass, masked if it is an activation to be masked."""
        if function in _CONVOLUTIONS or function in _LINEAR:
            self.channels_first = function in _CONVOLUTIONS
        elif function in _ACTIVATIONS:
            layer, self.layer = self.layer, self.layer + 1
            if self.inside:
                self.masked = self._mask(output, layer)
                return self.masked
        return output

    def _mask(self, x: Tensor, layer: int) -> Tensor:
        """x times the multipliers of each branch.  # [batch or branches * batch, ...] -> [branches * batch, ...]"""
        count = len(self.branches)
        batch = next((len(branch.ids) for branch in self.branches if branch.ids is not None), len(x))
        if len(x) not in (batch, count * batch):
            raise TurnOverError(f"ids have length {batch}, but the batch in the network has {len(x)} examples")
        channel = 1 if self.channels_first else x.dim() - 1
        shape = [batch] + [1] * (x.dim() - 1)
        shape[channel] = units = x.shape[channel]
        factors = [
            x.new_ones(shape)
            if branch.ids is None
            else self.rule.multiplier(
                branch.ids.to(x.device), units, layer, flipped=branch.flipped, dtype=x.dtype
            ).reshape(shape)
            for branch in self.branches
        ]
        if count == 1:
            return x * factors[0]
        stacked = x.reshape(-1, batch, *x.shape[1:])  # [1 or branches, batch, ...]
        return (stacked * torch.stack(factors)).flatten(0, 1)


class _Interception(TorchFunctionMode):
    """Shows every PyTorch function call inside the network's forward pass to its turn-over dropout."""

    def __init__(self, state: TurnOverDropout) -> None:
        super().__init__()
        self.state = state

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        return self.state.after(func, output) if self.state.running else output
