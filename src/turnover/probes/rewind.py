"""Rewinding of one block after another to the weights of an earlier epoch (Maini et al., 2023)."""

from collections.abc import Iterator, Sequence

from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained], *, epochs: list[int]) -> Iterator[Row]:
    """Yield what is right in each group of examples with one block set back, all others as they are.

    Block `none` is the network as it is, block `all` the whole network at that epoch.

    Args:
        epochs: to which blocks are set back; 0: to initial weights; []: to all that were kept.

    Raises:
        RefusedInput: weights of an epoch are not known.
    """
    for network in networks:
        if not network.earlier:
            raise RefusedInput(
                f"{network.name}: probe=rewind needs weights of an earlier epoch: give weights={{0: ...}}"
            )
        yield from network.accuracies("none", network.epoch)
        for epoch in epochs or sorted(network.earlier):
            state = network.weights(epoch)
            for block in network.blocks:
                with network.replaced({name: state[name] for name in block.entries}):
                    yield from network.accuracies(block.name, epoch)
            with network.replaced(state):
                yield from network.accuracies("all", epoch)
