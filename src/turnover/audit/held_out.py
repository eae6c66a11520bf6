"""Predictions of every example by what was trained on others: logistic regression on features, or networks."""

import math
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from turnover.audit.labelled import Collection
from turnover.audit.options import AuditConfig
from turnover.audit.suspects import network
from turnover.checks.user_network import new_network
from turnover.common.device import resolve, settle
from turnover.config.parse import parse
from turnover.config.recipes import training_fields
from turnover.config.run import Training
from turnover.core.evaluation import full_logits
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.training.fit import fit

_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)  # inverse of the regularization; chosen by the loss on the first fold
_LEAST = 1e-6  # of a probability, in the loss that chooses
_STEPS = 200  # of an optimizer that has mostly converged before
_FEW = 2000  # examples, up to which several networks cost little


def folds_of(labels: np.ndarray, folds: int, groups: tuple[str, ...] = ()) -> np.ndarray:
    """Return the fold of each example, each fold with as many of a class as the others; a group is in one fold.

    Args:
        labels: int64 [n]
        groups: of each example, empty names: of its own; no groups at all: all of their own.

    Returns:
        int64 [n]

    Raises:
        RefusedInput: all examples are of one group.
    """
    names = [group or row for row, group in enumerate(groups)] if groups else range(len(labels))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    group = np.array([numbers[name] for name in names])
    if len(numbers) < 2:
        raise RefusedInput("group: all examples are of one, so none can be held out; leave the column out")
    first = np.unique(group, return_index=True)[1]  # the example whose label stands for a group
    order = np.random.default_rng(0).permutation(len(first))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order[np.argsort(labels[first][order], kind="stable")]] = np.arange(len(first)) % folds
    return fold[group]


def by_regression(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return probabilities of logistic regression on standardized features, trained on the other folds.

    A class of which no other fold has an example has probability 0.

    Args:
        features: float32 [n, features]
        labels: int64 [n]
        fold: int64 [n]

    Returns:
        float64 [n, classes]
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    classes = np.arange(labels.max() + 1)
    result = np.zeros((len(labels), len(classes)))

    def scaled(number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of the other folds and of this one, in the scale of the others."""
        train, test = features[fold != number], features[fold == number]
        scaler = StandardScaler(copy=False).fit(train)  # these are copies already
        return scaler.transform(train), scaler.transform(test)

    def predicted(number: int, strength: float, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        given, found = labels[fold != number], np.zeros((len(test), len(classes)))
        if len(present := np.unique(given)) == 1:
            found[:, present] = 1
            return found
        with warnings.catch_warnings(action="ignore"):  # of convergence
            model = LogisticRegression(C=strength, max_iter=_STEPS).fit(train, given)
        found[:, model.classes_] = model.predict_proba(test)
        return found

    numbers = np.unique(fold)
    with tqdm(total=len(_STRENGTHS) + len(numbers) - 1, desc="held out", unit="fit", delay=2) as bar:
        tried, parts = [], scaled(numbers[0])
        for strength in _STRENGTHS:
            found = predicted(numbers[0], strength, *parts)
            given = np.take_along_axis(found, labels[fold == numbers[0], None], axis=1)
            tried.append((-np.log(given.clip(_LEAST)).mean(), strength, found))
            bar.update()
        _, strength, found = min(tried, key=lambda entry: entry[0])
        result[fold == numbers[0]] = found
        del parts  # as large as all features
        for number in numbers[1:]:
            result[fold == number] = predicted(number, strength, *scaled(number))
            bar.update()
    return result


def networks_for(examples: int, config: AuditConfig) -> int:
    """Return how many networks predict so many examples: two of halves, where these are few one of each fold."""
    return config.folds if examples <= _FEW else 2


def by_networks(collection: Collection, config: AuditConfig, fold: np.ndarray) -> np.ndarray:
    """Return probabilities by networks, each trained on the other folds as the audit trains, at a rate that falls.

    Args:
        fold: int64 [n]

    Returns:
        float32 [n, classes]
    """
    device = resolve(config.device)
    order = fold.argsort(kind="stable")  # so that all but one of two folds is a slice, and no copy
    ordered = replace(collection, values=collection.values[order], labels=collection.labels[order])
    inputs, labels = torch.from_numpy(ordered.inputs()).to(device), torch.from_numpy(ordered.labels).to(device)
    ids = torch.arange(len(labels), device=device)
    given = {"epochs": config.epochs, "batch_size": config.batch_size}
    given |= config.optimizer.model_dump(include={"lr", "momentum", "weight_decay"})
    plain = {"seed": 0, "precision": settle(config.precision, device), "estimator": {"name": "none"}}
    training = parse(Training, training_fields("none", given, {"schedule": "linear"}) | plain)
    result = torch.zeros(len(labels), len(collection.classes))
    numbers = np.unique(fold)
    steps = [config.epochs * math.ceil(int((fold != number).sum()) / config.batch_size) for number in numbers]
    with tqdm(total=sum(steps), desc="held out", unit="step", delay=2) as bar:
        for number in numbers:
            model = new_network(partial(network, collection, config), int(number), device=device)
            first, last = (int((fold[order] < end).sum()) for end in (number, number + 1))
            others, asked = (
                Examples(_rows(inputs, *slices), _rows(labels, *slices), _rows(ids, *slices))
                for slices in ((slice(0, first), slice(last, None)), (slice(first, last),))
            )
            for _ in fit(training, model, others, seed=int(number), on_step=bar.update):
                pass
            result[order[first:last]] = full_logits(model, asked).softmax(1).cpu()
    return result.numpy()


def _rows(values: Tensor, *slices: slice) -> Tensor:
    """Return rows of a tensor, without a copy if they are in one piece."""
    parts = [part for each in slices if len(part := values[each])]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
