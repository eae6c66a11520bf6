"""Influence of groups of training examples on test examples: do two measurements of it agree, and with the truth?

A group is in the training set or out of it as a whole, as if it were one example: the effect of thirty examples is
larger than that of one, and what is measured of it is as noisy. That examples of a class help to classify it needs no
measurement: influences on a test example are compared within groups of its own class, where groups have one.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator, stream
from turnover.config.compose import sweep
from turnover.config.options import TurnoverConfig
from turnover.config.run import RunConfig
from turnover.core.evaluation import evaluate
from turnover.core.examples import Examples
from turnover.estimators.blocks import complementary
from turnover.estimators.estimator import Design
from turnover.estimators.influence import influence
from turnover.estimators.networks import train_block
from turnover.estimators.subsampling import influence as from_subsets
from turnover.estimators.subsampling import random_parts
from turnover.experiments.validation.other_truths import mean_correlation
from turnover.runs.build import RunTask, build
from turnover.stats.agreement import ceiling
from turnover.training.fit import fit
from turnover.training.stack import STACK

Kind = Literal["single", "random", "similar"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SETTINGS = {  # the end of its name in conf/setting, and what is chosen besides
    "blocks": ("_blocks", ("turnover=off", "estimator=blocks")),
    "turn-over dropout": ("", ("turnover=all_layers", "estimator=turnover")),
    "truth": ("", ("turnover=off", "estimator=none")),
}


def groups_of(examples: Examples, kind: Kind, size: int) -> Tensor:
    """Return the number of the group of each example.  # int64 [n]

    Args:
        kind: single: groups of one. random: of any examples. similar: of one class, next to each other along its first
            principal component.
        size: of a group, of random and similar ones; fewer are in the last one, of each class.
    """
    n = len(examples)
    if kind == "single":
        return torch.arange(n)
    group = np.empty(n, dtype=np.int64)
    if kind == "random":
        group[numpy_generator(0, "groups").permutation(n)] = np.arange(n) // size
        return torch.from_numpy(group)
    pixels, labels, groups = examples.inputs.flatten(1).double().numpy(), examples.labels.numpy(), 0
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        centred = pixels[mine] - pixels[mine].mean(0)
        along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        group[mine[along.argsort(kind="stable")]] = groups + np.arange(len(mine)) // size
        groups = int(group[mine].max()) + 1
    return torch.from_numpy(group)


def agreement(a: np.ndarray, b: np.ndarray, of_groups: np.ndarray | None, of_tests: np.ndarray) -> float:
    """Return the mean over test examples of Pearson's correlation over groups, of those of its class alone.

    Args:
        a, b: influences.  # [t, groups] each
        of_groups: the class of each group; None: all are compared.  # int64 [groups]
        of_tests: the class of each test example.  # int64 [t]
    """
    if of_groups is None:
        return mean_correlation(a, b)
    classes = np.unique(of_tests)
    parts = [np.ix_(of_tests == one, of_groups == one) for one in classes]
    each = [mean_correlation(a[part], b[part]) for part in parts]
    return float(np.average(each, weights=[(of_tests == one).sum() for one in classes]))


def influences(config: RunConfig, task: RunTask, group: Tensor, networks: int, on_step: Callable[[int], Any]) -> Tensor:
    """Return by how much the loss on test examples is higher without a group than with it.  # float64 [t, groups]

    By turn-over dropout, in which the examples of a group share their mask, or by networks that are each trained on
    half of the groups, blocks in pairs on complementary halves.
    """
    count, test = int(group.max()) + 1, task.groups["test", "all"]
    if isinstance(config.turnover, TurnoverConfig):
        for _ in fit(config, task.model, replace(task.train, ids=group), seed=config.seed, on_step=on_step):
            pass
        inputs, labels, _ = test.batch(torch.arange(len(test)))
        return influence(task.model, inputs, labels, torch.arange(count)).double()
    if config.estimator.name == "blocks":
        inside = complementary(networks, count, config.seed)  # bool [networks, groups]
    else:
        inside = random_parts(networks, count, 0.5, config.seed)
    seeds = [stream(config.seed, "member", number) for number in range(networks)]
    design = Design(inside[:, group], seeds, inside.double().mean(1))
    losses = [
        evaluate(model, test)[0].loss
        for block in design.blocks(STACK)
        for model in train_block(task, config, design, block, on_step)
    ]
    return -from_subsets(torch.stack(losses), inside)


def measure(
    setting: str, kind: Kind, size: int, networks: int, seeds: int, on_step: Callable[[int], Any] = lambda step: None
) -> list[dict[str, Any]]:
    """Return how influences of groups by blocks and by turn-over dropout agree, a row for each of both.

    Args:
        setting: in conf/setting, with recipes for ordinary networks and, by its name with "_blocks", for blocks.
        networks: that are the truth.
        seeds: of blocks (44 networks each, the cost of two trainings) and of turn-over dropout.

    Returns:
        estimator; two_seeds: `agreement` of two seeds, mean over all pairs; one_seed and all_seeds (the mean of their
        influences): the same with the truth; reliability of the truth (split halves, Spearman-Brown) and the ceiling of
        what can be expected of one_seed and all_seeds.
    """

    def task_of(name: str, seed: int) -> tuple[RunConfig, RunTask]:
        ending, overrides = _SETTINGS[name]
        [config] = sweep([f"setting={setting}{ending}", *overrides, f"seed={seed}", "logger=none", "device=cpu"])
        return config, build(config, torch.device("cpu"))

    task = task_of("truth", 100)[1]
    group = groups_of(task.train, kind, size)
    of_groups = torch.empty(int(group.max()) + 1, dtype=torch.int64).scatter_(0, group, task.train.labels).numpy()
    classes = None if kind == "random" else of_groups, task.groups["test", "all"].labels.numpy()

    def found(name: str, seed: int, networks: int = 44) -> np.ndarray:
        return influences(*task_of(name, seed), group, networks, on_step).numpy()

    first, second = (found("truth", seed, networks // 2) for seed in (100, 101))
    halves = agreement(first, second, *classes)
    truth, reliability = (first + second) / 2, 2 * halves / (1 + halves)
    rows = []
    for name in ("blocks", "turn-over dropout"):
        runs = [found(name, seed) for seed in range(seeds)]
        rows.append(
            {
                "setting": setting,
                "groups": kind,
                "size": 1 if kind == "single" else size,
                "estimator": name,
                "two_seeds": float(np.mean([agreement(a, b, *classes) for a, b in combinations(runs, 2)])),
                "one_seed": float(np.mean([agreement(run, truth, *classes) for run in runs])),
                "all_seeds": agreement(np.mean(runs, axis=0), truth, *classes),
                "seeds": seeds,
                "reliability": reliability,
                "ceiling": ceiling(reliability),
            }
        )
    return rows
