"""Verification on a few examples, forward and backward, that every example trains its own units alone.

A network may do what masks cannot follow: hold the batch in another dimension, write an activation out by hand, compute
again in the backward pass. `verify` checks values and gradients, in the mode that the network is in, and changes
nothing of it. The first pass under `own` does the same, once for each mode and shape of inputs.
"""

import logging
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from turnover.checks.look import examine
from turnover.checks.report import Report
from turnover.checks.tied import TiedRule
from turnover.common.untouched import has_hooks
from turnover.core.activation_modules import has_values
from turnover.core.activations import Interception, TurnOverDropout
from turnover.core.attachment import attached_to
from turnover.core.dropout import attach as attach_with
from turnover.core.masks import Balance, MaskRule, check_ids
from turnover.errors import TurnOverError

log = logging.getLogger("turnover")

Net = TypeVar("Net", bound=nn.Module)

_warned: set[tuple[str, str]] = set()  # warnings, by network and kind: many networks may be trained
_SHAPES = 8  # of inputs that are verified at most in one mode: sequences may have any length


def attach(
    model: Net,
    p: float = 0.5,
    seed: int = 0,
    layers: list[str] | None = None,
    groups: int | None = None,
    balance: Balance = "bernoulli",
    dropout: float = 0.0,
    shared: float = 0.0,
) -> Net:
    """Prepare `model` for turn-over dropout and return it; outside `own` and `flipped` it computes as before.

    Args:
        model: any network whose input and output have the batch as first dimension.
        p: share of the units that an example trains.
        seed: of the masks.
        layers: names of modules (as in `model.named_modules()`); activations that run inside them are masked.
            None: every hidden activation. The last logits never are.
        groups: examples share this many masks; None: a mask of its own for every example.
        balance: "bernoulli", every unit by itself; "exact", exactly a share p of a layer's units.
        dropout: share of its own units that an example does not train in one pass, drawn anew in every pass in training
            mode, as ordinary dropout does. Whole feature maps after convolutions; 0: none.
        shared: share of the units that every example trains, beside a share p of the others; flipped sub-networks have
            these alone, as in example-tied dropout (Maini et al., 2023); 0: none.

    Raises:
        TurnOverError: a bad argument, a layer that does not exist, or turn-over dropout already attached.
    """
    rule = TiedRule(p, seed, groups, balance, shared) if shared else MaskRule(p, seed, groups, balance)
    return attach_with(model, rule, layers, dropout, look_once)


def verify(model: nn.Module, x: Any, ids: Any) -> Report:
    """Check that every example trains its own units alone, in the mode that `model` is in; nothing of it is changed.

    On a few of the examples: exchanging two ids changes these two alone; other examples do not matter; a unit outside
    of an example's mask gets no gradient from it, whatever the activation is made of; nothing is computed again without
    masks in the backward pass; training and evaluation run the same activations. The network runs about ten times, its
    hooks that are not PyTorch's do not.

    Args:
        model: with turn-over dropout attached.
        x: its input, or a tuple of its arguments, or a dict of its arguments by name.  # tensors [n, ...]
        ids: permanent ids of these examples.  # int [n]

    Raises:
        TurnOverError: one of these does not hold; names the module and says what to do.
    """
    root, state = attached_to(model)
    device = next(model.parameters()).device
    ids = check_ids(torch.as_tensor(ids, device=device))
    args, kwargs = ((), x) if isinstance(x, dict) else (x if isinstance(x, tuple) else (x,), {})
    with Interception(state):
        return examine(root, state, args, dict(kwargs), ids)


def look_once(state: TurnOverDropout, module: nn.Module, args: Any, kwargs: Any) -> None:
    """Hook before the network's forward pass; verifies it with such inputs once, and logs warnings."""
    if not state.subnetworks or state.verifying or torch.compiler.is_compiling():
        return
    tensors = [tensor for tensor in (*args, *kwargs.values()) if isinstance(tensor, Tensor)]
    kind = module.training, *((tensor.dtype, *tensor.shape[1:]) for tensor in tensors)
    if kind in state.verified or sum(verified[0] == module.training for verified in state.verified) >= _SHAPES:
        return
    ids = next((subnetwork.ids for subnetwork in state.subnetworks if subnetwork.ids is not None), None)
    if ids is None or not len(ids) or not _has_values_to_check(module, tensors):
        return
    expected = state.expected
    try:
        report = examine(module, state, args, kwargs, ids)
    except TurnOverError:
        raise
    except Exception as error:  # of the check itself; if the network fails, so does its own pass
        state.verified.add(kind)
        log.warning(
            "%s could not be looked at (%s: %s), so nothing is known of what its examples train; "
            "turnover.verify(model, x, ids) shows where it fails",
            state.network,
            type(error).__name__,
            str(error).splitlines()[0] if str(error) else "",
        )
        return
    finally:
        if any(map(has_hooks, module.modules())):  # the user's hooks may call activations of their own
            state.expected = expected
    first = not any(verified[0] == module.training for verified in state.verified)
    state.verified.add(kind)
    state.weights = frozenset(map(id, module.parameters()))
    if module.training and first:
        state.mixing = report.mixing
        for about, message in report.warnings(state.rule.keep(1 << 16), chosen=state.layers is not None).items():
            if (report.network, about) not in _warned:
                _warned.add((report.network, about))
                log.warning("%s", message)


def batch_statistics(model: nn.Module) -> tuple[str, ...]:
    """Return names of the modules that normalised by the statistics of a batch in training, or do so by default."""
    root, state = attached_to(model)
    if any(training for training, *_ in state.verified):
        return state.mixing
    return tuple(name for name, module in root.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))


def _has_values_to_check(module: nn.Module, tensors: list[Tensor]) -> bool:
    """Return True if there are values to check: not while PyTorch traces or transforms, or weights are lazy."""
    parameters = list(module.parameters())
    return not any(map(is_lazy, parameters)) and has_values(*tensors, *parameters)
