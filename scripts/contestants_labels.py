"""Contestants of the benchmark: wrong labels among 5,000 digits, found by blocks and by cleanlab."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import turnover
from turnover.audit.held_out import folds_of
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.config.parse import parse
from turnover.config.recipes import training_fields
from turnover.config.run import Training
from turnover.core.evaluation import full_logits
from turnover.core.examples import Examples
from turnover.data.datasets import load
from turnover.models.mlp import mlp
from turnover.training.fit import fit

DIGITS, WRONG, SEEDS, FOLDS = 5000, 250, 3, 5  # seeds of labels, which take turns
WIDE, NARROW = 512, 64


class Search:
    """Finds wrong labels by a score, and remembers how well."""

    def __init__(self, score: Callable[[Tensor, Tensor], np.ndarray]) -> None:
        self.score, self.found = score, list[tuple[float, float]]()

    def __call__(self) -> None:
        """Score the digits under the labels of the next seed."""
        from sklearn.metrics import roc_auc_score

        seed = len(self.found) % SEEDS
        digits = {"name": "mnist", "limit": DIGITS, "test_limit": 1, "include_test": False}
        data = DatasetConfig(**digits, normalization="standard", seed=seed)  # type: ignore[arg-type]
        wrong = CorruptionConfig(count=WRONG, seed=seed, kind="symmetric", path=None, sizes=[])
        loaded = load(data, wrong)
        train = loaded.train
        score, truth = self.score(loaded.inputs(train.images), train.labels), train.corrupted.numpy()
        highest = np.argsort(-score, kind="stable")[:WRONG]
        self.found.append((float(roc_auc_score(truth, score)), float(truth[highest].mean())))

    def quality(self) -> dict[str, float]:
        """Return means over the seeds: area under the ROC curve, and the share of the wrong labels in so many."""
        auroc, found = np.mean(self.found[:SEEDS], axis=0)
        return {"auroc": round(float(auroc), 4), "found": round(float(found), 4)}


def by_cleanlab(units: int, x: Tensor, y: Tensor) -> np.ndarray:
    """Return one minus cleanlab's quality of labels, those that it marks first, from networks of the other folds."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    fold, found = torch.from_numpy(folds_of(y.numpy(), FOLDS)), torch.zeros(len(y), 10)
    own: dict[str, Any] = {"seed": 0, "precision": "float32", "estimator": {"name": "none"}}
    usual = {"epochs": None, "lr": None, "batch_size": None, "momentum": None, "weight_decay": 0.0}
    training, all_of_them = parse(Training, training_fields("blocks", usual, {}) | own), torch.arange(len(y))
    examples = Examples(x, y, all_of_them)
    for number in range(FOLDS):
        torch.manual_seed(number)
        model = mlp(784, [units], 10)
        for _ in fit(training, model, examples.select(all_of_them[fold != number]), seed=number):
            pass
        held_out = all_of_them[fold == number]
        found[held_out] = full_logits(model, examples.select(held_out)).softmax(1)
    marked = find_label_issues(y.numpy(), found.numpy(), n_jobs=1)
    return marked + 1 - get_label_quality_scores(y.numpy(), found.numpy())


def by_blocks(blocks: int, x: Tensor, y: Tensor) -> np.ndarray:
    """Return the score of blocks, by their own recipe."""
    given: dict[str, Any] = {"options": {"blocks": blocks}, "device": "cpu", "progress": False}
    return turnover.memorization(lambda: mlp(784, [NARROW], 10), x, y, estimator="blocks", **given)["score"].to_numpy()


def wrong_labels() -> dict[str, Search]:
    """Return searches, all by the recipe of blocks: epochs, batches and a rate that falls."""
    return {
        f"{blocks} blocks 784-{NARROW}-10": Search(lambda x, y, n=blocks: by_blocks(n, x, y))  # type: ignore[misc]
        for blocks in (44, 16)
    } | {
        f"cleanlab, {FOLDS} folds, 784-{units}-10": Search(lambda x, y, n=units: by_cleanlab(n, x, y))  # type: ignore[misc]
        for units in (WIDE, NARROW)
    }
