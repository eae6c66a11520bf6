"""Scores of one's own data with one seed, by turn-over dropout or any other estimator."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from turnover.checks.verify import attach
from turnover.common.text import in_order
from turnover.config.estimators import ESTIMATES, TurnoverEstimator
from turnover.config.run import Training
from turnover.estimators.curve import Curve
from turnover.estimators.estimator import Task
from turnover.estimators.first_token import FirstToken, verdict_on
from turnover.estimators.leakage import Leakage
from turnover.estimators.one_run import Predictions, Watch
from turnover.estimators.registry import of_several_networks
from turnover.estimators.score import score_examples
from turnover.estimators.suited import column_of, rows_at_once
from turnover.training.fit import fit
from turnover.training.loop import Observer
from turnover.training.methods import build


class OfSeed(NamedTuple):
    """What one seed gives."""

    table: pd.DataFrame
    leakage: Leakage | FirstToken | None
    curve: dict[str, list[float]]
    probabilities: Tensor | None  # [n, classes], on the CPU


def of_seed(
    task: Task, masks: dict[str, Any], on_step: Callable[[int], object], predictions: bool, config: Training
) -> OfSeed:
    """Train with the seed of `config`; return scores, how far masks leak, the learning curve, mean probabilities.

    Args:
        masks: of turn-over dropout, arguments of `attach`.
        predictions: whether probabilities are wanted.
    """
    task = replace(task, model=task.make_model(config.seed))
    seen, curve, leakage = Predictions(task.train), Curve(task.train.loss), None
    if isinstance(config.estimator, TurnoverEstimator):
        attach(task.model, seed=config.seed, **masks)
    table = _table(task, config, on_step, [curve, seen] if predictions else [curve])
    if isinstance(config.estimator, TurnoverEstimator):
        leakage = verdict_on(task.model, task.train, table, batch_size=rows_at_once(config, task.train))
    return OfSeed(table, leakage, curve.values(), seen.mean().cpu() if predictions else None)


def _table(task: Task, config: Training, on_step: Callable[[int], object], observers: list[Observer]) -> pd.DataFrame:
    """Score all examples with one seed, by the same functions as a run from a config."""
    estimator = config.estimator

    def train(observers: list[Observer]) -> None:
        method = build(config, task.model, task.train, task.make_model)
        for _ in fit(config, task.model, task.train, method=method, on_step=on_step, observers=observers):
            pass

    if isinstance(estimator, TurnoverEstimator):
        train(observers)
        size = rows_at_once(config, task.train)
        return score_examples(task.model, task.train, batch_size=size)  # in float32 always, as in a run
    several = of_several_networks(config)
    with tempfile.TemporaryDirectory(prefix="turnover-") as name:  # what a run keeps in order to go on
        if several is not None:
            estimates = several.scores(task, config, Path(name), on_step)
            columns, score = estimates.columns, estimates.score
        else:
            watch = Watch(task, config, Path(name))
            train([*observers, watch])
            columns, score = watch.columns(), column_of(estimator, task.train.loss)
    values: dict[str, Tensor] = {"score": columns[score], **columns}
    names = in_order(values, ("score", *ESTIMATES, "prediction", "probability"))
    wide = {name: values[name].double() if values[name].is_floating_point() else values[name] for name in names}
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in wide.items()})
    label = task.train.loss.label(task.train.labels)
    if label.dim() == 1:
        table["label"] = label.cpu().numpy()
    return table.set_index(pd.Index(task.train.index, name="id"))
