"""Estimate of how long a run takes on this machine, from a few of its own steps."""

import time
from dataclasses import replace

import torch

from turnover.common.device import resolve
from turnover.config.estimators import EnsembleEstimator, TurnoverEstimator
from turnover.config.options import GradientTracking, TurnoverOff
from turnover.config.run import RunConfig
from turnover.config.subset_options import NoSubsets
from turnover.config.training_options import ConstantSchedule
from turnover.core.examples import Examples
from turnover.estimators.estimator import Design
from turnover.estimators.networks import at_once, design, train_block
from turnover.estimators.registry import steps
from turnover.estimators.suited import rows_at_once
from turnover.runs.build import RunTask, build
from turnover.runs.gradient_tracking import sets
from turnover.runs.pipeline import settled
from turnover.runs.store.run import Run
from turnover.training.accuracy import measure
from turnover.training.fit import fit
from turnover.training.loop import steps_per_epoch
from turnover.training.methods import build as build_method

_STEPS = 4  # timed ones, after as many that warm up


def seconds(config: RunConfig) -> float:
    """Estimate the seconds of a run: its steps, and the evaluations after its epochs; without start-up."""
    device = resolve(config.device)
    config = settled(Run(config), device)
    if all(Run(parent).finished for parent in config.parents):
        task = build(config, device)
    else:  # the subsets are not known yet, but their sizes are
        size = config.trained_size
        config = config.model_copy(update={"subsets": NoSubsets(name="none")})
        task = build(config, device)
        task = replace(task, train=task.train.select(torch.arange(size, device=device)), wrong=task.wrong[:size])
    few = task.train.select(torch.arange(min(len(task.train), _STEPS * config.batch_size), device=device))
    few = replace(few, repeats=None)
    clock = time.perf_counter
    ticks = []
    slow = config.optimizer.model_copy(update={"lr": 1e-6})  # a rate at which no loss overflows
    # masked from the first epoch on, if turn-over dropout is attached
    constant = ConstantSchedule(name="constant", warmup=0)
    changes = {"optimizer": slow, "schedule": constant, "turnover": TurnoverOff(name="off")}
    method = build_method(config, task.model, few, task.make_model)
    for _ in fit(config.model_copy(update=changes), task.model, few, epochs=2, method=method):
        ticks.append(clock())
    step = (ticks[1] - ticks[0]) / steps_per_epoch(len(few), config.batch_size)
    start = clock()
    groups = {("train", "all"): few, ("test", "all"): few}
    measure(task.model, groups, fresh_masks=1, precision=config.settled, batch_size=rows_at_once(config, few))
    evaluated = (clock() - start) / (2 * len(few))  # of one example
    tracked = sum(len(examples) for examples in task.groups.values())
    passes = 1 + -(-config.epochs // config.tracking.every) + len(config.tracking.steps)
    scored = len(task.train)
    if isinstance(config.estimator, TurnoverEstimator):
        scored *= 1 + len(config.estimator.epochs)
    if isinstance(config.estimator, EnsembleEstimator):
        return _networks(config, task, few)
    return steps(task, config) * step + (passes * tracked + scored) * evaluated + _gradients(config, task, few, passes)


def _networks(config: RunConfig, task: RunTask, few: Examples) -> float:
    """Estimate the seconds of an ensemble from a block of its networks on a few examples; without their outcomes."""
    planned = design(task, config)
    count = min(at_once(task, config), len(planned.seeds))
    block = Design(torch.ones(count, len(few), dtype=torch.bool), list(range(count)), torch.ones(count))
    small = replace(task, train=few)
    times = []
    for epochs in (1, 1, 1 + _STEPS):  # the first warms up, the second is what making the networks takes
        start = time.perf_counter()
        less = config.model_copy(update={"epochs": epochs})
        train_block(small, less, block, list(range(count)), lambda steps: None)
        times.append(time.perf_counter() - start)
    step = max(0.0, times[2] - times[1]) / block.steps(_STEPS, config.batch_size)
    return step * planned.steps(config.epochs, config.batch_size)


def _gradients(config: RunConfig, task: RunTask, few: Examples, passes: int) -> float:
    """Estimate the seconds of per-example gradients: of sets at the end of an epoch, and of its updates."""
    if not isinstance(config.tracking, GradientTracking):
        return 0.0
    start = time.perf_counter()
    sets(replace(task, groups={("train", "all"): few}), config)
    once = (time.perf_counter() - start) / len(few)  # for one example
    tracked = sum(len(examples) for (split, _), examples in task.groups.items() if split == "train")
    return passes * (tracked + len(task.train)) * once
