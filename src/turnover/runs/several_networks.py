"""The work of a run whose estimator trains several networks: their scores, and what is kept of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnover.config.estimators import (
    ConfidentLearningEstimator,
    EnsembleEstimator,
    LeaveOneOutEstimator,
    SecondSplitEstimator,
)
from turnover.config.run import RunConfig
from turnover.estimators import second_split
from turnover.estimators.ensemble import estimates
from turnover.estimators.networks import Design, Outcomes, design
from turnover.estimators.subsampling import with_and_without
from turnover.runs.build import Parts
from turnover.runs.dashboard.wandb import Tracker
from turnover.runs.score_tables import from_columns, known
from turnover.runs.store.members import Members, write_members
from turnover.runs.store.run import SCRATCH
from turnover.runs.store.tables import write_scores


def planned(parts: Parts, config: RunConfig) -> Design:
    """The networks that the run will train."""
    split = known(parts)
    return design(config, parts.train, split.labels != split.true_labels)


def ensemble_work(
    parts: Parts,
    config: RunConfig,
    folder: Path,
    tracker: Tracker,
    on_step: Callable[[int], object],
    record: dict[str, Any],
) -> None:
    """Train the networks, going on after the last finished block, and write members.npz and scores.parquet.

    Raises:
        RunFailed: some examples would have no score, which is told before any network is trained.
    """
    ensemble = planned(parts, config)
    found, columns = estimates(parts, config, ensemble, folder / SCRATCH, on_step)
    n = len(parts.train)
    train, test = found.right[:, :n], found.right[:, n:]
    with_it, without = with_and_without(train, ensemble.included)
    accuracy = {"in_accuracy": float(with_it.nanmean()), "out_accuracy": float(without.nanmean())}
    tracker.log(config.epochs, "train", accuracy)
    if test.numel():
        tracker.log(config.epochs, "test", {"full_accuracy": float(test.double().mean())})
    estimator = config.estimator
    assert isinstance(estimator, EnsembleEstimator)
    score = getattr(estimator, "score", "memorization")
    if isinstance(estimator, ConfidentLearningEstimator):
        score = "confident_learning"
    table = from_columns(parts, config, columns, score)
    if isinstance(estimator, LeaveOneOutEstimator):  # only these have a score
        table = table[(~ensemble.included).any(0).numpy()]
    write_members(folder, _kept(parts, ensemble, found))
    write_scores(folder / "scores.parquet", table)
    record["networks"] = len(ensemble.seeds)
    record["examples_trained"] = int(ensemble.included.sum()) * config.epochs


def second_split_work(
    parts: Parts,
    config: RunConfig,
    folder: Path,
    tracker: Tracker,
    on_step: Callable[[int], object],
    record: dict[str, Any],
) -> None:
    """Train twice, going on after the first time if that is done, and write scores.parquet."""
    score, learnt = second_split.scores(parts, config, folder / SCRATCH, on_step)
    tracker.log(config.epochs, "train", {"in_accuracy": float(learnt.double().mean())})
    write_scores(folder / "scores.parquet", from_columns(parts, config, {"second_split": score}, "second_split"))
    assert isinstance(config.estimator, SecondSplitEstimator)
    record["examples_trained"] = (config.epochs + config.estimator.epochs) * len(parts.train)


def _kept(parts: Parts, ensemble: Design, found: Outcomes) -> Members:
    test, n = parts.groups.get(("test", "all")), len(parts.train)
    return Members(
        ids=parts.train.ids.cpu().numpy(),
        test_ids=(test.ids if test is not None else parts.train.ids[:0]).cpu().numpy(),
        included=ensemble.included,
        fraction=ensemble.fraction,
        confidence=found.confidence[:, :n],
        right=found.right[:, :n],
        test_confidence=found.confidence[:, n:],
        test_right=found.right[:, n:],
    )
