"""Compiled networks: what torch.compile hides from turn-over dropout is found by running the network itself once."""

import copy

import torch

from turnover.errors import TurnOverError
from turnover.interception import Interception, TurnOverDropout


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
        if any(twin_state.whole[name] != state.whole.get(name, False) for name in twin_state.whole):
            state.whole, state.activations = twin_state.whole, None
            raise TurnOverError(
                f"{state.network} has modules that are activations of their own, and compiling began before they were "
                "looked at: run one forward pass of the network that is not compiled under turnover.own, or this step "
                "again"
            )
    if seen != state.activations:
        raise TurnOverError(
            f"torch.compile hides {state.activations - seen} of the {state.activations} activations of "
            f"{state.network}: use modules or functions that it shows, such as nn.ReLU or F.relu, "
            "or do not compile this network"
        )
