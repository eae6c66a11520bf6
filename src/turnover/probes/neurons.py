"""Units to be zeroed until a prediction flips (Maini et al., 2023), against clean examples of equal margin."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnover.common.seeding import torch_generator
from turnover.core.evaluation import evaluate, evaluation_mode, full_logits
from turnover.core.examples import Examples
from turnover.core.inputs import run
from turnover.errors import RefusedInput
from turnover.probes.blocks import between
from turnover.probes.trained import Row, Trained

_AT_ONCE = 64  # numbers of random units that are tried in one pass


def measure(networks: Sequence[Trained], *, examples: int, most: int, batch: int, others: int) -> Iterator[Row]:
    """Yield, for noisy examples, as many clean ones, and clean ones matched to the noisy ones by their margin:

    units: how many are zeroed until the prediction flips, each the one that raises the loss of the example less the
    mean loss of a batch of clean ones most, to first order; inf: it does not flip. Of a block: how many lie in it.
    random_units: how many random ones. margin: logit of the label less the largest other one. others_lost: share of
    other clean examples that are right no longer.

    A unit is one of those that a hidden block passes on: a feature, a map, or a channel of all tokens. Only examples
    that are right are taken.

    Args:
        examples: at most so many noisy ones.
        most: units that are zeroed at most.
        batch, others: clean examples, of the batch and of those that may be lost.
    """
    for network in networks:
        noisy, clean = (_right(network, network.some(name, len(network.group(name)))) for name in ("noisy", "clean"))
        noisy = noisy.select(torch.arange(min(examples, len(noisy)), device=noisy.device))
        if len(clean) <= batch + others:
            raise RefusedInput(
                f"{network.name}: {len(clean)} clean examples are right, and probe=neurons compares with {batch} and "
                f"{others} of them: set fewer (batch, others)"
            )
        places = torch.arange(len(clean), device=clean.device)
        zeroing = Zeroing(network, clean.select(places[:batch]))
        lost, rest = clean.select(places[batch : batch + others]), clean.select(places[batch + others :])
        margins = {"noisy": margin(network, noisy), "clean": margin(network, rest)}
        matched = matches(margins["noisy"], margins["clean"])
        groups = {"noisy": noisy, "clean": rest.select(places[: min(len(noisy), len(rest))])}
        groups["matched"], margins["matched"] = rest.select(matched), margins["clean"][matched]
        for group, some in groups.items():
            for number, id in enumerate(some.ids.tolist()):
                zeroed, flips = zeroing.greedy(some, number, most)
                found = {"units": float(zeroed.sum()) if flips else math.inf}
                found["random_units"] = zeroing.random(some, number)
                found["margin"] = float(margins[group][number])
                found["others_lost"] = 1 - float(zeroing.right(lost, zeroed).double().mean())
                for measured, value in found.items():
                    yield Row(network.name, measured, value, network.epoch, group=group, id=id)
                for block, inside in zip(network.blocks, zeroed.split(zeroing.widths), strict=False):
                    yield Row(network.name, "units", float(inside.sum()), network.epoch, block.name, group, id)


def margin(network: Trained, examples: Examples) -> Tensor:
    """Return the logit of the label less the largest other one.  # [n]"""
    logits = full_logits(network.model, examples).double()
    label = examples.labels[:, None]
    return (logits.gather(1, label) - logits.scatter(1, label, -torch.inf).amax(1, keepdim=True))[:, 0]


def matches(wanted: Tensor, there: Tensor) -> Tensor:
    """Return positions of those of `there` that are nearest to each wanted value, one after another, none twice.

    # [n], [m] -> int64 [min(n, m)]
    """
    left, chosen = there.clone(), []
    for value in wanted[: len(there)]:
        chosen.append((left - value).abs().argmin())
        left[chosen[-1]] = torch.inf
    return torch.stack(chosen) if chosen else torch.empty(0, dtype=torch.int64, device=there.device)


def _right(network: Trained, examples: Examples) -> Examples:
    [outcome] = evaluate(network.model, examples)
    if not outcome.right.any():
        raise RefusedInput(f"{network.name}: of {len(examples)} examples none is right, so no prediction can flip")
    return examples.select(outcome.right.nonzero()[:, 0])


@dataclass
class Zeroing:
    """A network whose hidden units can be zeroed, and the clean examples that are to stay right."""

    network: Trained
    kept: Examples

    def __post_init__(self) -> None:
        self.widths: list[int] = []  # units of each hidden block

        def count(number: int, value: Tensor) -> Tensor:
            self.widths.append(value.shape[-1 if value.dim() == 3 else 1])
            return value

        x, _, _ = self.kept.batch(torch.zeros(1, dtype=torch.int64, device=self.kept.device))
        with (
            torch.no_grad(),
            evaluation_mode(self.network.model),
            between(self.network.model, self.network.blocks, count),
        ):
            run(self.network.model, x)

    def logits(self, examples: Examples, index: Tensor, left: Tensor) -> Tensor:
        """Return logits with units times `left`.  # index: [n]; left: [n or 1, units] -> [n, classes]"""
        parts = left.split(self.widths, dim=1)

        def scaled(number: int, value: Tensor) -> Tensor:
            scale = parts[number].to(value.dtype)
            return value * (scale[:, None] if value.dim() == 3 else scale.view(*scale.shape, *[1] * (value.dim() - 2)))

        x, _, _ = examples.batch(index)
        with evaluation_mode(self.network.model), between(self.network.model, self.network.blocks, scaled):
            return run(self.network.model, x)

    def greedy(self, examples: Examples, number: int, most: int) -> tuple[Tensor, bool]:
        """Return the units that are zeroed for an example, bool [units], and whether its prediction flips."""
        index, everything = (torch.tensor(each, device=examples.device) for each in ([number], range(len(self.kept))))
        zeroed = torch.zeros(sum(self.widths), dtype=torch.bool, device=examples.device)
        while True:
            left = (~zeroed).float()[None].requires_grad_()
            ours = self.logits(examples, index, left)
            if not examples.loss.right(ours, examples.labels[index]).all():
                return zeroed, True
            if zeroed.sum() >= min(most, len(zeroed)):
                return zeroed, False
            theirs = self.logits(self.kept, everything, left)
            gain = examples.loss(ours, examples.labels[index]).sum() - self.kept.loss(theirs, self.kept.labels).mean()
            [slope] = torch.autograd.grad(gain, left)  # zeroing a unit changes the gain by minus this
            zeroed[slope[0].masked_fill(zeroed, torch.inf).argmin()] = True

    @torch.no_grad()
    def random(self, examples: Examples, number: int) -> float:
        """Return how many random units are zeroed until the prediction flips; inf: it does not."""
        units = sum(self.widths)
        order = torch.randperm(units, generator=torch_generator(0, "units", int(examples.ids[number])))
        rank = order.argsort().to(examples.device)
        for counts in torch.arange(1, units + 1, device=examples.device).split(_AT_ONCE):
            index = torch.full_like(counts, number)
            logits = self.logits(examples, index, (rank >= counts[:, None]).float())  # [counts, classes]
            wrong = (~examples.loss.right(logits, examples.labels[index])).nonzero()
            if len(wrong):
                return float(counts[wrong[0, 0]])
        return math.inf

    @torch.no_grad()
    def right(self, examples: Examples, zeroed: Tensor) -> Tensor:
        """Return whether examples are right without these units.  # bool [n]"""
        everything = torch.arange(len(examples), device=examples.device)
        return examples.loss.right(self.logits(examples, everything, (~zeroed).float()[None]), examples.labels)
