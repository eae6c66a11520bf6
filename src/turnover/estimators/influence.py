"""Influence of training examples on other examples, from turn-over dropout (Liu et al., equation 5)."""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.checks.arrays import ids_of
from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.user_network import taken_by
from turnover.core.attachment import untrained
from turnover.core.dropout import attached
from turnover.core.evaluation import evaluate, evaluation_mode, flipped_units, own_units
from turnover.core.examples import Examples

log = logging.getLogger("turnover")

_PAIRS = 1 << 14  # of a training and another example, whose losses are computed at once
_MASKS = 1 << 24  # units of all masks that exist at once


def influence(model: nn.Module, x: Any, y: Any, ids: Any) -> Tensor:
    """How much training on each of some examples has lowered the loss of others, by a trained network.

    influence(z_i on z_t) = loss(flipped(z_i), z_t) - loss(own(z_i), z_t), cross-entropy in nats: how much worse the
    part of the network that never saw z_i does on z_t than the part that was trained on it. Of an example on itself
    it is its memorization score. With a single hidden layer (linear, ReLU, linear) that layer is computed once for
    each z_t, and all influences on it by one matrix product with the masks.

    Args:
        model: with turn-over dropout attached.
        x: the examples z_t, ready for the network.  # [t, ...]
        y: their class numbers.  # int64 [t]
        ids: the training examples z_i, by the ids used in training.  # int64 [i]

    Returns:
        Influences on the model's device, in float32 or float64; positive: training on z_i helped z_t.  # [t, i]
    """
    device, dtype = taken_by(model)
    others = user_examples(x, y, None, device=device, dtype=dtype)
    refuse_unsuited(model, others)
    trained = ids_of({"ids": ids}, device)
    if why := untrained(model, trained):
        log.warning("%s", why)
    with torch.no_grad(), evaluation_mode(model):
        return _by_product(model, others, trained) if _one_hidden_layer(model) else by_pairs(model, others, trained)


def by_pairs(model: nn.Module, others: Examples, ids: Tensor) -> Tensor:
    """The influences of any network: every pair runs through both sub-networks.  # [t, i]"""
    found = []
    for pairs in torch.arange(len(others) * len(ids), device=ids.device).split(_PAIRS):
        target, source = pairs // len(ids), pairs % len(ids)
        examples = Examples(others.inputs[target], others.labels[target], ids[source], others.prepare)
        ours, theirs = evaluate(model, examples, (own_units, flipped_units))
        found.append(theirs.loss - ours.loss)
    return torch.cat(found).view(len(others), len(ids))


def _one_hidden_layer(model: nn.Module) -> bool:
    """Whether the logits are a linear function of one masked layer."""
    kinds = [type(module) for module in model] if type(model) is nn.Sequential else []
    return kinds[-3:] == [nn.Linear, nn.ReLU, nn.Linear] and kinds[:-3] in ([], [nn.Flatten])


def _by_product(model: nn.Module, others: Examples, ids: Tensor) -> Tensor:
    rule, (*before, output) = attached(model).rule, model.children()
    assert isinstance(output, nn.Linear)
    hidden, labels, _ = others.batch(torch.arange(len(others), device=ids.device))
    for layer in before:
        hidden = layer(hidden)  # in the end [t, units]
    units, keep = hidden.shape[1], rule.keep(hidden.shape[1])
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))  # losses of low precision would be blurred
    parts = (hidden[:, None] * output.weight).flatten(0, 1)  # what each unit adds to each logit  # [t * classes, units]
    total = parts.sum(dim=1)
    bias: Tensor | float = 0.0 if output.bias is None else output.bias
    found = []
    for some in ids.split(max(1, _MASKS // units)):
        masks = rule.own(some, units, 0).to(parts.dtype)  # [ids, units]
        inside = masks @ parts.T  # [ids, t * classes]
        losses = []
        for logits in (inside / keep, (total - inside) / (1 - keep)):
            logits = logits.view(len(some), len(others), -1) + bias  # [ids, t, classes]
            losses.append(F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(some)), reduction="none"))
        found.append((losses[1] - losses[0]).view(len(some), len(others)))
    return torch.cat(found).T
