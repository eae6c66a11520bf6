"""The work of a run: data, network and turn-over dropout from the config; then train, track, score, write tables."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from turnover.config import RunConfig, TurnoverConfig, TurnoverEstimator
from turnover.data.datasets import Dataset, Split, balanced_subset, load
from turnover.device import peak_memory
from turnover.dropout import attach
from turnover.dynamics.accuracy import measure
from turnover.examples import Examples
from turnover.facts import FACTS
from turnover.models import build as build_model
from turnover.scores.leakage import leakage
from turnover.scores.turnover import score_examples
from turnover.seeding import seeded
from turnover.store import Run
from turnover.tables import write_metrics, write_scores
from turnover.tracking import Tracker, dashboard
from turnover.training import checkpoint
from turnover.training.loop import steps_per_epoch, train
from turnover.training.optimizers import build as build_optimizer
from turnover.training.schedules import learning_rate

log = logging.getLogger("turnover")


def work(run: Run, device: torch.device, record: dict[str, Any]) -> None:
    """Do `run` in its folder, going on from its last checkpoint; `record` receives what the manifest adds."""
    config, folder = run.config, run.folder
    record |= {"device": str(device), "threads": torch.get_num_threads()}
    parts = build(config, device)
    restored = checkpoint.load(folder / "checkpoint.pt", parts.model, parts.optimizer)
    first = restored.epoch + 1 if restored else 1
    if restored:
        log.info("%s goes on after epoch %d of %d", run.name, restored.epoch, config.epochs)
    scored_epochs: list[int] = []
    if isinstance(config.estimator, TurnoverEstimator):
        scored_epochs = sorted({*config.estimator.epochs, config.epochs})
    steps = steps_per_epoch(len(parts.train), config.batch_size)
    live_dashboard = dashboard(
        config.logger,
        folder=folder,
        name=run.name,
        job=run.name.split("-")[0],
        group=config.experiment,
        tags=[tag for tag in (config.experiment, config.scale, config.dataset.name, config.model.name) if tag],
        config=config.model_dump(mode="json"),
    )
    with live_dashboard as live, _progress(config.epochs * steps, (first - 1) * steps, run.name) as bar:
        tracker = Tracker(live, restored.metrics if restored else [])
        if not restored:
            track(parts, config, tracker, epoch=0)
        for epoch in train(
            parts.model,
            parts.train,
            parts.optimizer,
            lambda epoch: learning_rate(config.schedule, config.optimizer.lr, epoch, config.epochs),
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=config.seed,
            first_epoch=first,
            precision=config.precision,
            on_step=bar.update,
        ):
            tracker.log(epoch.number, "train", {"lr": epoch.lr, "loss": epoch.loss, "accuracy": epoch.accuracy})
            if epoch.number % config.tracking.every == 0 or epoch.number == config.epochs:
                track(parts, config, tracker, epoch.number)
            if epoch.number in scored_epochs:
                write_scores(_scores_path(folder, epoch.number), scores(parts, config, epoch.number))
            progress = checkpoint.Progress(epoch.number, tracker.rows)
            checkpoint.save(folder / "checkpoint.pt", parts.model, parts.optimizer, progress)
        write_metrics(folder / "metrics.parquet", tracker.rows)
        last = [row for row in tracker.rows if row.epoch == config.epochs]
        live.summarise({f"{row.split}/{row.metric}": row.value for row in last})
        if scored_epochs:
            tables = [pd.read_parquet(_scores_path(folder, epoch)) for epoch in scored_epochs]
            table = pd.concat(tables, ignore_index=True)
            write_scores(folder / "scores.parquet", table)
            table = table[table["epoch"] == config.epochs]
            record["leakage"] = verdict(table)
            live.scores(table, folder / "scores.parquet")
    record["peak_memory"] = peak_memory(device)


@dataclass(frozen=True)
class Parts:
    """What a run works with, all on its device."""

    dataset: Dataset
    train: Examples
    tracked: Examples  # the training examples that are evaluated at the end of an epoch
    test: Examples
    model: nn.Module
    optimizer: torch.optim.Optimizer


def build(config: RunConfig, device: torch.device) -> Parts:
    """Data, network and optimizer of a config; the same weights for the same seed on every device."""
    facts = FACTS[config.dataset.name]
    dataset = load(config.dataset, config.corruption, device)
    training = _examples(dataset, dataset.train)
    size = min(config.tracking.examples or len(training), len(training))
    tracked = balanced_subset(dataset.train.true_labels, size, config.dataset.seed, "tracking")
    with seeded(config.seed, "init"):
        model = build_model(config.model, facts.shape, facts.classes).to(device)
    if isinstance(config.turnover, TurnoverConfig):
        attach(model, seed=config.seed, **config.turnover.model_dump(exclude={"name"}))
    return Parts(
        dataset,
        train=training,
        tracked=training.select(torch.from_numpy(tracked).to(device)),
        test=_examples(dataset, dataset.test),
        model=model,
        optimizer=build_optimizer(config.optimizer, model),
    )


def track(parts: Parts, config: RunConfig, tracker: Tracker, epoch: int) -> None:
    """Evaluate the tracked training examples and the test set and log what was measured."""
    splits = measure(
        parts.model,
        parts.tracked,
        parts.test,
        fresh_masks=config.tracking.fresh_masks,
        precision=config.precision,
    )
    for split, values in splits.items():
        tracker.log(epoch, split, values)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        log.debug("epoch %d of %d, %s: %s", epoch, config.epochs, split, numbers)


def scores(parts: Parts, config: RunConfig, epoch: int) -> pd.DataFrame:
    """The score table of all training examples after `epoch`, with the columns of `tables.SCORE_COLUMNS`."""
    table = score_examples(parts.model, parts.train, precision=config.precision)
    split = parts.dataset.train
    table["true_label"] = split.true_labels.cpu().numpy()
    table["corrupted"] = split.corrupted.cpu().numpy()
    table["epoch"] = epoch
    return table.reset_index()


def verdict(table: pd.DataFrame) -> dict[str, Any]:
    """The leakage verdict on a score table, told loudly if the scores cannot be trusted."""
    found = leakage(
        own_accuracy=float((table["own_prediction"] == table["label"]).mean()),
        flipped_accuracy=float((table["flipped_prediction"] == table["label"]).mean()),
        chance=float(table["label"].value_counts(normalize=True).max()),
        examples=len(table),
    )
    log.log(logging.DEBUG if found.verdict == "none" else logging.WARNING, found.message())
    return found.as_dict()


def _examples(dataset: Dataset, split: Split) -> Examples:
    return Examples(split.images, split.labels, split.ids, dataset.inputs)


def _scores_path(folder: Path, epoch: int) -> Path:
    # one file for each scored epoch, written before that epoch's checkpoint, so that a killed run finds them all
    return folder / "scored" / f"epoch-{epoch:05d}.parquet"


def _progress(total: int, done: int, name: str) -> "tqdm[Any]":
    # in a log file a line now and then, on a terminal a live bar
    interval = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, initial=done, desc=name, unit="step", mininterval=interval, smoothing=0.05)
