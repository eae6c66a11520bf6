"""Loss and accuracy at the end of an epoch: of own, flipped and full networks, over any groups of examples."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from turnover.device import Precision
from turnover.dropout import attached, is_attached
from turnover.evaluation import BATCH, Outcome, Subnetwork, evaluate, flipped, fresh, full, outputs, own
from turnover.examples import Examples

Name = tuple[str, str]  # of a group: split ("train" or "test") and subset ("all", "easy", "difficult")


def measure(
    model: nn.Module,
    groups: Mapping[Name, Examples],
    *,
    fresh_masks: int,
    precision: Precision,
    batch_size: int = BATCH,
) -> dict[Name, dict[str, float]]:
    """Mean loss (nats) and accuracy by group, then by metric, as named in `tables.METRICS`.

    Without turn-over dropout only the full network is measured. With it, training examples are run through their own
    and flipped sub-networks too, test examples through `fresh_masks` masks of ids that were never trained (unless masks
    are shared, when none is), and ("train", "all") through its own sub-networks on a constant image.

    In a split one id is one input: an example of several groups is run once, even if they give it different labels.
    """
    results: dict[Name, dict[str, Tensor]] = {name: {} for name in groups}
    for split in dict.fromkeys(split for split, _ in groups):
        mine = {name: examples for name, examples in groups.items() if name[0] == split}
        wanted = _wanted(model, split, fresh_masks)
        chosen = [one for networks in wanted.values() for one in networks]
        ids, logits = _once(model, mine.values(), chosen, precision, batch_size)
        for name, examples in mine.items():
            place = torch.searchsorted(ids, examples.ids)
            found = iter([Outcome.of(each[place], examples.labels) for each in logits])
            for kind, networks in wanted.items():
                results[name] |= _means(kind, [next(found) for _ in networks], examples)
    if is_attached(model) and (name := ("train", "all")) in groups:
        blank = groups[name].on_constant_inputs()
        probed = evaluate(model, blank, (own,), batch_size=batch_size, precision=precision)
        results[name] |= _means("constant", probed, blank)
    return {name: {metric: float(value) for metric, value in values.items()} for name, values in results.items()}


def _wanted(model: nn.Module, split: str, fresh_masks: int) -> dict[str, list[Subnetwork]]:
    """The sub-networks that examples of a split are run through, by kind."""
    if not is_attached(model):
        return {"full": [full]}
    if split == "train":
        return {"own": [own], "flipped": [flipped], "full": [full]}
    if attached(model).rule.groups is None:
        return {"full": [full], "fresh": [fresh(k) for k in range(fresh_masks)]}
    return {"full": [full]}  # shared masks are all trained, none is fresh


def _once(
    model: nn.Module,
    groups: Iterable[Examples],
    chosen: Sequence[Subnetwork],
    precision: Precision,
    batch_size: int,
) -> tuple[Tensor, list[Tensor]]:
    """All ids of some groups in rising order, and for each sub-network the logits of these examples."""
    ids, parts = None, []
    for examples in sorted(groups, key=len, reverse=True):  # the largest as it is, so that little is copied
        if ids is not None:
            new = (~torch.isin(examples.ids, ids)).nonzero()[:, 0]
            if not len(new):
                continue
            examples = examples.select(new)
        ids = examples.ids if ids is None else torch.cat([ids, examples.ids])
        parts.append(outputs(model, examples, chosen, batch_size=batch_size, precision=precision))
    assert ids is not None
    order = ids.argsort()
    return ids[order], [torch.cat(each)[order] for each in zip(*parts, strict=True)]


def _means(kind: str, outcomes: Sequence[Outcome], examples: Examples) -> dict[str, Tensor]:
    return {
        f"{kind}_loss": torch.stack([each.loss.double().mean() for each in outcomes]).mean(),
        f"{kind}_accuracy": torch.stack([each.accuracy(examples.labels) for each in outcomes]).mean(),
    }
