"""Probes of a user's own network."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.user_network import taken_by
from turnover.errors import RefusedInput
from turnover.probes.registry import measured
from turnover.probes.trained import State, Trained, split


@torch.inference_mode(False)
@torch.enable_grad()
def probe(
    model: nn.Module | Sequence[nn.Module],
    x: Any,
    y: Any = None,
    *,
    probe: str,
    true_y: Any = None,
    test: tuple[Any, Any] | None = None,
    weights: Mapping[int, nn.Module | State] | None = None,
    blocks: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Measure what a finished classifier has made of its training examples, block by block.

    Blocks are the layers of the network: its children with weights, each with the activations behind it. What a block
    passes on is what the next one reads. The network is the same afterwards.

    Args:
        model: the network, which gives logits; of `similarity` several.
        x, y: training examples, as in `turnover.score`.
        probe: rewind (one block set back to earlier weights), neurons (units to be zeroed until a prediction flips),
            knn (accuracy of nearest neighbours), collapse (dilation of wrong labels, neural collapse), similarity
            (PWCCA and linear CKA of networks), dimension (intrinsic, by two neighbours).
        true_y: true labels of the training examples; those that differ from `y` are noisy. None: none is.
        test: inputs and labels of other examples, for knn, collapse and, unless `options` say otherwise, similarity and
            dimension.
        weights: of the network at earlier epochs, as networks or state_dicts, 0 for initial ones; rewind sets blocks
            back to them, knn measures initial ones too.
        blocks: names of the modules that are the blocks, in the order in which they run; None: found.
        options: of the probe, by their names in `turnover.config.probes.PROBES`.

    Returns:
        A row for each number: probe, run (number of the network), epoch (0 or another one of `weights`; empty: as
        given), block, group of examples (clean, noisy, test), id of an example if it is one's own, measure, value.

    Raises:
        RefusedInput: data that do not suit the network, or lack what the probe needs. Says what to do.
    """
    models = [model] if isinstance(model, nn.Module) else list(model)
    if not models:
        raise RefusedInput("model = []: give a trained network, or several")
    if weights and len(models) > 1:
        raise RefusedInput("weights are those of one network at earlier epochs, and several networks are given")
    networks = [
        _trained(str(number), each, x, y, true_y, test, weights or {}, blocks) for number, each in enumerate(models)
    ]
    return measured(probe, networks, options or {})


def _trained(
    name: str,
    model: nn.Module,
    x: Any,
    y: Any,
    true_y: Any,
    test: tuple[Any, Any] | None,
    weights: Mapping[int, nn.Module | State],
    blocks: Sequence[str] | None,
) -> Trained:
    device, dtype = taken_by(model)
    train = user_examples(x, y, None, device=device, dtype=dtype)
    refuse_unsuited(model, train)
    true = train.labels
    if true_y is not None:
        true = user_examples(x, true_y, None, device=device, dtype=dtype).labels
    earlier = {epoch: partial(_state, model, epoch, given) for epoch, given in weights.items()}
    groups, truth = split(train, true)
    if test is not None:
        groups["test"] = user_examples(*test, None, device=device, dtype=dtype)
        truth["test"] = groups["test"].labels
        refuse_unsuited(model, groups["test"])
    return Trained(name, model, groups, truth, earlier=earlier, named=blocks)


def _state(model: nn.Module, epoch: int, given: nn.Module | State) -> State:
    state = given.state_dict() if isinstance(given, nn.Module) else given
    own = model.state_dict()
    if not isinstance(state, Mapping) or {name: value.shape for name, value in state.items()} != {
        name: value.shape for name, value in own.items()
    }:
        raise RefusedInput(f"weights[{epoch}] must be those of the same network: its state_dict, or a network like it")
    return dict(state)
