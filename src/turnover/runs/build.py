"""From a config to what a run works with: data, subsets, network with turn-over dropout, optimizer."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from turnover.checks.verify import attach
from turnover.common.seeding import numpy_generator, seeded
from turnover.config.datasets import FACTS
from turnover.config.options import LabelSubsets, TurnoverConfig
from turnover.config.run import RunConfig, ScoreSubsets
from turnover.core.examples import Examples
from turnover.data.datasets import Dataset, Split, balanced_subset, load
from turnover.errors import RefusedInput
from turnover.estimators.estimator import Task
from turnover.models import build as build_model
from turnover.runs.subsets import choose
from turnover.training.accuracy import Name
from turnover.training.fit import build_optimizer


@dataclass(frozen=True)
class RunTask(Task):
    """What a run from a config works with, all on its device."""

    dataset: Dataset
    subsets: pd.DataFrame | None  # columns of `tables.SUBSET_COLUMNS`
    trained_subsets: dict[str, Tensor]  # positions in `train` of each subset that is trained on
    optimizer: torch.optim.Optimizer

    @property
    def known(self) -> Split:
        """The examples that are trained on, in their order, as the data set knows them: true labels, corruption."""
        return _known(self.dataset, self.train)


def build(config: RunConfig, device: torch.device) -> RunTask:
    """Data, subsets, network and optimizer; the same weights for the same seed on every device.

    Raises:
        RunFailed: a score run that chooses the subsets is not finished, or data cannot be fetched.
        RefusedInput: the subsets cannot be had from these examples.
    """
    dataset = load(config.dataset, config.corruption, device)
    chosen = choose(config, dataset)
    whole = {"train": _examples(dataset, dataset.train), "test": _examples(dataset, dataset.test)}
    train, trained = whole["train"], {}
    groups: dict[Name, Examples] = {}
    if chosen is not None:
        for split, subset in chosen[["split", "subset"]].drop_duplicates().itertuples(index=False):
            ids = chosen["id"][(chosen["split"] == split) & (chosen["subset"] == subset)]
            groups[split, subset] = whole[split].select(_positions(whole[split], ids.to_numpy()))
        if isinstance(config.subsets, LabelSubsets):
            groups["train", "control"] = _relabelled(config, groups["train", "difficult"])
        only = config.subsets.train_on
        if isinstance(config.subsets, ScoreSubsets) and only.startswith("without_"):
            left_out = _named(groups, only.removeprefix("without_")).ids
            train = train.select((~torch.isin(train.ids, left_out)).nonzero()[:, 0])
        elif only != "all":
            train = _named(groups, only)
        inside = {
            name: _positions(train, part.ids.cpu().numpy())
            for (split, name), part in groups.items()
            if (split, name) != ("train", "control") and split == "train"
        }
        trained = {name: places for name, places in inside.items() if len(places) == len(groups["train", name])}
    groups["train", "all"] = _tracked(config, train)
    if not config.dataset.include_test:  # a test example that was trained on tests nothing
        groups["test", "all"] = whole["test"]
    model = make_model(config, device, config.seed)
    if isinstance(config.turnover, TurnoverConfig):
        attach(model, seed=config.seed, **config.turnover.model_dump(exclude={"name", "plain_epochs"}))
    optimizer = build_optimizer(config.optimizer, model)
    known = _known(dataset, train)
    return RunTask(
        train=train,
        wrong=known.labels != known.true_labels,
        groups=groups,
        model=model,
        make_model=partial(make_model, config, device),
        dataset=dataset,
        subsets=chosen,
        trained_subsets=trained,
        optimizer=optimizer,
    )


def make_model(config: RunConfig, device: torch.device, seed: int) -> nn.Module:
    """The network of a config with the initial weights of a seed, without turn-over dropout."""
    facts = FACTS[config.dataset.name]
    with seeded(seed, "init"):
        return build_model(config.model, facts.shape, facts.classes).to(device)


def _known(dataset: Dataset, train: Examples) -> Split:
    return dataset.train.select(torch.searchsorted(dataset.train.ids, train.ids))  # ids rise; perhaps a subset


def _named(groups: dict[Name, Examples], subset: str) -> Examples:
    if ("train", subset) not in groups:
        there = ", ".join(name for split, name in groups if split == "train")
        raise RefusedInput(f"subsets.train_on = {subset!r}: of the training split there are all, {there}")
    return groups["train", subset]


def _relabelled(config: RunConfig, examples: Examples) -> Examples:
    """The same images with other random labels, which nothing is ever trained on: what learning the images alone does.

    Accuracy on random labels also rises because one in ten is the true one; here it rises by that and nothing else.
    """
    classes = FACTS[config.dataset.name].classes
    drawn = numpy_generator(config.corruption.seed, "control").integers(classes, size=len(examples))
    return replace(examples, labels=torch.from_numpy(drawn).to(examples.device))


def _tracked(config: RunConfig, train: Examples) -> Examples:
    size = min(config.tracking.examples or len(train), len(train))
    index = balanced_subset(train.labels, size, config.dataset.seed, "tracking")
    return train.select(torch.from_numpy(index).to(train.device))


def _examples(dataset: Dataset, split: Split) -> Examples:
    return Examples(split.images, split.labels, split.ids, dataset.inputs)


def _positions(examples: Examples, ids: np.ndarray) -> Tensor:
    """Where those of `ids` that are among the examples stand, in the order of `ids`."""
    place = pd.Series(np.arange(len(examples)), index=examples.ids.cpu().numpy())
    found = place.reindex(ids).dropna().astype(np.int64).to_numpy()
    return torch.tensor(found, device=examples.device)
