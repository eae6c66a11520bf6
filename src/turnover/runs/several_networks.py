"""The work of a run whose estimator trains networks of its own: its tables, and what is kept of the networks."""

from collections.abc import Callable
from typing import Any

from turnover.config.run import RunConfig
from turnover.estimators.estimator import Estimates, Estimator
from turnover.runs.build import RunTask
from turnover.runs.dashboard.wandb import Tracker
from turnover.runs.score_tables import from_columns
from turnover.runs.store.members import Members, write_members
from turnover.runs.store.run import SCRATCH, Run
from turnover.runs.store.tables import write_scores


def several_networks(
    task: RunTask,
    config: RunConfig,
    run: Run,
    estimator: Estimator,
    tracker: Tracker,
    on_step: Callable[[int], object],
    record: dict[str, Any],
) -> None:
    """Train the networks, going on after the last one that is finished, and write the run's tables.

    Raises:
        RunFailed: some examples would have no score; raised before any network is trained.
    """
    found = estimator.scores(task, config, run.folder / SCRATCH, on_step)
    for split, values in found.metrics.items():
        tracker.log(config.epochs, split, values)
    table = from_columns(task, config, found.columns, found.score)
    if found.scored is not None:
        table = table[found.scored.cpu().numpy()]
    if found.outcomes is not None:
        write_members(run.folder, _members(task, found))
        record["networks"] = len(found.outcomes[0].seeds)
    write_scores(run.folder / "scores.parquet", table)
    record["examples_trained"] = found.examples_trained


def _members(task: RunTask, found: Estimates) -> Members:
    assert found.outcomes is not None
    (networks, outcomes), test, n = found.outcomes, task.groups.get(("test", "all")), len(task.train)
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
