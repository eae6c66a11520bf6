"""Loss and accuracy of own, flipped and full networks at the end of an epoch, over any groups of examples."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from turnover.common.device import Precision
from turnover.core.dropout import attached, is_attached
from turnover.core.evaluation import (
    BATCH,
    Units,
    all_units,
    evaluate,
    flipped_units,
    fresh_units,
    full_logits,
    own_units,
)
from turnover.core.examples import Examples, unchanged

Name = tuple[str, str]  # of a group: split ("train" or "test") and subset ("all", "easy", "difficult")


def measure(
    model: nn.Module,
    groups: Mapping[Name, Examples],
    *,
    fresh_masks: int,
    precision: Precision,
    batch_size: int = BATCH,
) -> dict[Name, dict[str, float]]:
    """Compute mean loss (nats) and accuracy by group, then by metric, as named in `tables.METRICS`.

    Without turn-over dropout only the full network is measured. With it, training examples are run through their own
    and flipped sub-networks too, test examples through `fresh_masks` masks of ids that were never trained (unless masks
    are shared, when none is), and ("train", "all") through its own sub-networks on a constant image.
    """
    masked = is_attached(model)
    results: dict[Name, dict[str, Tensor]] = {}
    for (split, subset), examples in groups.items():
        networks: dict[str, list[Units]] = {"full": [all_units]}
        if masked and split == "train":
            networks = {"own": [own_units], "flipped": [flipped_units], "full": [all_units]}
        elif masked and attached(model).rule.groups is None:  # shared masks are all trained, none is fresh
            networks = {"full": [all_units], "fresh": [fresh_units(k) for k in range(fresh_masks)]}
        results[split, subset] = _means(model, examples, networks, precision, batch_size)
        if masked and (split, subset) == ("train", "all"):
            probe: dict[str, list[Units]] = {"constant": [own_units]}
            results[split, subset] |= _means(model, on_constant_inputs(examples), probe, precision, batch_size)
    return {group: {name: float(value) for name, value in values.items()} for group, values in results.items()}


def label_lead(model: nn.Module, examples: Examples, true_labels: Tensor, *, batch_size: int = BATCH) -> float:
    """Compute log p(label) - log p(c) in nats, by the full network, the mean over wrong classes c and over examples.

    Of a label that was drawn uniformly from the wrong classes and never trained on, its expectation is 0 in every
    network: whatever is learnt of the image itself raises or lowers all wrong classes alike.

    Args:
        examples: their labels are wrong, and there are three classes or more.
        true_labels: int64 [examples]
    """
    logits = full_logits(model, examples, batch_size=batch_size).double()  # log p up to what all classes share
    label, true = (logits.gather(1, classes[:, None])[:, 0] for classes in (examples.labels, true_labels))
    others = (logits.sum(dim=1) - label - true) / (logits.shape[1] - 2)
    return float((label - others).mean())


def on_constant_inputs(examples: Examples) -> Examples:
    """Return the same labels and ids, with inputs that are all 1, so that examples differ by their masks alone."""
    blank = torch.ones_like(examples.prepare(examples.inputs[:1]))  # expanded, so that it takes the memory of one
    return replace(examples, inputs=blank.expand(len(examples), *blank.shape[1:]), prepare=unchanged)


def _means(
    model: nn.Module,
    examples: Examples,
    networks: Mapping[str, list[Units]],
    precision: Precision,
    batch_size: int,
) -> dict[str, Tensor]:
    every = [units for kind in networks.values() for units in kind]
    queue = iter(evaluate(model, examples, every, batch_size=batch_size, precision=precision))
    means = {}
    for name, kind in networks.items():
        outcomes = [next(queue) for _ in kind]
        means[f"{name}_loss"] = torch.stack([outcome.loss.double().mean() for outcome in outcomes]).mean()
        means[f"{name}_accuracy"] = torch.stack([outcome.right.double().mean() for outcome in outcomes]).mean()
    return means
