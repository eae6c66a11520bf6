"""Neural collapse (Papyan et al., 2020) and its dilation by memorized labels (Nguyen et al., 2023)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained]) -> Iterator[Row]:
    """Yield, for each block with its features flattened:

    distance: of clean, noisy and test examples, the mean length of h(x) - h*, with h* the mean of the test examples of
    its true class: what equation 4 of Nguyen et al. sums over wrong labels. dilation: the same over that of test
    examples. nc1: spread within classes over spread between them, of training examples by their given labels and of
    test examples by their true ones.
    """
    for network in networks:
        truth = network.truth
        parts = {name: network.features(network.group(name)) for name in {**network.groups, "test": None}}
        for number, block in enumerate(network.blocks):
            h = {name: values[number] for name, values in parts.items()}
            centres = class_means(h["test"], truth["test"])
            distances = {name: float((h[name] - centres[truth[name]]).norm(dim=1).mean()) for name in h}
            trained = [name for name in h if name != "test"]
            given = torch.cat([network.groups[name].labels for name in trained])
            numbers = [("distance", name, value) for name, value in distances.items()]
            numbers += [("dilation", name, value / distances["test"]) for name, value in distances.items()]
            numbers.append(("nc1", "train", nc1(torch.cat([h[name] for name in trained]), given)))
            numbers.append(("nc1", "test", nc1(h["test"], truth["test"])))
            for measured, group, value in numbers:
                yield Row(network.name, measured, value, network.epoch, block.name, group)


def class_means(h: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each class, NaN of one without examples.  # [n, d], int64 [n] -> [classes, d]"""
    classes = int(labels.max()) + 1
    sums = h.new_zeros(classes, h.shape[1]).index_add_(0, labels, h)
    return sums / labels.bincount(minlength=classes)[:, None]


def nc1(h: Tensor, labels: Tensor) -> float:
    """Return tr(W B⁺) / classes: W the covariance within classes, B that of the class means, B⁺ its pseudo-inverse.

    No matrix of features x features is built: B has no more directions than classes.  # [n, d], int64 [n]
    """
    means = class_means(h, labels)
    there = labels.bincount(minlength=len(means)) > 0
    centred = means[there] - means[there].mean(0)  # [classes, d]
    _, sizes, directions = torch.linalg.svd(centred / len(centred) ** 0.5, full_matrices=False)
    kept = sizes > sizes.max() * 1e-8  # the last one is 0: means have their own mean taken away
    within = (h - means[labels]) @ directions[kept].T  # [n, directions]
    return float((within.square().mean(0) / sizes[kept].square()).sum() / len(centred))
