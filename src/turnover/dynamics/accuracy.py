"""Loss and accuracy at the end of an epoch: own, flipped and full network on train, full and fresh masks on test."""

import torch
from torch import Tensor, nn

from turnover.device import Precision
from turnover.dropout import is_attached
from turnover.evaluation import Subnetwork, evaluate, flipped, fresh, full, own
from turnover.examples import Examples


def measure(
    model: nn.Module, train: Examples, test: Examples, *, fresh_masks: int, precision: Precision
) -> dict[str, dict[str, float]]:
    """Mean loss (nats) and accuracy by split, then by metric, as named in `tables.METRICS`.

    Without turn-over dropout only the full network is measured. `fresh_*` is the mean over `fresh_masks` masks of ids
    that were never trained.
    """
    masked = is_attached(model)
    wanted: dict[str, dict[str, list[Subnetwork]]] = {
        "train": {"own": [own], "flipped": [flipped], "full": [full]} if masked else {"full": [full]},
        "test": {"full": [full], "fresh": [fresh(k) for k in range(fresh_masks)]} if masked else {"full": [full]},
    }
    results: dict[str, dict[str, Tensor]] = {}
    for split, examples in {"train": train, "test": test}.items():
        chosen = [one for group in wanted[split].values() for one in group]
        outcomes = iter(evaluate(model, examples, chosen, precision=precision))
        results[split] = {}
        for name, group in wanted[split].items():
            parts = [next(outcomes) for _ in group]
            losses = torch.stack([part.loss.double().mean() for part in parts])
            accuracies = torch.stack([part.accuracy(examples.labels) for part in parts])
            results[split] |= {f"{name}_loss": losses.mean(), f"{name}_accuracy": accuracies.mean()}
    return {split: {name: float(value) for name, value in values.items()} for split, values in results.items()}
