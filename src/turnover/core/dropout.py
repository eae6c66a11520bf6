"""Turn-over dropout on any nn.Module: own and flipped sub-networks of examples as contexts.

`attach` changes neither the class, the parameters nor the state_dict of a network. Inside `own` or `flipped` every
activation function that runs in the network's forward pass, whether a module or a call such as F.relu, is followed by
the mask of the examples in the batch. After a Linear layer's activation a bit stands for a neuron (in a transformer for
a channel, shared by all tokens), after a convolution's for a whole feature map. (Kobayashi et al., 2020; Liu et al.,
appendix B.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from turnover.core.activation_modules import candidates, has_values
from turnover.core.activations import Interception, Look, TurnOverDropout
from turnover.core.attachment import ATTRIBUTE, TrainingRecord, attached_to
from turnover.core.compiled import follow_checkpoints, refuse_hidden_activations
from turnover.core.masked import Subnetwork
from turnover.core.masks import MaskRule, check_ids
from turnover.errors import TurnOverError

Net = TypeVar("Net", bound=nn.Module)


def attach(model: Net, rule: MaskRule, layers: list[str] | None, dropout: float, look: Look) -> Net:
    """Prepare `model` for turn-over dropout and return it; other arguments as in `turnover.attach`.

    Args:
        rule: of the masks.
        look: called before every forward pass under masks, with the turn-over dropout, the network and its inputs.

    Raises:
        TurnOverError: a bad argument, a layer that does not exist, or turn-over dropout already attached.
    """
    if hasattr(model, "_orig_mod"):
        raise TurnOverError("attach turn-over dropout first and compile afterwards: torch.compile(attach(model))")
    if scripted := [name for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)]:
        raise TurnOverError(
            f"{scripted[0] or 'the network'} is scripted or traced by torch.jit, which hides its activations, so they "
            "would stay unmasked: attach turn-over dropout to the network as it was before torch.jit"
        )
    if any(hasattr(module, ATTRIBUTE) for module in model.modules()):
        raise TurnOverError(f"{type(model).__name__} has turn-over dropout attached already: call detach(model) first")
    modules = dict(model.named_modules())
    for name in layers or []:
        if name not in modules:
            raise TurnOverError(f"layers: no module is named {name!r}; there are {', '.join(filter(None, modules))}")
        if type(modules[name]).forward is nn.Module.forward:
            inside = ", ".join(f"{name}.{child}" for child, _ in modules[name].named_children())
            raise TurnOverError(f"layers: {name!r} is a list of modules and never runs itself; name them: {inside}")
    if layers is not None and not layers:
        raise TurnOverError("layers = []: name at least one module, or None for every hidden activation")
    if not 0 <= dropout < 1:
        raise TurnOverError(f"dropout = {dropout}: must be at least 0, which drops nothing, and less than 1")
    state = TurnOverDropout(rule, dropout, type(model).__name__, look)
    state.layers, state.record = layers, TrainingRecord()
    # a layer's own hooks run inside the root's: the root's are registered first and last
    state.handles.append(model.register_forward_pre_hook(partial(look, state), with_kwargs=True))
    state.handles.append(model.register_forward_pre_hook(state.enter_network, with_kwargs=True))
    for name, module in candidates(model, layers).items():
        hook = partial(state.enter_module, name, name in (layers or []))
        state.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        state.handles.append(module.register_forward_hook(state.leave_module))
    for name in layers or [""]:
        state.handles.append(modules[name].register_forward_pre_hook(state.enter_layers))
        state.handles.append(modules[name].register_forward_hook(state.leave_layers))
    state.handles.append(model.register_forward_hook(state.leave_network))
    state.handles.append(model.register_forward_hook(state.end_network, always_call=True))
    setattr(model, ATTRIBUTE, state)
    return model


def detach(model: Net) -> Net:
    """Remove turn-over dropout and return the plain network, with its current weights."""
    for handle in attached(model).handles:
        handle.remove()
    for module in model.modules():
        if hasattr(module, ATTRIBUTE):
            delattr(module, ATTRIBUTE)
    return model


@contextmanager
def own(model: nn.Module, ids: Tensor | None = None) -> Iterator[None]:
    """Run each example through its own sub-network, scaled by 1/p, in every `model(x)` inside. Train this.

    In training mode `dropout` of `attach` drops some of its units besides, others in every pass.

    Args:
        ids: the permanent id of each example of the batch; integers, not negative.  # [batch]

    Raises:
        TurnOverError: ids missing, of wrong length, dtype or sign; contexts nested; no activation was masked.
    """
    with subnetworks(model, [Subnetwork(check_ids(ids), flipped=False)]):
        yield


@contextmanager
def flipped(model: nn.Module, ids: Tensor | None = None) -> Iterator[None]:
    """Run each example through its flipped sub-network, scaled by 1/(1-p), in every `model(x)` inside.

    These are the units that the example never trains. Arguments and errors as in `own`.
    """
    with subnetworks(model, [Subnetwork(check_ids(ids), flipped=True)]):
        yield


@contextmanager
def subnetworks(model: nn.Module, subnets: list[Subnetwork]) -> Iterator[None]:
    """Run several sub-networks of each example in one pass: outputs inside are [subnetworks * batch, ...].

    The batch is repeated at the first masked activation, so everything below it is computed once.
    """
    state = attached(model)
    if state.wrapper != id(model):
        _refuse_several(model)
        state.wrapper = id(model)
    if state.subnetworks:
        raise TurnOverError("own and flipped cannot be nested: leave the first context before the second")
    if torch.compiler.is_compiling():
        raise TurnOverError("compile the network, not the function that enters own or flipped")
    follow_checkpoints()
    state.subnetworks, state.passes, state.strayed = subnets, 0, False
    try:
        with Interception(state):
            yield
        if not state.passes:
            raise TurnOverError(f"no forward pass of {state.network} ran inside: call the network, not a method of it")
        if state.compiled is not None:
            refuse_hidden_activations(state)
        ids = subnets[0].ids if len(subnets) == 1 and not subnets[0].flipped else None
        if ids is not None and torch.is_grad_enabled() and has_values(ids):
            state.record.note(ids)
    finally:
        state.subnetworks, state.running, state.compiled, state.stale = [], False, None, []


def _refuse_several(model: nn.Module) -> None:
    names = [name or "the whole" for name, module in model.named_modules() if ATTRIBUTE in vars(module)]
    if len(names) > 1:
        raise TurnOverError(
            f"turn-over dropout is attached to {len(names)} parts of {type(model).__name__} ({', '.join(names)}), of "
            "which one alone would be masked: detach these and attach it to the whole, with layers=[...] if need be"
        )


def attached(model: nn.Module) -> TurnOverDropout:
    """Return the turn-over dropout of a network, wrapped (torch.compile, DistributedDataParallel) or not."""
    return attached_to(model)[1]


def is_attached(model: nn.Module) -> bool:
    """Return True if turn-over dropout is attached to the network."""
    return any(hasattr(module, ATTRIBUTE) for module in model.modules())
