"""Retraining of one block after another from its initial weights on clean examples alone (Maini et al., 2023)."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained]) -> Iterator[Row]:
    """Yield what is right in each group of examples with one block trained anew, all others as they are.

    Block `none` is the network as it is; block `all` is a network that was never trained on wrong labels.

    Raises:
        RefusedInput: it is not known how a network was trained.
    """
    for network in networks:
        if network.fit is None:
            raise RefusedInput(
                f"{network.name}: probe=retrain trains as the network was trained, which only a run that trains one "
                "network knows: scripts/probe.py probe=retrain"
            )
        initial = network.weights(0)
        yield from network.accuracies("none", network.epoch)
        parts = {block.name: block.entries for block in network.blocks} | {"all": tuple(initial)}
        for name, entries in parts.items():
            with network.replaced({entry: initial[entry] for entry in entries}), _only(network.model, entries):
                network.fit(network.model, network.group("clean"))
                yield from network.accuracies(name, network.epoch)


@contextmanager
def _only(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Inside, no other parameters have gradients."""
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name] and name in names)
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
