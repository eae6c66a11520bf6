"""Forgetting of the most memorized training examples: by fine-tuning, or without own units; against retraining."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from turnover.core.dropout import is_attached
from turnover.core.evaluation import Units, all_units, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained
from turnover.stats.measures import auroc


def measure(networks: Sequence[Trained], *, share: float, epochs: int) -> Iterator[Row]:
    """Yield accuracy on the forgotten, the kept and the test examples, and how exposed the forgotten ones are.

    Measures begin with what was done: trained (nothing), tuned (trained on without the forgotten examples), scrubbed
    (with turn-over dropout: flipped sub-networks, of what the example never trained), retrained (from initial weights,
    without the forgotten examples). `exposure` is how often a forgotten example has a lower loss than a test example.

    Args:
        share: of the training examples, the highest scores, that is forgotten.
        epochs: of fine-tuning.

    Raises:
        RefusedInput: scores or test examples are not known, or how a network was trained.
    """
    for network in networks:
        if network.scores is None or network.fit is None:
            raise RefusedInput(
                f"{network.name}: probe=unlearn needs scores, and trains as the network was trained: give runs that "
                "train one network with an estimator"
            )
        groups = _groups(network, share)
        masked = is_attached(network.model)
        yield from _rows(network, "trained", groups, own_units if masked else all_units)
        if masked:
            yield from _rows(network, "scrubbed", groups, flipped_units)
        else:
            with network.replaced({}):
                network.fit(network.model, groups["kept"], epochs=epochs)
                yield from _rows(network, "tuned", groups, all_units)
        with network.replaced(network.weights(0)):
            network.fit(network.model, groups["kept"])
            yield from _rows(network, "retrained", groups, flipped_units if masked else all_units)


def _groups(network: Trained, share: float) -> dict[str, Examples]:
    """Return the training examples that are forgotten, the others, and test examples."""
    assert network.scores is not None
    parts = [network.groups[name] for name in ("clean", "noisy") if name in network.groups]
    inputs, labels, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "labels", "ids"))
    train = replace(parts[0], inputs=inputs, labels=labels, ids=ids)
    ranked = network.scores["score"].sort_values(ascending=False, kind="stable").index
    highest = torch.tensor(ranked[: max(1, round(share * len(train)))].to_numpy(), device=train.device)
    forgotten = torch.isin(train.ids, highest)
    return {
        "forgotten": train.select(forgotten.nonzero()[:, 0]),
        "kept": train.select((~forgotten).nonzero()[:, 0]),
        "test": network.group("test"),
    }


def _rows(network: Trained, state: str, groups: dict[str, Examples], units: Units) -> Iterator[Row]:
    losses = {}
    for name, examples in groups.items():
        [outcome] = evaluate(network.model, examples, (units,))
        losses[name] = outcome.loss.double().cpu().numpy()
        yield Row(network.name, f"{state}_accuracy", float(outcome.right.double().mean()), network.epoch, group=name)
    both = -np.concatenate([losses["forgotten"], losses["test"]])
    first = np.arange(len(both)) < len(losses["forgotten"])
    exposed = auroc(both, first)(np.ones(len(both), dtype=np.int64))
    yield Row(network.name, f"{state}_exposure", exposed, network.epoch, group="forgotten")
