"""Networks whose forward pass is not run as it is written: by torch.compile, and by activation checkpointing.

What torch.compile hides from turn-over dropout is found by running the network itself once. A checkpointed part of a
network runs a second time during the backward pass, when `own` may have been left long ago, and must get the same
masks: PyTorch's two kinds of checkpoint are made to remember where in its forward pass a network was.
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
    example), and a hidden activation would stay unmasked without a word.
    """
    assert state.compiled is not None
    (network, args, kwargs), seen, whole = state.compiled, state.layer, dict(state.whole)
    state.compiled = None  # holds tensors of the graph, which cannot be copied
    with Interception(state):
        state.look(state, network, args, kwargs)
    if any(is_one and not whole.get(name) for name, is_one in state.whole.items()):
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
    """`function`, to be run again as it would run now: with the masks of every network whose `own` is entered."""
    places = [(mode.state, mode.state.place()) for mode in _interceptions()]
    if not places:
        return function

    def run(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as then:
            for state, place in places:
                then.enter_context(state.at(place))
                if not any(mode.state is state for mode in _interceptions()):
                    then.enter_context(Interception(state))
            return function(*args, **kwargs)

    return run


def _interceptions() -> list[Interception]:
    return [mode for mode in _get_current_function_mode_stack() if isinstance(mode, Interception)]


def _looked_at() -> bool:
    """Whether a network is only being looked at, which is done without checkpoints."""
    return any(mode.state.verifying for mode in _interceptions())


class _Checkpoint(checkpoints.CheckpointFunction):
    """PyTorch's reentrant checkpoint, whose second pass goes back to where the first one was."""

    @classmethod
    def apply(cls, run_function: Callable[..., Any], *args: Any) -> Any:
        return run_function(*args[1:]) if _looked_at() else super().apply(run_function, *args)

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
        again = remembered(run_function)  # before it runs
        output = _Reentrant.forward(ctx, run_function, *args)
        ctx.run_function = again
        return output


def _checkpoint_hook(frame: Any) -> AbstractContextManager[Any]:
    """Stands where `torch.utils.checkpoint` begins the part that its other kind will compute again."""
    if _looked_at():
        return nullcontext()
    frame.recompute_fn = remembered(frame.recompute_fn)
    context: AbstractContextManager[Any] = _hook(frame)
    return context


def follow_checkpoints() -> None:
    """Let `torch.utils.checkpoint` remember masks from now on; nothing changes outside of `own` and `flipped`."""
    vars(checkpoints).update(CheckpointFunction=_Checkpoint, _checkpoint_hook=_checkpoint_hook)
