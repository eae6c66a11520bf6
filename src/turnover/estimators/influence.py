"""Influence of training examples on other examples, from turn-over dropout (Liu et al., equation 5)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.checks.arrays import ids_of
from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.tied import TiedRule
from turnover.checks.user_network import taken_by
from turnover.common.matmul import fast_products
from turnover.core.attachment import untrained
from turnover.core.dropout import attached
from turnover.core.evaluation import evaluate, evaluation_mode, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.core.losses import Loss, loss_of
from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

_PAIRS = 1 << 14  # of a training and another example, whose losses are computed at once
_AGREE = 0.5  # correlation of two networks below which influences are called noise
_NUMBERS = 1 << 22  # of masks, or of logits under them, that exist at once


def influence(
    model: nn.Module | Sequence[nn.Module],
    x: Any,
    y: Any,
    ids: Any,
    *,
    loss: str | Callable[[Tensor, Tensor], Tensor] = "class",
) -> Tensor:
    """Measure how much training on each of some examples has lowered the loss of others, by a trained network.

    influence(z_i on z_t) = loss(flipped(z_i), z_t) - loss(own(z_i), z_t), of classes cross-entropy in nats: how much
    worse the part of the network that never saw z_i does on z_t than the part that was trained on it. Of an example on
    itself it is its memorization score. With a single hidden layer (linear, ReLU, linear) that layer is computed once
    for each z_t, and all influences on it by one matrix product with the masks.

    What one of many examples does to another is little, and mostly noise in one network: give several that differ in
    their seeds. Their mean is returned, and a warning says if they hardly agree.

    Args:
        model: with turn-over dropout attached; or several, trained on the same examples.
        x: the examples z_t, ready for the network.  # [t, ...]
        y: their class numbers.  # int64 [t]; or what `loss` takes.  # [t, ...]
        ids: the training examples z_i, by the ids used in training.  # int64 [i]
        loss: of an example, as in `turnover.score`.

    Returns:
        Influences on the model's device, in float32 or float64; positive: training on z_i helped z_t.  # [t, i]
    """
    models = [model] if isinstance(model, nn.Module) else list(model)
    if not models:
        raise RefusedInput("model = []: give a trained network, or several that differ in their seeds")
    influences = [_of_network(each, x, y, ids, loss_of(loss)) for each in models]
    if (
        len(models) > 1
        and (agreement := agreement_of_seeds([pd.DataFrame(i.T.cpu().numpy()) for i in influences])) < _AGREE
    ):
        log.warning(
            "%d networks agree about influences with a Spearman correlation of %.2f (1: no noise), so most of what "
            "single ones are is noise: take the mean over more networks",
            len(models),
            agreement,
        )
    return torch.stack([i.to(influences[0].device) for i in influences]).mean(0)


def agreement_of_seeds(runs: Sequence[pd.DataFrame]) -> float:
    """Return the mean Spearman correlation of the influences on one example by two networks; NaN for one network.

    Args:
        runs: the influences by each network, a column for each example they are on.  # [i, t] each
    """
    ranks = [run.rank() for run in runs]
    return (
        float(pd.concat([a.corrwith(b) for a, b in combinations(ranks, 2)]).mean()) if len(ranks) > 1 else float("nan")
    )


def _of_network(model: nn.Module, x: Any, y: Any, ids: Any, loss: Loss) -> Tensor:
    device, dtype = taken_by(model)
    targets = user_examples(x, y, None, device=device, dtype=dtype, loss=loss)
    refuse_unsuited(model, targets)
    trained = ids_of({"ids": ids}, device)
    if why := untrained(model, trained):
        log.warning("%s", why)
    with torch.no_grad(), evaluation_mode(model):
        complementary = not isinstance(attached(model).rule, TiedRule)
        at_once = complementary and _one_hidden_layer(model) and not isinstance(targets.inputs, dict | tuple)
        return _by_product(model, targets, trained) if at_once else by_pairs(model, targets, trained)


def by_pairs(model: nn.Module, targets: Examples, ids: Tensor) -> Tensor:
    """Return the influences of any network; every pair runs through both sub-networks.  # [t, i]"""
    influences = []
    for pairs in torch.arange(len(targets) * len(ids), device=ids.device).split(_PAIRS):
        target, source = pairs // len(ids), pairs % len(ids)
        examples = replace(targets.select(target), ids=ids[source])
        ours, theirs = evaluate(model, examples, (own_units, flipped_units))
        influences.append(theirs.loss - ours.loss)
    return torch.cat(influences).view(len(targets), len(ids))


def _one_hidden_layer(model: nn.Module) -> bool:
    """Return True if the logits are a linear function of one masked layer."""
    kinds = [type(module) for module in model] if type(model) is nn.Sequential else []
    return kinds[-3:] == [nn.Linear, nn.ReLU, nn.Linear] and kinds[:-3] in ([], [nn.Flatten])


def _by_product(model: nn.Module, targets: Examples, ids: Tensor) -> Tensor:
    rule, (*before, output) = attached(model).rule, model.children()
    assert isinstance(output, nn.Linear)
    hidden, labels, _ = targets.batch(torch.arange(len(targets), device=ids.device))
    for layer in before:
        hidden = layer(hidden)  # in the end [t, units]
    units, keep = hidden.shape[1], rule.keep(hidden.shape[1])
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))  # losses of low precision would be blurred
    terms = (hidden[:, None] * output.weight).flatten(0, 1)  # what each unit adds to each logit  # [t * classes, units]
    total = terms.sum(dim=1)
    bias: Tensor | float = 0.0 if output.bias is None else output.bias
    influences = []
    for some in ids.split(max(1, _NUMBERS // max(units, len(terms)))):
        repeated = labels.repeat(len(some), *[1] * (labels.dim() - 1))  # [ids * t, ...]
        masks = rule.own(some, units, 0).to(terms.dtype)  # [ids, units]
        with fast_products(ids.device):
            inside = F.linear(masks, terms)  # [ids, t * classes]
        losses = []
        for logits in (inside / keep, (total - inside) / (1 - keep)):
            logits = logits.view(len(some), len(targets), -1) + bias  # [ids, t, classes]
            losses.append(targets.loss(logits.flatten(0, 1), repeated))
        influences.append((losses[1] - losses[0]).view(len(some), len(targets)))
    return torch.cat(influences).T
