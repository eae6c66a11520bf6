"""Accuracy of nearest neighbours in what each block passes on, with true labels (Anagnostidis et al., 2023)."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.core.examples import Examples
from turnover.probes.trained import Row, State, Trained

_AT_ONCE = 512  # rows whose distances are in memory


def measure(networks: Sequence[Trained], *, neighbours: int) -> Iterator[Row]:
    """Yield the accuracy on test examples of each block, of the inputs as they are, and of initial weights.

    Features are flattened. Initial weights are those of epoch 0, if they are known.

    Args:
        neighbours: among all training examples, which vote with their true labels.
    """
    for network in networks:
        test = network.group("test")
        known = {name: network.groups[name] for name in ("clean", "noisy") if name in network.groups}
        labels = torch.cat([network.truth[name] for name in known])
        stages: dict[int | None, State] = {network.epoch: {}}
        if 0 in network.earlier:
            stages[0] = network.weights(0)
        for epoch, state in stages.items():
            with network.replaced(state):
                parts = [network.features(examples) for examples in known.values()]
                unseen = network.features(test)
            read = {block.name: torch.cat([part[n] for part in parts]) for n, block in enumerate(network.blocks)}
            asked = {block.name: value for block, value in zip(network.blocks, unseen, strict=True)}
            if epoch == network.epoch and isinstance(test.inputs, Tensor):
                read["input"], asked["input"] = torch.cat([_inputs(each) for each in known.values()]), _inputs(test)
            for block, rows in read.items():
                right = predictions(rows, labels, asked[block], neighbours) == network.truth["test"]
                yield Row(network.name, "accuracy", float(right.double().mean()), epoch, block, "test")


def predictions(train: Tensor, labels: Tensor, asked: Tensor, neighbours: int) -> Tensor:
    """Return the most frequent label of the nearest rows, of equally frequent ones the smallest.

    Args:
        train: float64 [n, features]
        labels: int64 [n]
        asked: float64 [m, features]

    Returns:
        int64 [m]
    """
    middle, result = train.mean(0), []
    train = train - middle  # so that products are of the size of distances
    for some in (asked - middle).split(_AT_ONCE):
        squares = some.square().sum(1, keepdim=True) + train.square().sum(1) - 2 * some @ train.T  # [rows, n]
        # rounded, and in a stable order: of equal rows, such as those of units that are all 0, the first are nearest
        order = (squares / squares.max().clamp(min=1e-300)).round(decimals=12).sort(dim=1, stable=True).indices
        votes = F.one_hot(labels[order[:, :neighbours]], int(labels.max()) + 1).sum(1)  # [rows, classes]
        result.append(votes.argmax(1))
    return torch.cat(result)


def _inputs(examples: Examples) -> Tensor:
    x, _, _ = examples.batch(torch.arange(len(examples), device=examples.device))
    rows: Tensor = x.flatten(1).double()
    return rows
