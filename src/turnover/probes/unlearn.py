"""Forgetting of what other networks found hard: by fine-tuning, or without own units; against retraining."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from turnover.core.dropout import is_attached
from turnover.core.evaluation import Outcome, Units, all_units, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained
from turnover.stats.measures import auroc


def measure(networks: Sequence[Trained], *, epochs: int) -> Iterator[Row]:
    """Yield accuracy on the forgotten, the kept and the test examples, and what losses tell of the forgotten ones.

    Forgotten are the difficult examples that the scores of other runs have chosen: a network has no say in what it is
    judged on. Measures begin with what was done: trained (nothing; test examples by the full network), tuned (trained
    on without the forgotten examples), scrubbed (with turn-over dropout: flipped sub-networks, of what the example
    never trained), retrained (from initial weights, without the forgotten examples). `exposure` is how often a
    forgotten example has a lower loss than a test example; `lower`, how often it has a lower one than a forgotten
    example after retraining: 0.5 if it is as if never seen; below it is more than forgotten, and shows by that.

    Args:
        epochs: of fine-tuning.

    Raises:
        RefusedInput: other runs have chosen no examples, or it is not known how a network was trained.
    """
    for network in networks:
        if network.difficult is None or network.fit is None:
            raise RefusedInput(
                f"{network.name}: probe=unlearn forgets what other runs found difficult, and trains as the network was "
                "trained: give runs that train one network on all examples, with subsets=scores"
            )
        groups = _groups(network, network.difficult)
        masked = is_attached(network.model)
        own, without = (own_units, flipped_units) if masked else (all_units, all_units)
        with network.replaced(network.weights(0)):
            network.fit(network.model, groups["kept"])
            never = _outcomes(network, groups, without, without)
        yield from _rows(network, "retrained", never, never["forgotten"].loss)
        yield from _rows(network, "trained", _outcomes(network, groups, own, all_units), never["forgotten"].loss)
        if masked:
            scrubbed = _outcomes(network, groups, without, without)
            yield from _rows(network, "scrubbed", scrubbed, never["forgotten"].loss)
        else:
            with network.replaced({}):
                network.fit(network.model, groups["kept"], epochs=epochs)
                tuned = _outcomes(network, groups, all_units, all_units)
            yield from _rows(network, "tuned", tuned, never["forgotten"].loss)


def _groups(network: Trained, difficult: Examples) -> dict[str, Examples]:
    """Return the training examples that are forgotten, the others, and test examples."""
    parts = [network.groups[name] for name in ("clean", "noisy") if name in network.groups]
    inputs, labels, ids = (torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "labels", "ids"))
    train = replace(parts[0], inputs=inputs, labels=labels, ids=ids)
    forgotten = torch.isin(train.ids, difficult.ids)
    return {
        "forgotten": train.select(forgotten.nonzero()[:, 0]),
        "kept": train.select((~forgotten).nonzero()[:, 0]),
        "test": network.group("test"),
    }


def _outcomes(network: Trained, groups: dict[str, Examples], units: Units, of_test: Units) -> dict[str, Outcome]:
    chosen = {name: of_test if name == "test" else units for name in groups}
    return {name: evaluate(network.model, examples, (chosen[name],))[0] for name, examples in groups.items()}


def _rows(network: Trained, state: str, outcomes: dict[str, Outcome], never: Tensor) -> Iterator[Row]:
    for name, outcome in outcomes.items():
        yield Row(network.name, f"{state}_accuracy", float(outcome.right.double().mean()), network.epoch, group=name)
    losses = outcomes["forgotten"].loss
    for name, others in (("exposure", outcomes["test"].loss), ("lower", never)):
        yield Row(network.name, f"{state}_{name}", _lower(losses, others), network.epoch, group="forgotten")


def _lower(losses: Tensor, others: Tensor) -> float:
    """Return how often one of the losses is lower than one of the others; ties count half."""
    both = -torch.cat([losses, others]).double().cpu().numpy()
    return auroc(both, np.arange(len(both)) < len(losses))(np.ones(len(both), dtype=np.int64))
