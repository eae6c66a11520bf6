"""A run that trains one network: epoch by epoch, a checkpoint after each, then the scores, as a run stores them."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from turnover.common import signals
from turnover.common.text import in_order
from turnover.config.estimators import ExtractionEstimator, OneRunEstimator, TurnoverEstimator, score_of
from turnover.config.run import RunConfig, title
from turnover.core.losses import TOKENS
from turnover.data.datasets import balanced_subset
from turnover.estimators.influence import influence
from turnover.estimators.one_run import Watch
from turnover.estimators.score import score_examples
from turnover.estimators.suited import rows_at_once
from turnover.runs import checkpoint, gradient_tracking
from turnover.runs.build import RunTask, phases, steps_of_epochs
from turnover.runs.dashboard.wandb import Dashboard, Tracker
from turnover.runs.extraction import by_heart
from turnover.runs.store import checksums
from turnover.runs.store.run import SCRATCH, Run, cannot_go_on
from turnover.runs.store.tables import SCORE_COLUMNS, Metric, write_influences, write_scores
from turnover.training.accuracy import label_lead, measure
from turnover.training.fit import fit
from turnover.training.loop import Epoch, Partial, StoppedInEpoch, steps_per_epoch, visits, whole_epochs
from turnover.training.methods import build
from turnover.training.updates import Updates

log = logging.getLogger("turnover")


def one_network(task: RunTask, config: RunConfig, run: Run, live: Dashboard, record: dict[str, Any]) -> list[Metric]:
    """Train the network with a checkpoint after each epoch, score the examples if asked to; return the metrics."""
    folder, estimator = run.folder, config.estimator
    restored = checkpoint.load(folder / "checkpoint.pt", task.model, task.optimizer)
    method = build(config, task.model, task.train, task.make_model)
    first = restored.epoch + 1 if restored else 1
    partial = restored.partial if restored else None
    if restored:
        method.load_state_dict(restored.method)
        middle = f", in the middle of the next ({len(partial.losses)} examples)" if partial else ""
        log.info("%s goes on after epoch %d of %d%s", run.name, restored.epoch, config.epochs, middle)
    kinds = (TurnoverEstimator, ExtractionEstimator)
    scored_epochs = sorted({*estimator.epochs, config.epochs}) if isinstance(estimator, kinds) else []
    tables = restored.tables if restored else {}
    _refuse_damaged(run, tables)
    parts = phases(task, config)
    steps = steps_of_epochs(parts, config.batch_size)
    updates = gradient_tracking.updates(task, config)
    watch = Watch(task, config, folder / SCRATCH) if isinstance(estimator, OneRunEstimator) else None
    observers = [observer for observer in (updates, watch) if observer is not None]
    tracker = Tracker(live, restored.metrics if restored else [])
    taken = sum(steps[: first - 1]) + (steps_per_epoch(len(partial.losses), config.batch_size) if partial else 0)

    def step_taken(count: int) -> None:
        nonlocal taken  # not the bar's count, which is still where bars are off
        taken += count
        bar.update(count)
        if taken in config.tracking.steps and (reached := whole_epochs(taken, steps))[1]:  # no end of an epoch
            track(task, config, tracker, *reached)

    def save(epoch: int, partial: Partial | None = None) -> None:
        states = [observer.state_dict() for observer in observers] if partial else []
        reached = checkpoint.Progress(epoch, tracker.rows, partial, states, tables, method.state_dict())
        checkpoint.save(folder / "checkpoint.pt", task.model, task.optimizer, reached)

    with progress(sum(steps), taken, title(config)) as bar, _saved_when_stopped(save):
        if not restored:
            track(task, config, tracker, epoch=0)
        elif watch is not None:
            with _still_there(run):
                watch.resume(restored.epoch)
        if restored and partial:
            for observer, state in zip(observers, restored.observers, strict=True):
                observer.load_state_dict(state)
        epochs = (
            fit(
                config,
                task.model,
                examples,
                epochs=last,
                optimizer=task.optimizer,
                method=method,
                first_epoch=max(first, begin),
                partial=partial if first >= begin else None,
                on_step=step_taken,
                observers=observers,
                stop=signals.asked,
            )
            for examples, begin, last in parts
            if first <= last
        )
        for epoch in chain.from_iterable(epochs):
            log_epoch(task, tracker, epoch)
            if updates is not None:
                log_updates(updates, tracker, epoch.number)
            number, watched = epoch.number, config.tracking
            if number % watched.every == 0 or number == config.epochs or taken in watched.steps:
                track(task, config, tracker, epoch.number)
            if epoch.number in scored_epochs:
                path = _scores_path(folder, epoch.number)
                write_scores(path, scores(task, config, epoch.number))
                tables[path.relative_to(folder).as_posix()] = checksums.sha256(path)
            if epoch.number in config.tracking.keep:
                path = checkpoint.keep_weights(folder, epoch.number, task.model)
                tables[path.relative_to(folder).as_posix()] = checksums.sha256(path)
            save(epoch.number)
            if epoch.number < config.epochs:
                signals.stop_if_asked()
    checkpoint.forget_earlier(folder / "checkpoint.pt")
    trained = sum(visits(examples) * (last + 1 - begin) for examples, begin, last in parts)
    record["examples_trained"] = trained * config.method.networks
    _refuse_damaged(run, tables)
    if scored_epochs:
        every = [pd.read_parquet(_scores_path(folder, epoch)) for epoch in scored_epochs]
        write_scores(folder / "scores.parquet", pd.concat(every, ignore_index=True))
    if isinstance(estimator, TurnoverEstimator) and estimator.targets:
        write_influences(folder, *influences(task, config, estimator.targets))
    if watch is not None:
        with _still_there(run):
            columns = watch.columns()
        write_scores(folder / "scores.parquet", from_columns(task, config, columns, score_of(estimator)))
    return tracker.rows


def track(task: RunTask, config: RunConfig, tracker: Tracker, epoch: int, step: int = 0) -> None:
    """Evaluate the network on every tracked group of examples, after an epoch or steps later, and log the metrics."""
    measured = measure(
        task.model,
        task.groups,
        fresh_masks=config.tracking.fresh_masks,
        precision=config.settled,
        batch_size=rows_at_once(config, task.train),
    )
    for name, values in gradient_tracking.sets(task, config).items():
        measured[name] |= values
    if task.mislabelled is not None:
        lead = label_lead(task.model, *task.mislabelled, batch_size=rows_at_once(config, task.train))
        measured["train", "difficult"]["label_lead"] = lead
    for (split, subset), values in measured.items():
        tracker.log(epoch, split, values, subset, step)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        log.debug("epoch %d of %d, %s, %s: %s", epoch, config.epochs, split, subset, numbers)


def log_updates(observer: Updates, tracker: Tracker, epoch: int) -> None:
    """Log what the observer measured of the updates of an epoch, if it was observed."""
    for subset, values in observer.means().items():
        tracker.log(epoch, "train", values, subset)


def log_epoch(task: RunTask, tracker: Tracker, epoch: Epoch) -> None:
    """Log loss and accuracy of the training pass, over all examples and over the trained subsets."""
    tracker.log(epoch.number, "train", {"lr": epoch.lr})
    everything = torch.arange(len(epoch.losses), device=epoch.losses.device)
    for subset, index in {"all": everything, **task.trained_subsets}.items():
        values = {"loss": float(epoch.losses[index].double().mean())}
        values["accuracy"] = float(epoch.correct[index].double().mean())
        tracker.log(epoch.number, "train", values, subset)


def scores(task: RunTask, config: RunConfig, epoch: int) -> pd.DataFrame:
    """Return the score table of all training examples after `epoch`, with the columns of `tables.SCORE_COLUMNS`."""
    if isinstance(config.estimator, ExtractionEstimator):
        return stored(by_heart(task, task.dataset), task, config, epoch)
    # in float32 whatever the training: low precision would blur the small losses of easy examples
    table = score_examples(task.model, task.train, batch_size=rows_at_once(config, task.train))
    return stored(table, task, config, epoch)


def influences(task: RunTask, config: RunConfig, targets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids of test examples [t], ids of training examples [n], and the influences of these on those [t, n]."""
    test = task.groups["test", "all"]
    some = balanced_subset(test.labels, targets, config.dataset.seed, "targets")
    target_examples = test.select(torch.from_numpy(some).to(test.device))
    inputs, labels, _ = target_examples.batch(torch.arange(targets, device=test.device))
    matrix = influence(task.model, inputs, labels, task.train.ids)
    return target_examples.ids.cpu().numpy(), task.train.ids.cpu().numpy(), matrix.float().cpu().numpy()


