"""The pipeline of a run: build data and network from the config; train, track, score, write tables."""

import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from turnover.checks.inputs import refuse_unsuited
from turnover.common import signals
from turnover.common.device import describe, peak_memory, settle
from turnover.common.files import write_text
from turnover.config.estimators import TurnoverEstimator
from turnover.config.run import RunConfig, title
from turnover.data.text import Corpus
from turnover.errors import RefusedInput
from turnover.estimators.estimator import Estimates
from turnover.estimators.first_token import verdict_on
from turnover.estimators.registry import OF_SEVERAL_NETWORKS, of_several_networks, sizes
from turnover.estimators.suited import rows_at_once
from turnover.runs.build import RunTask, build, phases, steps_of_epochs
from turnover.runs.dashboard.summary import opened, show
from turnover.runs.dashboard.wandb import Dashboard, Tracker
from turnover.runs.one_network import from_columns, one_network, progress
from turnover.runs.store.members import Members, write_members
from turnover.runs.store.run import SCRATCH, Run, refuse_other_precision
from turnover.runs.store.tables import Metric, read_scores, write_metrics, write_scores, write_subsets

log = logging.getLogger("turnover")

_ACCURACIES = {  # by names of metrics
    "test/full_accuracy": "test accuracy",
    "train/full_accuracy": "training accuracy",
    "train/own_accuracy": "of own sub-networks",
    "train/flipped_accuracy": "of flipped ones",
    "train/in_accuracy": "accuracy of networks on what they were trained on",
    "train/out_accuracy": "on training examples held out from them",
}


def settled(run: Run, device: torch.device) -> RunConfig:
    """Return the config of `run` with the precision it is trained in: that of its first start, on any machine."""
    refuse_other_precision(run)
    begun, precision = run.manifest, run.config.precision
    if begun and precision == "auto":
        precision = begun.get("precision", "bfloat16")  # not recorded before there was auto, and its runs were that
    return run.config.model_copy(update={"precision": settle(precision, device)})


def work(run: Run, config: RunConfig, device: torch.device, record: dict[str, Any]) -> None:
    """Do `run` in its folder, going on from its last checkpoint.

    Args:
        config: that of the run, with its precision settled.
        record: receives what the manifest adds.
    """
    folder = run.folder
    record |= {"device": describe(device), "threads": torch.get_num_threads()}
    task = build(config, device)
    refuse_unsuited(task.model, task.train, sizes(task, config), config.batch_size)
    last = sum(steps_of_epochs(phases(task, config), config.batch_size))
    if late := [step for step in config.tracking.steps if step > last]:
        raise RefusedInput(f"tracking.steps: {late} are beyond the last step, {last}: leave them out")
    record["parents"] = [Run(parent).name for parent in config.parents]
    if isinstance(task.dataset, Corpus):
        write_text(folder / "tokenizer.json", task.dataset.tokenizer.to_str(pretty=True))
    if task.subsets is not None:
        write_subsets(folder / "subsets.parquet", task.subsets)
    with opened(run) as live:
        train = one_network if of_several_networks(config) is None else several_networks
        rows = train(task, config, run, live, record)
        write_metrics(folder / "metrics.parquet", rows)
        if isinstance(config.estimator, TurnoverEstimator):
            record["leakage"] = verdict(task, config, read_scores(folder))
        show(live, run, rows, record.get("leakage"))
    if text := measured(rows):
        record["measured"] = text
        log.info("%s", text)
    record["peak_memory"] = peak_memory(device)


def measured(rows: Sequence[Metric]) -> str:
    """Return the accuracies after the last epoch, as text."""
    last = {row.key: row.value for row in rows}
    return ", ".join(f"{words} {last[key]:.1%}" for key, words in _ACCURACIES.items() if key in last)


def verdict(task: RunTask, config: RunConfig, table: pd.DataFrame) -> dict[str, Any]:
    """Return the leakage verdict on the last scores, with a warning if they cannot be trusted."""
    leakage = verdict_on(task.model, task.train, table, batch_size=rows_at_once(config, task.train))
    assert leakage is not None, "there is one on classes and on text"
    leakage.warn()
    return leakage.as_dict()


def several_networks(
    task: RunTask, config: RunConfig, run: Run, live: Dashboard, record: dict[str, Any]
) -> list[Metric]:
    """Train the networks, going on after the last finished one, write the run's tables and return its metrics.

    Raises:
        RunFailed: some examples would have no score; raised before any network is trained.
    """
    estimator, tracker = OF_SEVERAL_NETWORKS[config.estimator.name], Tracker(live, [])
    with progress(estimator.steps(task, config), 0, title(config)) as bar:

        def on_step(steps: int) -> None:
            bar.update(steps)
            signals.stop_if_asked()  # only networks that are not finished are lost

        estimates = estimator.scores(task, config, run.folder / SCRATCH, on_step)
    for split, values in estimates.metrics.items():
        tracker.log(config.epochs, split, values)
    table = from_columns(task, config, estimates.columns, estimates.score)
    if estimates.scored is not None:
        table = table[estimates.scored.cpu().numpy()]
    if estimates.outcomes is not None:
        write_members(run.folder, _members(task, estimates))
        record["networks"] = len(estimates.outcomes[0].seeds)
    write_scores(run.folder / "scores.parquet", table)
    record["examples_trained"] = estimates.examples_trained * config.method.networks
    return tracker.rows


def _members(task: RunTask, estimates: Estimates) -> Members:
    assert estimates.outcomes is not None
    (networks, outcomes), test, n = estimates.outcomes, task.groups.get(("test", "all")), len(task.train)
    return Members(
        ids=task.train.ids.cpu().numpy(),
        test_ids=(test.ids if test is not None else task.train.ids[:0]).cpu().numpy(),
        included=networks.included,
        fraction=networks.fraction,
        confidence=outcomes.confidence[:, :n].float(),
        right=outcomes.right[:, :n],
        test_confidence=outcomes.confidence[:, n:].float(),
        test_right=outcomes.right[:, n:],
    )
