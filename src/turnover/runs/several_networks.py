"""The work of a run whose estimator trains networks of its own: its tables, and what is kept of the networks."""

from typing import Any

from turnover.common import signals
from turnover.config.run import RunConfig, title
from turnover.estimators.estimator import Estimates
from turnover.estimators.registry import OF_SEVERAL_NETWORKS
from turnover.runs.build import RunTask
from turnover.runs.dashboard.wandb import Dashboard, Tracker
from turnover.runs.one_network import progress
from turnover.runs.score_tables import from_columns
from turnover.runs.store.members import Members, write_members
from turnover.runs.store.run import SCRATCH, Run
from turnover.runs.store.tables import Metric, write_scores


def several_networks(
    task: RunTask, config: RunConfig, run: Run, live: Dashboard, record: dict[str, Any]
) -> list[Metric]:
    """Train the networks, going on after the last one that is finished, and write the run's tables; its metrics.

    Raises:
        RunFailed: some examples would have no score; raised before any network is trained.
    """
    estimator, tracker = OF_SEVERAL_NETWORKS[config.estimator.name], Tracker(live, [])
    with progress(estimator.steps(task, config), 0, title(config)) as bar:

        def on_step(steps: int) -> None:
            bar.update(steps)
            signals.stop_if_asked()  # only networks that are not finished are lost

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
    return tracker.rows


def _members(task: RunTask, found: Estimates) -> Members:
    assert found.outcomes is not None
    (networks, outcomes), test, n = found.outcomes, task.groups.get(("test", "all")), len(task.train)
    return Members(
        ids=task.train.ids.cpu().numpy(),
        test_ids=(test.ids if test is not None else task.train.ids[:0]).cpu().numpy(),
        included=networks.included,
        fraction=networks.fraction,
        confidence=outcomes.confidence[:, :n],
        right=outcomes.right[:, :n],
        test_confidence=outcomes.confidence[:, n:],
        test_right=outcomes.right[:, n:],
    )
