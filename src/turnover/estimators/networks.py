"""Networks of an ensemble: the examples each is trained on, their training, and their outcomes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from turnover.common.files import keep, kept
from turnover.common.ranks import at_most, in_turns
from turnover.common.seeding import numpy_generator, stream
from turnover.config.estimators import (
    BlocksEstimator,
    ConfidentLearningEstimator,
    EnsembleEstimator,
    LeaveOneOutEstimator,
    SubsamplingEstimator,
)
from turnover.config.run import RunConfig, Training
from turnover.config.training_options import NoAugmentation, SGDConfig
from turnover.core.evaluation import evaluate, full_logits
from turnover.core.examples import Examples
from turnover.core.inputs import run
from turnover.core.losses import CLASSES
from turnover.estimators.blocks import complementary
from turnover.estimators.estimator import Design, Outcomes, Task
from turnover.estimators.logit_scores import log_odds_against
from turnover.estimators.subsampling import all_but, left_out, random_parts
from turnover.estimators.suited import rows_at_once
from turnover.training.fit import fit
from turnover.training.loop import steps_per_epoch
from turnover.training.methods import build
from turnover.training.optim import learning_rate
from turnover.training.stack import STACK, stackable, train_stack


def design(task: Task, config: Training) -> Design:
    """Return the design of the ensemble that the estimator of `config` trains."""
    n, estimator = len(task.train), config.estimator
    assert isinstance(estimator, EnsembleEstimator)
    match estimator:
        case SubsamplingEstimator(models=models, fractions=fractions):
            drawn = [
                random_parts(models, n, fraction, config.seed, first=number * models)
                for number, fraction in enumerate(fractions)
            ]
            included = torch.cat(drawn)
            numbers = list(range(len(included)))
        case LeaveOneOutEstimator(examples=count, seeds=seeds):
            assert isinstance(config, RunConfig)  # own data have no labels that are known to be wrong
            once = all_but(left_out(task.wrong.cpu(), count, config.dataset.seed), n)
            included = once.repeat(seeds, 1)
            numbers = [number for number in range(seeds) for _ in once]
        case ConfidentLearningEstimator(folds=folds):
            order = torch.from_numpy(numpy_generator(config.seed, "folds").permutation(n))
            included = torch.ones(folds, n, dtype=torch.bool)
            included[order % folds, torch.arange(n)] = False
            numbers = list(range(folds))
        case BlocksEstimator(blocks=blocks):
            included = complementary(blocks, n, config.seed)
            numbers = [*range(0, blocks, 2), *range(1, blocks, 2)]  # of one pair together, whatever number there are
    seeds_of = [stream(config.seed, "member", number) for number in numbers]
    repeats = None if task.train.repeats is None else task.train.repeats.cpu()
    return Design(included, seeds_of, included.double().mean(1), repeats)


def outcomes(
    task: Task,
    config: Training,
    ensemble: Design,
    folder: Path,
    on_step: Callable[[int], object],
) -> Outcomes:
    """Train all networks, block after block, and return their outcomes; blocks kept in `folder` are not done again.

    Several processes take one block after another, each its own.
    """

    def of_block(block: list[int]) -> dict[str, Tensor]:
        path = folder / f"{block[0]:05d}-{block[-1]:05d}.npz"
        predictions = kept(path)
        if predictions is None:
            predictions = _observed(task, config, train_block(task, config, ensemble, block, on_step))
            keep(path, **predictions)
        else:
            on_step(replace(ensemble, included=ensemble.included[block]).steps(config.epochs, config.batch_size))
        return {name: value.cpu() for name, value in predictions.items()}

    together: dict[str, list[Tensor]] = {}
    held_out: Tensor | None = None
    blocks = ensemble.blocks(at_most(len(ensemble.included), at_once(task, config)))
    for block, predictions in zip(blocks, in_turns(blocks, of_block), strict=True):
        if "logits" in predictions and isinstance(config.estimator, BlocksEstimator):  # all would take much memory
            for logits, inside in zip(predictions.pop("logits"), ensemble.included[block], strict=True):
                probabilities = logits.double().softmax(1) * ~inside[:, None]
                held_out = probabilities if held_out is None else held_out.add_(probabilities)
        for name, value in predictions.items():
            together.setdefault(name, []).append(value)
    all_of_them = {name: torch.cat(values) for name, values in together.items()}
    if held_out is not None:
        held_out = held_out / (~ensemble.included).sum(0)[:, None]
    return Outcomes(all_of_them["confidence"], all_of_them["right"], all_of_them.get("logits"), held_out)


def at_once(task: Task, config: Training) -> int:
    """Return how many networks are trained and kept together at most."""
    return STACK if _stacked(task, config, task.make_model(config.seed)) else 1


def _stacked(task: Task, config: Training, model: nn.Module) -> bool:
    optimizer = config.optimizer
    return (
        config.settled == "float32"
        and isinstance(config.augmentation, NoAugmentation)
        and isinstance(optimizer, SGDConfig)
        and (optimizer.decay == "all" or not optimizer.weight_decay)
        and config.minimises_cross_entropy
        and task.train.loss is CLASSES
        and task.train.repeats is None
        and isinstance(task.train.inputs, Tensor)
        and stackable(model)
    )


def train_block(
    task: Task, config: Training, ensemble: Design, block: list[int], on_step: Callable[[int], object]
) -> list[nn.Module]:
    """Train and return the networks of a block: at once if they can be stacked, else one after another."""
    device = task.train.device
    seeds = [ensemble.seeds[number] for number in block]
    models = [task.make_model(seed) for seed in seeds]
    included = torch.stack([ensemble.included[number].nonzero()[:, 0] for number in block]).to(device)
    if _stacked(task, config, models[0]):
        assert isinstance(config.optimizer, SGDConfig)
        steps = steps_per_epoch(included.shape[1], config.batch_size)
        train_stack(
            models,
            task.train,
            included,
            seeds,
            lambda step: learning_rate(config.schedule, config.optimizer.lr, step, steps, config.epochs),
            epochs=config.epochs,
            batch_size=config.batch_size,
            momentum=config.optimizer.momentum,
            weight_decay=config.optimizer.weight_decay,
            on_step=on_step,
        )
        return models
    for model, seed, positions in zip(models, seeds, included, strict=True):
        examples = task.train.select(positions)
        method = build(config, model, examples, task.make_model, seed)
        for _ in fit(config, model, examples, seed=seed, method=method, on_step=on_step):
            pass
    return models


def _observed(task: Task, config: Training, models: list[nn.Module]) -> dict[str, Tensor]:
    # in float32 whatever the training, as all scores
    asked, loss = list(_examples(task)), task.train.loss
    if not loss.of_classes:
        size = rows_at_once(config, task.train)
        found = [[evaluate(model, examples, batch_size=size)[0] for examples in asked] for model in models]
        return {
            "confidence": torch.stack([-torch.cat([part.loss for part in row]) for row in found]),
            "right": torch.stack([torch.cat([part.right for part in row]) for row in found]),
        }
    labels = [examples.labels for examples in asked]
    rows: dict[str, list[Tensor]] = {"confidence": [], "right": []}
    of_blocks = isinstance(config.estimator, BlocksEstimator)
    logits_stay = of_blocks or isinstance(config.estimator, ConfidentLearningEstimator)
    for of_network in _outputs([models] if logits_stay else [[model] for model in models], asked):
        outputs = list(zip(of_network, labels, strict=True))
        rows["right"].append(torch.cat([loss.right(z, y) for z, y in outputs]))
        classes = [loss.as_classes(z, y) for z, y in outputs]  # [examples, classes] and [examples] each
        exact = [(z.double() if of_blocks else z, y) for z, y in classes]  # means over spreads are compared
        rows["confidence"].append(torch.cat([-log_odds_against(z, y) for z, y in exact]))
        if logits_stay:
            rows.setdefault("logits", []).append(classes[0][0])
    return {name: torch.stack(values) for name, values in rows.items()}


def _outputs(shares: list[list[nn.Module]], asked: list[Examples]) -> Iterator[tuple[Tensor, ...]]:
    """Yield the outputs of one network after another for each set of examples; those of a share are in memory at once.

    # [examples, ...] each
    """
    for models in shares:
        yield from zip(*(full_logits(_SideBySide(models), examples).unbind(1) for examples in asked), strict=True)


class _SideBySide(nn.Module):
    """Runs networks on the same batches."""

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, *x: Tensor, **named: Tensor) -> Tensor:
        """Return the outputs of all networks.  # [batch, ...] -> [batch, networks, ...]"""
        return torch.stack([run(model, named or x) for model in self.models], dim=1)


def _examples(task: Task) -> Iterator[Examples]:
    yield task.train
    if ("test", "all") in task.groups:
        yield task.groups["test", "all"]
