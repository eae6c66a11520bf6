"""Building of a run's task from its config: data, subsets, network with turn-over dropout, optimizer."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from turnover.checks.verify import attach
from turnover.common.seeding import numpy_generator, seeded
from turnover.config.options import DatasetConfig, TurnoverConfig
from turnover.config.run import RunConfig, ScoreSubsets
from turnover.config.subset_options import LabelSubsets
from turnover.config.text_options import TextConfig
from turnover.core.examples import Examples
from turnover.core.losses import CLASSES
from turnover.data.altered import TARGET, marked, repeats
from turnover.data.datasets import Dataset, Split, balanced_subset, load
from turnover.data.text import load_text
from turnover.errors import RefusedInput
from turnover.estimators.estimator import Task
from turnover.models import build as build_model
from turnover.runs.subsets import choose
from turnover.training.accuracy import Name
from turnover.training.loop import steps_per_epoch, visits
from turnover.training.optim import build_optimizer


@dataclass(frozen=True)
class RunTask(Task):
    """Task of a run from a config, all on its device."""

    dataset: Any  # a `Dataset` of images, or a `Corpus` of text
    known: (
        pd.DataFrame
    )  # index "id" of what is trained on, or more: split, and true labels or texts, as in score tables
    subsets: pd.DataFrame | None  # columns of `tables.SUBSET_COLUMNS`
    trained_subsets: dict[str, Tensor]  # positions in `train` of each subset that is trained on
    optimizer: torch.optim.Optimizer
    # difficult examples whose random label is wrong, and their true labels; None: labels choose no subsets
    mislabelled: tuple[Examples, Tensor] | None = None


def build(config: RunConfig, device: torch.device) -> RunTask:
    """Build data, subsets, network and optimizer; the same weights for the same seed on every device.

    Raises:
        RunFailed: a score run that chooses the subsets is not finished, or data cannot be fetched.
        RefusedInput: the subsets cannot be had from these examples.
    """
    if isinstance(config.dataset, TextConfig):
        return _of_text(config, config.dataset, device)
    dataset = load(config.dataset, config.corruption, device)
    subsets = choose(config, dataset)
    whole = {"train": _examples(dataset, dataset.train), "test": _examples(dataset, dataset.test)}
    whole["train"] = replace(whole["train"], repeats=repeats(config.corruption, dataset.train.size))
    train, trained = whole["train"], {}
    groups: dict[Name, Examples] = {}
    mislabelled = None
    if subsets is not None:
        for split, subset in subsets[["split", "subset"]].drop_duplicates().itertuples(index=False):
            ids = subsets["id"][(subsets["split"] == split) & (subsets["subset"] == subset)]
            groups[split, subset] = whole[split].select(_positions(whole[split], ids.to_numpy()))
        if isinstance(config.subsets, LabelSubsets):
            groups["train", "control"] = _relabelled(config, groups["train", "difficult"])
            mislabelled = _mislabelled(config, dataset, groups["train", "difficult"])
        only = config.subsets.train_on
        if isinstance(config.subsets, ScoreSubsets) and only.startswith("without_"):
            left_out = _named(groups, only.removeprefix("without_")).ids
            train = train.select((~torch.isin(train.ids, left_out)).nonzero()[:, 0])
        elif only != "all":
            train = _named(groups, only)
        inside = {
            name: _positions(train, group.ids.cpu().numpy())
            for (split, name), group in groups.items()
            if (split, name) != ("train", "control") and split == "train"
        }
        trained = {name: index for name, index in inside.items() if len(index) == len(groups["train", name])}
    groups["train", "all"] = _tracked(config, train)
    if not config.dataset.include_test:  # a test example that was trained on tests nothing
        groups["test", "all"] = whole["test"]
    if config.corruption.kind == "trigger":
        groups["test", "trigger"] = _with_trigger(dataset, max(config.corruption.sizes))
    split = _trained(dataset, train)
    known = {
        "split": np.where(split.ids.cpu().numpy() < config.dataset.info.train, "train", "test"),
        "true_label": split.true_labels.cpu().numpy(),
        "corrupted": split.corrupted.cpu().numpy(),
    }
    if config.corruption.sizes:
        known["size"] = split.size.cpu().numpy()
    return RunTask(
        train=train,
        wrong=split.labels != split.true_labels,
        groups=groups,
        **_network(config, device),
        dataset=dataset,
        known=pd.DataFrame(known, index=pd.Index(split.ids.cpu().numpy(), name="id")),
        subsets=subsets,
        trained_subsets=trained,
        mislabelled=mislabelled,
    )


def phases(task: RunTask, config: RunConfig) -> list[tuple[Examples, int, int]]:
    """Return what is trained on, with the first and the last epoch of it: planted texts may end before the others."""
    until = config.planting.until or config.epochs
    if until >= config.epochs:
        return [(task.train, 1, config.epochs)]
    kinds = task.known.loc[task.train.ids.cpu().numpy(), "kind"].to_numpy()
    others = torch.from_numpy(np.flatnonzero(kinds == "text")).to(task.train.device)
    return [(task.train, 1, until), (task.train.select(others), until + 1, config.epochs)]


def steps_of_epochs(parts: list[tuple[Examples, int, int]], batch_size: int) -> list[int]:
    """Return the steps of each epoch of these phases."""
    lengths = [(steps_per_epoch(visits(examples), batch_size), last + 1 - begin) for examples, begin, last in parts]
    return [steps for steps, epochs in lengths for _ in range(epochs)]


def _of_text(config: RunConfig, dataset: TextConfig, device: torch.device) -> RunTask:
    corpus = load_text(dataset, config.planting, device)
    return RunTask(
        train=corpus.train,
        wrong=torch.zeros(len(corpus.train), dtype=torch.bool, device=device),
        groups={("train", "all"): _tracked(config, corpus.train), ("test", "all"): corpus.test},
        **_network(config, device),
        dataset=corpus,
        known=corpus.texts.assign(split=np.repeat(["train", "test"], [len(corpus.train), len(corpus.test)])),
        subsets=None,
        trained_subsets={},
    )


def _network(config: RunConfig, device: torch.device) -> dict[str, Any]:
    """Return the network of a run, perhaps with turn-over dropout, its optimizer, and what makes others like it."""
    model = make_model(config, device, config.seed)
    if isinstance(config.turnover, TurnoverConfig):
        attach(model, seed=config.seed, **config.turnover.model_dump(exclude={"name", "plain_epochs"}))
    optimizer = build_optimizer(config.optimizer, model)
    return {"model": model, "optimizer": optimizer, "make_model": partial(make_model, config, device)}


def make_model(config: RunConfig, device: torch.device, seed: int) -> nn.Module:
    """Build the network of a config with the initial weights of a seed, without turn-over dropout."""
    with seeded(seed, "init"):
        return build_model(config.model, config.dataset.shape, config.dataset.classes).to(device)


def _trained(dataset: Dataset, train: Examples) -> Split:
    return dataset.train.select(torch.searchsorted(dataset.train.ids, train.ids))  # ids rise; perhaps a subset


def _named(groups: dict[Name, Examples], subset: str) -> Examples:
    if ("train", subset) not in groups:
        there = ", ".join(name for split, name in groups if split == "train")
        raise RefusedInput(f"subsets.train_on = {subset!r}: of the training split there are all, {there}")
    return groups["train", subset]


def _relabelled(config: RunConfig, examples: Examples) -> Examples:
    """Return the images with other random labels that are never trained on: the effect of learning images alone.

    Accuracy on random labels also rises because one in ten is the true one; here it rises by that and nothing else.
    """
    assert isinstance(config.dataset, DatasetConfig)
    classes = config.dataset.classes
    drawn = numpy_generator(config.corruption.seed, "control").integers(classes, size=len(examples))
    return replace(examples, labels=torch.from_numpy(drawn).to(examples.device))


def _mislabelled(config: RunConfig, dataset: Dataset, examples: Examples) -> tuple[Examples, Tensor] | None:
    """Return those of the examples whose label is wrong, and their true labels; None where no wrong class is random."""
    true = dataset.train.select(torch.searchsorted(dataset.train.ids, examples.ids)).true_labels
    wrong = (examples.labels != true).nonzero()[:, 0]
    uniform = config.corruption.kind == "random" and config.corruption.path is None
    if not uniform or config.dataset.classes < 3 or not len(wrong):
        return None
    return examples.select(wrong), true[wrong]


def _with_trigger(dataset: Dataset, size: float) -> Examples:
    """Return the test images of other classes with the trigger, under the label that it stands for."""
    test = _examples(dataset, dataset.test.select((dataset.test.labels != TARGET).nonzero()[:, 0]))
    images = marked(test.inputs, torch.full((len(test),), size, device=test.device), dataset.brightest)
    return replace(test, inputs=images, labels=torch.full_like(test.labels, TARGET))


def _tracked(config: RunConfig, train: Examples) -> Examples:
    size = min(config.tracking.examples or len(train), len(train))
    kinds = train.labels if train.loss is CLASSES else torch.zeros(len(train))
    index = balanced_subset(kinds, size, config.dataset.seed, "tracking")
    return train.select(torch.from_numpy(index).to(train.device))


def _examples(dataset: Dataset, split: Split) -> Examples:
    return Examples(split.images, split.labels, split.ids, dataset.inputs)


def _positions(examples: Examples, ids: np.ndarray) -> Tensor:
    """Return positions of those of `ids` that are among the examples, in the order of `ids`."""
    position = pd.Series(np.arange(len(examples)), index=examples.ids.cpu().numpy())
    positions = position.reindex(ids).dropna().astype(np.int64).to_numpy()
    return torch.tensor(positions, device=examples.device)