def _scores_path(folder: Path, epoch: int) -> Path:
    # one file for each scored epoch, written before that epoch's checkpoint, so that a killed run finds them all
    return folder / "scored" / f"epoch-{epoch:05d}.parquet"


def _refuse_damaged(run: Run, tables: dict[str, str]) -> None:
    for name in checksums.differing(run.folder, tables.items()):
        raise cannot_go_on(run.folder / name, run.name)


@contextmanager
def _saved_when_stopped(save: Callable[[int, Partial], None]) -> Iterator[None]:
    try:
        yield
    except StoppedInEpoch as stopped:
        save(stopped.partial.epoch - 1, stopped.partial)
        raise


@contextmanager
def _still_there(run: Run) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise cannot_go_on(Path(error.filename), run.name) from None


def progress(total: int, done: int, name: str) -> "tqdm[Any]":
    """Return a live bar of steps on a terminal; in a log file, a line now and then."""
    interval = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, initial=done, desc=name, unit="step", mininterval=interval, smoothing=0.05)


def from_columns(task: RunTask, config: RunConfig, columns: dict[str, Tensor], score: str) -> pd.DataFrame:
    """Return the score table of the training examples from their estimates, one of which is the score.

    Args:
        columns: estimates by their names in `config.estimators.ESTIMATES`.  # [examples] each
        score: the name of the one that is the score.
    """
    index = pd.Index(task.train.ids.cpu().numpy(), name="id")
    wide = {name: column.double() if column.is_floating_point() else column for name, column in columns.items()}
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in wide.items()}, index=index)
    table["score"] = table[score]
    table["label"] = task.train.loss.label(task.train.labels).cpu().numpy()
    return stored(table, task, config, config.epochs)


def stored(table: pd.DataFrame, task: RunTask, config: RunConfig, epoch: int) -> pd.DataFrame:
    """Return a score table (index "id") of the training examples with the columns of every stored one."""
    if task.train.loss is TOKENS:
        table = table.drop(columns="label", errors="ignore")  # it is their number, which is known
    table = table.join(task.known).assign(epoch=epoch).reset_index()
    return table[in_order(map(str, table), SCORE_COLUMNS)]
