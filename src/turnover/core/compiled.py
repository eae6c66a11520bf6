"""Support for torch.compile and activation checkpointing.

One pass of the uncompiled network shows which activations torch.compile hides. A checkpointed part of a network runs a
second time during the backward pass, when `own` may have been left long ago, and must get the same masks: PyTorch's two
kinds of checkpoint keep a snapshot of the forward pass.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch.utils.checkpoint as checkpoints
from torch.overrides import _get_current_function_mode_stack

from turnover.core.activations import Interception, TurnOverDropout
from turnover.errors import TurnOverError

_Reentrant, _hook = checkpoints.CheckpointFunction, checkpoints._checkpoint_hook  # as PyTorch has them


def refuse_hidden_activations(state: TurnOverDropout) -> None:
    """Compare the activations seen in a compiled forward pass with those of the network itself, which is verified.

    torch.compile does not show every function to a TorchFunctionMode (torch.relu_ and F.hardswish are hidden, for
    example), and a hidden activation would stay unmasked without an error.
    """
    assert state.compiled is not None
    (network, args, kwargs), seen, whole = state.compiled, state.layer, set(state.whole)
    state.compiled = None  # holds tensors of the graph, which cannot be copied
    with Interception(state):
        state.look(state, network, args, kwargs)
    if state.whole - whole:
        raise TurnOverError(
            f"{state.network} has modules that are activations of their own, and compiling began before they were "
            "looked at: run one forward pass of the network that is not compiled under turnover.own, or this step again"
        )
    activations = len(state.expected or ())
    if state.expected is not None and seen != activations:
        raise TurnOverError(
            f"torch.compile hides {activations - seen} of the {activations} activations of {state.network}: use "
            "modules or functions that it shows, such as nn.ReLU or F.relu, outside of checkpoints, or do not compile "
            "this network"
        )


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` bound to the masks of every network whose `own` is entered now."""
    snapshots = [(mode.state, mode.state.snapshot()) for mode in _interceptions()]
    if not snapshots:
        return function

    def run(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as then:
            for state, snapshot in snapshots:
                then.enter_context(state.at(snapshot))
                if not any(mode.state is state for mode in _interceptions()):
                    then.enter_context(Interception(state))
            return function(*args, **kwargs)

    return run


def _interceptions() -> list[Interception]:
    return [mode for mode in _get_current_function_mode_stack() if isinstance(mode, Interception)]


def _is_verifying() -> bool:
    """Return True inside `verify`, which runs networks without checkpoints."""
    return any(mode.state.verifying for mode in _interceptions())


class _Checkpoint(checkpoints.CheckpointFunction):
    """PyTorch's reentrant checkpoint, with the masks of the first pass in the second one."""

    @classmethod
    def apply(cls, run_function: Callable[..., Any], *args: Any) -> Any:
        return run_function(*args[1:]) if _is_verifying() else super().apply(run_function, *args)

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
        rerun = remembered(run_function)  # before it runs
        output = _Reentrant.forward(ctx, run_function, *args)
        ctx.run_function = rerun
        return output


def _checkpoint_hook(frame: Any) -> AbstractContextManager[Any]:
    """Replacement of the hook of PyTorch's non-reentrant checkpoint."""
    if _is_verifying():
        return nullcontext()
    frame.recompute_fn = remembered(frame.recompute_fn)
    context: AbstractContextManager[Any] = _hook(frame)
    return context


def follow_checkpoints() -> None:
    """Patch `torch.utils.checkpoint` to keep masks; nothing changes outside of `own` and `flipped`."""
    vars(checkpoints).update(CheckpointFunction=_Checkpoint, _checkpoint_hook=_checkpoint_hook)
