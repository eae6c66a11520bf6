"""Compiled networks: what torch.compile hides from turn-over dropout is found by running the network itself once."""

from turnover.core.activations import Interception, TurnOverDropout
from turnover.errors import TurnOverError


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
