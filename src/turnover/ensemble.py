"""The work of a run whose estimator trains many networks: their outcomes, and the scores that follow from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.config import RunConfig
from turnover.estimators import ConfidentLearningEstimator, EnsembleEstimator, LeaveOneOutEstimator
from turnover.members import Design, Outcomes, design, outcomes
from turnover.parts import Parts
from turnover.score_tables import from_columns, known
from turnover.scores.confident_learning import confident_learning
from turnover.scores.consistency import inconsistency
from turnover.scores.membership import log_likelihood_ratios, membership
from turnover.scores.subsampling import memorization, with_and_without
from turnover.store import SCRATCH, replacing
from turnover.tables import write_scores
from turnover.tracking import Tracker

ESSENCE = "members.npz"  # what is kept of the networks: who was trained on what, and what each said


def planned(parts: Parts, config: RunConfig) -> Design:
    """The networks that the run will train."""
    split = known(parts)
    return design(config, parts.train, split.labels != split.true_labels)


def work(
    parts: Parts,
    config: RunConfig,
    folder: Path,
    tracker: Tracker,
    on_step: Callable[[int], object],
    record: dict[str, Any],
) -> None:
    """Train the networks, going on after the last finished block, and write members.npz and scores.parquet."""
    ensemble = planned(parts, config)
    found = outcomes(parts, config, ensemble, folder / SCRATCH, on_step)
    n = len(parts.train)
    train, test = found.right[:, :n], found.right[:, n:]
    with_it, without = with_and_without(train, ensemble.included)
    accuracy = {"in_accuracy": float(with_it.nanmean()), "out_accuracy": float(without.nanmean())}
    tracker.log(config.epochs, "train", accuracy)
    if test.numel():
        tracker.log(config.epochs, "test", {"full_accuracy": float(test.double().mean())})
    columns = _columns(config, found, ensemble, parts.train.labels.cpu())
    estimator = config.estimator
    assert isinstance(estimator, EnsembleEstimator)
    score = getattr(estimator, "score", "memorization")
    if isinstance(estimator, ConfidentLearningEstimator):
        score = "confident_learning"
    table = from_columns(parts, config, columns, score)
    if isinstance(estimator, LeaveOneOutEstimator):  # only these have a score
        table = table[(~ensemble.included).any(0).numpy()]
    _write_essence(folder / ESSENCE, parts, ensemble, found)
    write_scores(folder / "scores.parquet", table)
    record["networks"] = len(ensemble.seeds)
    record["examples_trained"] = int(ensemble.included.sum()) * config.epochs


def _columns(config: RunConfig, found: Outcomes, ensemble: Design, labels: Tensor) -> dict[str, Tensor]:
    """The estimates that these networks allow, by their names in `tables.ESTIMATES`.  # [examples] each"""
    included = ensemble.included
    n = included.shape[1]
    right, confidence = found.right[:, :n], found.confidence[:, :n]
    if found.logits is not None:
        out = torch.where(~included[:, :, None], found.logits, 0.0).sum(0)  # every example is out once  # [n, classes]
        judged = confident_learning(out.double().softmax(1).numpy(), labels.numpy())
        return {"confident_learning": torch.from_numpy(np.asarray(judged))}
    loss_with, loss_without = with_and_without(F.softplus(-confidence.double()), included)
    columns = {
        "memorization": memorization(right, included),
        "memorization_loss": loss_without - loss_with,
        "out_accuracy": with_and_without(right, included)[1],
        "in_loss": loss_with,
        "out_loss": loss_without,
    }
    fewest = torch.minimum(included.sum(0), (~included).sum(0)).min()
    if fewest >= 3:
        columns["membership"] = membership(log_likelihood_ratios(confidence, included), included)
    if not isinstance(config.estimator, LeaveOneOutEstimator):
        columns["inconsistency"] = inconsistency(right, included, ensemble.fraction)
    return columns


def _write_essence(path: Path, parts: Parts, ensemble: Design, found: Outcomes) -> None:
    test = parts.groups.get(("test", "all"))
    arrays: dict[str, Tensor] = {
        "ids": parts.train.ids,
        "test_ids": test.ids if test is not None else parts.train.ids[:0],
        "included": ensemble.included,
        "fraction": ensemble.fraction,
        "confidence": found.confidence,
        "right": found.right,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{name: value.cpu().numpy() for name, value in arrays.items()})  # type: ignore[arg-type]


def read_members(run: Path) -> dict[str, np.ndarray]:
    """What is kept of the networks of a finished run.

    Returns:
        ids [examples] and test_ids [test examples], int64; included, bool [networks, examples]; fraction, float64
        [networks]; confidence (log odds of the label), float32, and right, bool [networks, examples + test examples].
    """
    with np.load(run / ESSENCE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
