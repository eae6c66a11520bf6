"""Sets of examples with their scores: from score runs of the local store, and from the tables of a validation."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from turnover.common.files import checkout, outputs_root
from turnover.config.compose import sweep, varied
from turnover.config.datasets import DATASETS
from turnover.config.estimators import ESTIMATES, NoEstimator, TurnoverEstimator, score_of
from turnover.config.run import RunConfig
from turnover.estimators.score import average
from turnover.experiments.plots.notes import network, pair
from turnover.experiments.results import Validation
from turnover.experiments.validation.truth import file_name, read_examples, title
from turnover.runs.store.run import Run, require
from turnover.runs.store.tables import read_scores

log = logging.getLogger("turnover")

LABELS = ("label", "true_label", "own_prediction", "flipped_prediction")  # classes; -1: none
_LOSSES = {"own_loss": "own loss", "flipped_loss": "flipped loss"}


@dataclass(frozen=True)
class Curves:
    """Losses of sub-networks on every example after some epochs, a mean over seeds."""

    epochs: list[int]
    own: np.ndarray  # float [epochs, examples], nats
    flipped: np.ndarray


@dataclass(frozen=True)
class ExampleSet:
    """The same examples, scored in one or several ways."""

    name: str
    title: str
    about: str  # networks, seeds, where it comes from
    dataset: str  # a key of DATASETS
    table: pd.DataFrame  # index "id"; some of LABELS, and numbers
    numbers: dict[str, str]  # columns of numbers that can be sorted by and their titles; the first one sorts first
    source: str  # files of the whole table
    curves: Curves | None = None


def from_validation(validation: Validation) -> list[ExampleSet]:
    """Return one set for each data set: every estimator and the ground truth."""
    sets = []
    lines = {line.partition(":")[0]: line for line in validation.values["settings"]}
    for name, facts in DATASETS.items():
        path = validation.folder / file_name(name)
        if path.exists():
            table = read_examples(path)
            mislabelled = int((table["label"] != table["true_label"]).sum())
            numbers = [str(column) for column in table if column not in LABELS]
            first = [column for column in ("turnover", "own_loss", "flipped_loss") if column in numbers]
            columns = {column: _LOSSES.get(column, title(column)) for column in dict.fromkeys([*first, *numbers])}
            heading = f"{facts.title}, {len(table):,} examples, {mislabelled:,} labels wrong: all estimators"
            about = f"{lines.get(facts.title, '')} Estimates are means over seeds."
            sets.append(ExampleSet(f"validate-{name}", heading, about.strip(), name, table, columns, _place(path)))
    return sets


def from_store(experiments: Sequence[str], scale: str) -> tuple[list[ExampleSet], list[str]]:
    """Return sets of the finished score runs of these experiments, and the experiments that have none.

    Runs whose network, data set and labels an earlier experiment has shown already are left out: they give
    the same again, with other seeds.
    """
    runs: dict[str, RunConfig] = {}
    missing = []
    seen: set[str] = set()
    for experiment in experiments:
        configs = sweep([f"+experiment={experiment}", f"scale={scale}"])
        done = {Run(config).name: config for config in configs if Run(config).finished}
        done = {name: config for name, config in done.items() if not isinstance(config.estimator, NoEstimator)}
        runs |= {name: config for name, config in done.items() if _kind(config) not in seen}
        seen |= {_kind(config) for config in done.values()}
        missing += [] if done else [experiment]
    same_labels: dict[str, list[RunConfig]] = {}
    for config in runs.values():
        labels = [config.dataset.model_dump(), config.corruption.model_dump()]
        same_labels.setdefault(json.dumps(labels, sort_keys=True), []).append(config)
    return [_of_runs(configs) for configs in same_labels.values()], missing


def _kind(config: RunConfig) -> str:
    return f"{pair(config)} {config.corruption} {score_of(config.estimator)}"


def _of_runs(configs: Sequence[RunConfig]) -> ExampleSet:
    """Return runs on the same examples and labels: a column for every kind of run, averaged over its seeds."""
    kinds: dict[str, list[RunConfig]] = {}
    for config in configs:
        science = {key: value for key, value in config.science().items() if key != "seed"}
        kinds.setdefault(json.dumps(science, sort_keys=True), []).append(config)
    table, columns, curves = pd.DataFrame(), {}, None
    differences = _differences([runs[0] for runs in kinds.values()])
    for number, (runs, differs) in enumerate(zip(kinds.values(), differences, strict=True)):
        tables = [read_scores(_folder(config)) for config in runs]
        mean = average(tables)
        if not number:
            table = mean[["split"]].copy()
        for name in LABELS:
            if name in mean and name not in table:
                table[name] = mean[name]
        for name, heading, values in _scores(runs, mean, tables):
            key = name if name not in columns else f"{name}-{number}"
            table[key] = values.reindex(table.index)
            columns[key] = f"{heading}{differs}"
        curves = curves or _curves(runs, table.index)
    config = configs[0]
    facts = DATASETS[config.dataset.name]
    replaced = f", {config.corruption.count:,} labels replaced" if config.corruption.count else ""
    tests = ", test examples among them" if config.dataset.include_test else ""
    heading = f"{facts.title}, {len(table):,} examples{tests}{replaced}: {network(config)}"
    seeds = ", ".join(map(str, sorted({config.seed for config in configs})))
    about = f"{pair(config)}, {config.epochs} epochs, {config.scale} scale; means over seeds {seeds}."
    name = f"{config.experiment}-{Run(config).name[-10:]}"
    others = f", and those of {len(configs) - 1} more runs" if len(configs) > 1 else ""
    source = f"{_place(_folder(config) / 'scores.parquet')}{others}"
    return ExampleSet(name, heading, about, config.dataset.name, table, columns, source, curves)


def _scores(
    runs: Sequence[RunConfig], mean: pd.DataFrame, tables: Sequence[pd.DataFrame]
) -> list[tuple[str, str, pd.Series]]:
    """Return name, title and values of every number that runs of one kind give."""
    estimator = runs[0].estimator
    if not isinstance(estimator, TurnoverEstimator):
        names = [name for name in ESTIMATES if name in mean] or ["score"]
        return [(name if name != "score" else score_of(estimator), title(name), mean[name]) for name in names]
    numbers = [("turnover", "score: flipped - own loss", mean["score"])]
    numbers += [(name, words, mean[name]) for name, words in _LOSSES.items()]
    if len(runs) > 1:  # how well two seeds agree can then be seen
        for run, table in zip(runs[:2], tables[:2], strict=True):
            numbers.append((f"seed_{run.seed}", f"score of seed {run.seed} alone", table["score"]))
    return numbers


def _differences(configs: Sequence[RunConfig]) -> list[str]:
    """Return the fields in which kinds of runs differ, in brackets, but not those of estimators."""
    texts = []
    for values in varied(configs):
        fields = [f"{name} {value}" for name, value in values.items() if not name.startswith("estimator.")]
        texts.append(f" ({', '.join(fields)})" if fields else "")
    return texts


def _curves(runs: Sequence[RunConfig], index: pd.Index) -> Curves | None:
    """Return losses after every epoch that all runs scored; None if that is one epoch or there are no sub-networks."""
    if not isinstance(runs[0].estimator, TurnoverEstimator):
        return None
    tables = []
    for config in runs:
        table = pd.read_parquet(_folder(config) / "scores.parquet", columns=["epoch", "id", *_LOSSES])
        tables.append(table.pivot(index="epoch", columns="id", values=list(_LOSSES)))
    epochs = sorted(set.intersection(*(set(table.index) for table in tables)))
    if len(epochs) < 2:
        return None
    own, flipped = (
        np.mean([table.loc[epochs, name].reindex(columns=index).to_numpy() for table in tables], axis=0)
        for name in _LOSSES
    )
    return Curves([int(epoch) for epoch in epochs], own, flipped)


def _place(path: Path) -> str:
    """Return a path below the outputs, or below the committed ones, without what is private to this machine."""
    root = outputs_root() if path.is_relative_to(outputs_root()) else checkout() / "outputs"
    return f"outputs/{path.relative_to(root).as_posix()}"


def _folder(config: RunConfig) -> Path:
    return require(Run(config), f"make it with: make {config.experiment} SCALE={config.scale}")
