"""Scores from the outcomes of many networks, each trained on a part of the examples."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.config.estimators import BlocksEstimator, LeaveOneOutEstimator, SubsamplingEstimator
from turnover.config.run import Training
from turnover.core.losses import CLASSES, TOKENS, Loss
from turnover.errors import RunFailed
from turnover.estimators.blocks import block_estimates, block_losses, missing_classes, unfitted
from turnover.estimators.confident_learning import confident_learning
from turnover.estimators.estimator import Design, Estimates, Outcomes, Task
from turnover.estimators.membership import log_likelihood_ratios, membership
from turnover.estimators.networks import design, outcomes
from turnover.estimators.subsampling import excess_loss, inconsistency, memorization, with_and_without
from turnover.estimators.suited import column_of

log = logging.getLogger("turnover")

_TO_FIT = 3  # networks trained on an example, and as many that are not, for its two densities


class Ensemble:
    """Subsampling, blocks, leave-one-out, cross-validation: many networks, each trained on a part of the examples."""

    def sizes(self, task: Task, config: Training) -> list[int]:
        """Return the numbers of examples that its networks are trained on."""
        return sorted(set(design(task, config).included.sum(1).tolist()))

    def steps(self, task: Task, config: Training) -> int:
        """Return the steps of all networks together."""
        return design(task, config).steps(config.epochs, config.batch_size)

    def scores(self, task: Task, config: Training, folder: Path, on_step: Callable[[int], object]) -> Estimates:
        """Train the networks, going on after the last finished block, and estimate the scores of every example.

        Raises:
            RunFailed: some examples would have no score; raised before any network is trained.
        """
        networks, estimator = design(task, config), config.estimator
        if isinstance(estimator, SubsamplingEstimator):
            _refuse_unscored(networks, estimator.score)
        loss, labels = task.train.loss, task.train.loss.label(task.train.labels.cpu())
        of_blocks = isinstance(estimator, BlocksEstimator) and loss.of_classes
        if of_blocks and (rare := missing_classes(networks.included, labels)):
            log.warning("%s", rare)
        predictions = outcomes(task, config, networks, folder, on_step)
        n = len(task.train)
        train, test = predictions.right[:, :n], predictions.right[:, n:]
        columns = _columns(config, predictions, networks, labels, loss)
        if of_blocks:
            found = predictions.confidence[:, :n], train, networks.included, labels
            if failed := unfitted(*found, columns["blocks"], config.optimizer.lr):
                log.warning("%s", failed)
        with_it, without = with_and_without(train, networks.included)
        metrics = {"train": {"in_accuracy": float(with_it.nanmean()), "out_accuracy": float(without.nanmean())}}
        if test.numel():
            metrics["test"] = {"full_accuracy": float(test.double().mean())}
        leave_one_out = isinstance(estimator, LeaveOneOutEstimator)
        return Estimates(
            columns=columns,
            score="memorization" if leave_one_out else column_of(estimator, loss),
            metrics=metrics,
            examples_trained=int(networks.visits.sum()) * config.epochs,
            scored=(~networks.included).any(0) if leave_one_out else None,
            outcomes=(networks, predictions),
        )


def _refuse_unscored(ensemble: Design, score: str) -> None:
    inside, outside = _networks(ensemble)
    match score:
        case "inconsistency":
            enough, why = (outside >= 1).any(0), "all networks are trained on them"
        case "membership":
            enough = torch.minimum(inside, outside).amin(0) >= _TO_FIT
            why = f"of a fraction fewer than {_TO_FIT} networks are trained on them, or fewer than {_TO_FIT} are not"
        case _:
            enough = (torch.minimum(inside, outside) >= 1).any(0)
            why = "all networks of a fraction are trained on them, or none is"
    missing = int((~enough).sum())
    if missing:
        raise RunFailed(f"{missing} of {len(enough)} examples have no score ({score}): {why}; raise estimator.models")


def _networks(ensemble: Design) -> tuple[Tensor, Tensor]:
    """Count the networks of each fraction trained on each example, and those not.  # [fractions, examples] each"""
    groups = [ensemble.included[group] for group in _groups(ensemble)]
    return torch.stack([group.sum(0) for group in groups]), torch.stack([(~group).sum(0) for group in groups])


def _groups(ensemble: Design) -> list[Tensor]:
    """Return the networks of each fraction.  # bool [networks] each"""
    return [ensemble.fraction == share for share in ensemble.fraction.unique()]


def _within_fractions(estimate: Callable[[Tensor, Tensor], Tensor], values: Tensor, ensemble: Design) -> Tensor:
    """Return the mean over fractions of an estimate by the networks of each; NaN where none can.  # [examples]

    Pooled, they would overestimate memorization: those trained on more examples are more often right, and more of
    them are trained on any one example.
    """
    estimates = [estimate(values[group], ensemble.included[group]) for group in _groups(ensemble)]
    return torch.stack(estimates).nanmean(0)


def _membership(confidence: Tensor, included: Tensor) -> Tensor:
    return membership(log_likelihood_ratios(confidence, included), included)


def _columns(
    config: Training, predictions: Outcomes, ensemble: Design, labels: Tensor, loss: Loss = CLASSES
) -> dict[str, Tensor]:
    """Return the estimates that these networks allow, by their names in `ESTIMATES`.  # [examples] each"""
    included = ensemble.included
    n = included.shape[1]
    right, confidence = predictions.right[:, :n], predictions.confidence[:, :n]
    if predictions.logits is not None:
        # every example is out once
        out = torch.where(~included[:, :, None], predictions.logits, 0.0).sum(0)  # [n, classes]
        judged = confident_learning(out.double().softmax(1).numpy(), labels.numpy())
        return {"confident_learning": torch.from_numpy(np.asarray(judged))}
    if predictions.held_out is not None:
        probability, prediction = predictions.held_out.max(1)
        return {**block_estimates(confidence, included), "prediction": prediction, "probability": probability}
    losses = F.softplus(-confidence.double()) if loss.of_classes else -confidence.double()
    if isinstance(config.estimator, BlocksEstimator):
        return block_losses(losses, included)
    loss_with, loss_without = with_and_without(losses, included)
    of_losses = {
        "memorization_loss": _within_fractions(excess_loss, losses, ensemble),
        "in_loss": loss_with,
        "out_loss": loss_without,
    }
    if not (loss.tells_right or loss.tells_share):
        return of_losses
    columns = {
        "memorization": _within_fractions(memorization, right, ensemble),
        "out_accuracy": with_and_without(right, included)[1],
        **of_losses,
    }
    if (loss.of_classes or loss is TOKENS) and torch.minimum(*_networks(ensemble)).min() >= _TO_FIT:
        columns["membership"] = _within_fractions(_membership, confidence, ensemble)
    if not isinstance(config.estimator, LeaveOneOutEstimator):
        columns["inconsistency"] = inconsistency(right, included, ensemble.fraction)
    return columns
