"""`estimator=second_split`: train on one half, then on the other; the first is forgotten (Maini et al., 2022).

Both halves are the first once, so that every example has a score.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from turnover.common.files import keep, kept
from turnover.common.seeding import numpy_generator, stream
from turnover.config.estimators import SecondSplitEstimator
from turnover.config.run import Training
from turnover.core.evaluation import evaluate
from turnover.estimators.estimator import Estimates, Task
from turnover.estimators.one_run_scores import correctness, last_epoch
from turnover.training.fit import fit
from turnover.training.loop import steps_per_epoch
from turnover.training.optim import build_optimizer


def second_split_forgetting(correct: Tensor) -> Tensor:
    """Return epochs + 1 - SSFT, the second-split forgetting time reversed so that what is forgotten soon scores high.

    SSFT = min {t : wrong in all epochs t, t + 1, ..., epochs}, counted from 1; epochs + 1 if an example is correct in
    the last epoch and so is never forgotten. Maini et al. train until the whole first split is learnt; what is not
    learnt here counts as forgotten in epoch 1 (`in_accuracy` of a run is how much was learnt).

    Args:
        correct: whether each example of the first split was classified correctly in each epoch of the training on
            the second split that follows.  # bool [epochs, n]

    Returns:
        From 0, never forgotten, to `epochs`, wrong from the first epoch on.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    correct = correctness(correct)
    return len(correct) - last_epoch(correct)  # SSFT is the epoch after the last correct one


def halves(config: Training, examples: int) -> tuple[Tensor, Tensor]:
    """Draw two random halves of the examples.  # int64 positions, sorted"""
    order = torch.from_numpy(numpy_generator(config.seed, "halves").permutation(examples))
    return order[: examples // 2].sort().values, order[examples // 2 :].sort().values


class SecondSplit:
    """Four trainings of two networks: on one half and then on the other, and the reverse."""

    def sizes(self, task: Task, config: Training) -> list[int]:
        """Return the numbers of examples that its networks are trained on."""
        return sorted({len(half) for half in halves(config, len(task.train))})

    def steps(self, task: Task, config: Training) -> int:
        """Return the steps of all four trainings together."""
        return sum(_steps(config, len(half), len(task.train)) for half in halves(config, len(task.train)))

    def scores(self, task: Task, config: Training, folder: Path, on_step: Callable[[int], object]) -> Estimates:
        """Train twice on both halves; the results for each first half are kept, and not computed again."""
        assert isinstance(config.estimator, SecondSplitEstimator)
        n, two = len(task.train), halves(config, len(task.train))
        result, learnt = torch.zeros(n), torch.zeros(n, dtype=torch.bool)
        for number in range(2):
            path = folder / f"half-{number}.npz"
            first, second = two[number], two[1 - number]
            record = kept(path)
            if record is None:
                record = {"correct": _train_on_both(task, config, number, first, second, on_step).cpu()}
                keep(path, **record)
            else:
                on_step(_steps(config, len(first), n))
            learnt[first] = record["correct"][0]
            result[first] = second_split_forgetting(record["correct"][1:])
        return Estimates(
            columns={"second_split": result},
            score="second_split",
            metrics={"train": {"in_accuracy": float(learnt.double().mean())}},
            examples_trained=(config.epochs + config.estimator.epochs) * n,
        )


def _steps(config: Training, first: int, examples: int) -> int:
    """Return the steps of a training on `first` examples and then on the others."""
    assert isinstance(config.estimator, SecondSplitEstimator)
    after = config.estimator.epochs * steps_per_epoch(examples - first, config.batch_size)
    return config.epochs * steps_per_epoch(first, config.batch_size) + after


def _train_on_both(
    task: Task, config: Training, number: int, first: Tensor, second: Tensor, on_step: Callable[[int], object]
) -> Tensor:
    """Train on both halves and return whether the network is right about examples of the first: after the training on
    it, then after each epoch on the second.  # bool [1 + epochs, n]
    """
    assert isinstance(config.estimator, SecondSplitEstimator)
    device = task.train.device
    model = task.make_model(stream(config.seed, "member", number))
    optimizer = build_optimizer(config.optimizer, model)
    of_first = task.train.select(first.to(device))
    correct = []
    for phase, (half, epochs) in enumerate(((first, config.epochs), (second, config.estimator.epochs))):
        seed, examples = stream(config.seed, "half", number, phase), task.train.select(half.to(device))
        for epoch in fit(config, model, examples, seed=seed, epochs=epochs, optimizer=optimizer, on_step=on_step):
            if phase == 1 or epoch.number == epochs:
                [outcome] = evaluate(model, of_first)
                correct.append(outcome.right)
    return torch.stack(correct)
