"""A finished network with its data and its past, and the rows of what is measured of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor, nn

from turnover.common.seeding import numpy_generator
from turnover.core.evaluation import evaluate
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.probes.blocks import Block, blocks, features, in_order

State = dict[str, Tensor]  # of a network, or of a part of it


@dataclass(frozen=True)
class Row:
    """One number that a probe measured."""

    run: str  # name of the network; of a pair both, with & between them
    measure: str
    value: float
    epoch: int | None = None  # after which the weights were so; None: not known
    block: str = "all"
    group: str = "all"  # of examples
    id: int | None = None  # of an example; None: the number is one of the group


@dataclass(frozen=True)
class Trained:
    """A finished network, the examples it is measured on, and what is known of its training."""

    name: str
    model: nn.Module
    groups: dict[str, Examples]  # clean, noisy: training examples with right and with wrong labels; test
    truth: dict[str, Tensor]  # true labels of each group  # int64 [n]
    epoch: int | None = None  # how long it was trained
    earlier: Mapping[int, Callable[[], State]] = field(default_factory=dict)  # its weights by epochs; 0: initial ones
    # trains parameters that have gradients as it was trained, on other examples, perhaps for other `epochs`
    fit: Callable[..., None] | None = None
    scores: pd.DataFrame | None = None  # score table of its training examples, index "id"
    difficult: Examples | None = None  # training examples with the highest scores of other runs
    named: Sequence[str] | None = None  # modules that are its blocks; None: found

    @cached_property
    def blocks(self) -> list[Block]:
        """Blocks in the order in which they run."""
        return in_order(self.model, blocks(self.model, self.named), next(iter(self.groups.values())))

    def group(self, name: str) -> Examples:
        """Return the examples of a group; RefusedInput if there are none."""
        if name not in self.groups:
            why = {"test": "give test examples", "noisy": "give true labels, some of which differ"}.get(name, "")
            raise RefusedInput(f"{self.name}: there are no {name} examples: {why or f'allowed: {[*self.groups]}'}")
        return self.groups[name]

    def some(self, name: str, count: int) -> Examples:
        """Return at most `count` examples of a group, the same random ones for every network."""
        examples = self.group(name)
        order = numpy_generator(0, f"probe {name}").permutation(len(examples))[:count]
        return examples.select(torch.from_numpy(order).to(examples.device))

    def features(self, examples: Examples, *, pooled: bool = False) -> list[Tensor]:
        """Return what each block passes on, flattened, or pooled over places and tokens.  # float64 [n, features]"""
        return [value.double() for value in features(self.model, examples, self.blocks, pooled=pooled)]

    def weights(self, epoch: int) -> State:
        """Return the weights after an epoch; 0: the initial ones. RefusedInput if they were not kept."""
        if epoch not in self.earlier:
            kept = ", ".join(map(str, sorted(self.earlier))) or "none"
            raise RefusedInput(
                f"{self.name}: weights after epoch {epoch} are needed; there are those of epochs: {kept}"
            )
        return self.earlier[epoch]()

    @contextmanager
    def replaced(self, state: State) -> Iterator[None]:
        """Inside, the network has these weights in place of its own; then it has its own again, whatever was done."""
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        try:
            self.model.load_state_dict(own | state)
            yield
        finally:
            self.model.load_state_dict(own)

    def accuracies(self, block: str, epoch: int | None) -> Iterator[Row]:
        """Yield the share of right ones in each group: of the labels given, and of noisy examples of the true ones."""
        for name, examples in self.groups.items():
            [outcome] = evaluate(self.model, examples)
            right = {"accuracy": outcome.right}
            if name == "noisy":
                right["true_accuracy"] = outcome.prediction == self.truth[name]
            for measure, which in right.items():
                yield Row(self.name, measure, float(which.double().mean()), epoch, block, name)


def split(train: Examples, true: Tensor) -> tuple[dict[str, Examples], dict[str, Tensor]]:
    """Return training examples with right and with wrong labels, clean and noisy, and their true labels."""
    wrong = train.labels != true
    parts = {"clean": (~wrong).nonzero()[:, 0], "noisy": wrong.nonzero()[:, 0]}
    parts = {name: index for name, index in parts.items() if len(index)}
    return {name: train.select(index) for name, index in parts.items()}, {name: true[i] for name, i in parts.items()}
