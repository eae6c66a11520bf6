"""Contestants of the benchmark on 5,000 digits: wrong labels by blocks and cleanlab; scores by hand and by one call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
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


def digits(seed: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return inputs, labels of which some are wrong, and which are.  # [n, ...], [n], bool [n]"""
    chosen = {"name": "mnist", "limit": DIGITS, "test_limit": 1, "include_test": False}
    data = DatasetConfig(**chosen, normalization="standard", seed=seed)  # type: ignore[arg-type]
    loaded = load(data, CorruptionConfig(count=WRONG, seed=seed, kind="symmetric", path=None, sizes=[]))
    return loaded.inputs(loaded.train.images), loaded.train.labels, loaded.train.corrupted.numpy()


class Search:
    """Finds wrong labels by a score, and remembers how well."""

    def __init__(self, score: Callable[[Tensor, Tensor], np.ndarray]) -> None:
        self.score, self.found = score, list[tuple[float, float]]()

    def __call__(self) -> None:
        """Score the digits under the labels of the next seed."""
        from sklearn.metrics import roc_auc_score

        seed = len(self.found) % SEEDS
        x, y, truth = digits(seed)
        score = self.score(x, y)
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


def scores() -> dict[str, Callable[[], object]]:
    """Return turn-over scores of digits as one writes them by hand, and by the function that checks all it is given."""
    x, y, _ = digits(0)
    ids, epochs, size, lr = torch.arange(len(y)), 5, 256, 0.05

    def by_hand() -> np.ndarray:
        model = turnover.attach(mlp(784, [WIDE], 10))
        optimizer = torch.optim.SGD(model.parameters(), lr)
        for _ in range(epochs):
            for batch in torch.randperm(len(y)).split(size):
                optimizer.zero_grad()
                with turnover.own(model, batch):
                    loss = F.cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
        losses = []
        with torch.no_grad():
            for subnetwork in (turnover.flipped, turnover.own):
                with subnetwork(model, ids):
                    losses.append(F.cross_entropy(model(x), y, reduction="none"))
        return (losses[0] - losses[1]).numpy()

    given: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": size, "seeds": 1, "device": "cpu"}
    return {
        "a loop by hand": by_hand,
        "turnover.memorization": lambda: turnover.memorization(
            lambda: mlp(784, [WIDE], 10), x, y, progress=False, **given
        ),
    }


def wrong_labels() -> dict[str, Search]:
    """Return searches, all by the recipe of blocks: epochs, batches and a rate that falls."""
    return {
        f"{blocks} blocks 784-{NARROW}-10": Search(lambda x, y, n=blocks: by_blocks(n, x, y))  # type: ignore[misc]
        for blocks in (44, 16)
    } | {
        f"cleanlab, {FOLDS} folds, 784-{units}-10": Search(lambda x, y, n=units: by_cleanlab(n, x, y))  # type: ignore[misc]
        for units in (WIDE, NARROW)
    }


def of_digits() -> dict[str, dict[str, Callable[[], object]]]:
    """Return the contestants of both comparisons."""
    return {"wrong labels of 5,000 digits": {**wrong_labels()}, "training and scores of 5,000 digits": scores()}
