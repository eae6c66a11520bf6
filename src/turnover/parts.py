"""From a config to what a run works with: data, subsets, network with turn-over dropout, optimizer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from turnover.config import RunConfig, ScoreSubsets
from turnover.data.datasets import Dataset, Split, balanced_subset, load
from turnover.dropout import attach
from turnover.dynamics.accuracy import Name
from turnover.examples import Examples
from turnover.facts import FACTS
from turnover.models import build as build_model
from turnover.options import LabelSubsets, NoSubsets, TurnoverConfig
from turnover.scores.average import average
from turnover.seeding import seeded
from turnover.store import Run, require
from turnover.subsets import NAMES, by_labels, by_scores
from turnover.tables import read_scores
from turnover.training.optimizers import build as build_optimizer


@dataclass(frozen=True)
class Parts:
    """What a run works with, all on its device."""

    dataset: Dataset
    train: Examples  # what the network trains on
    groups: dict[Name, Examples]  # what is evaluated at the end of an epoch
    subsets: pd.DataFrame | None  # columns of `tables.SUBSET_COLUMNS`
    trained_subsets: dict[str, Tensor]  # positions in `train` of each subset that is trained on
    model: nn.Module
    optimizer: torch.optim.Optimizer


def build(config: RunConfig, device: torch.device) -> Parts:
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
        if config.subsets.train_on != "all":  # type: ignore[union-attr]
            train = groups["train", config.subsets.train_on]  # type: ignore[union-attr]
        trained = {name: _positions(train, groups["train", name].ids.cpu().numpy()) for name in NAMES}
        trained = {name: places for name, places in trained.items() if len(places)}
    groups["train", "all"] = _tracked(config, train)
    if not config.dataset.include_test:  # a test example that was trained on tests nothing
        groups["test", "all"] = whole["test"]
    facts = FACTS[config.dataset.name]
    with seeded(config.seed, "init"):
        model = build_model(config.model, facts.shape, facts.classes).to(device)
    if isinstance(config.turnover, TurnoverConfig):
        attach(model, seed=config.seed, **config.turnover.model_dump(exclude={"name", "plain_epochs"}))
    optimizer = build_optimizer(config.optimizer, model)
    return Parts(dataset, train, groups, chosen, trained, model, optimizer)


def choose(config: RunConfig, dataset: Dataset) -> pd.DataFrame | None:
    """The easy and difficult examples of a run, of train and where they are scored of test; None if it has none."""
    subsets = config.subsets
    if isinstance(subsets, NoSubsets):
        return None
    known = {"train": dataset.train, "test": dataset.test}
    if isinstance(subsets, LabelSubsets):
        train = dataset.train
        table = pd.DataFrame(
            {"label": train.labels.cpu().numpy(), "corrupted": train.corrupted.cpu().numpy()},
            index=pd.Index(train.ids.cpu().numpy(), name="id"),
        )
        parts = [by_labels(table, subsets.size, config.dataset.seed, balanced=subsets.balanced).assign(split="train")]
    else:
        scores = scored_by(subsets)
        parts = []
        for split, rows in scores.groupby("split", sort=False):
            rows = rows[rows.index.isin(known[str(split)].ids.cpu().numpy())]  # this run may have fewer examples
            parts.append(by_scores(rows, subsets.size, balanced=subsets.balanced).assign(split=split))
    return pd.concat(parts, ignore_index=True)


def scored_by(subsets: ScoreSubsets) -> pd.DataFrame:
    """The score table that chooses the subsets: the mean over the score runs.

    Raises:
        RunFailed: one of them is not finished.
    """
    return average([read_scores(require(Run(run), "make it with scripts/score.py")) for run in subsets.runs])


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
    return torch.from_numpy(found).to(examples.device)
