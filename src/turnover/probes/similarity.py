"""Similarity of the features of two networks: PWCCA (Morcos et al., 2018), linear CKA (Kornblith et al., 2019)."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained], *, group: str, examples: int) -> Iterator[Row]:
    """Yield PWCCA and linear CKA of every pair of networks, block by block, on the same examples.

    Features are pooled over places and tokens. PWCCA is the mean of both directions.

    Args:
        group: of examples: clean, noisy or test.
        examples: at most so many of them; more than features, or unlike networks would seem alike.

    Raises:
        RefusedInput: there is one network alone, or they differ in examples or blocks.
    """
    if len(networks) < 2:
        raise RefusedInput("probe=similarity compares networks: give two or more")
    chosen = [network.some(group, examples) for network in networks]
    if any(not one.ids.equal(chosen[0].ids) for one in chosen):
        raise RefusedInput(f"probe=similarity: the networks have other {group} examples; they must agree")
    names = [block.name for block in networks[0].blocks]
    if any([block.name for block in network.blocks] != names for network in networks):
        raise RefusedInput("probe=similarity: the networks have other blocks; they must be of one form")
    of_each = [network.features(some, pooled=True) for network, some in zip(networks, chosen, strict=True)]
    for number, block in enumerate(names):
        widest = max(values[number].shape[1] for values in of_each)
        if widest >= len(chosen[0]):
            raise RefusedInput(
                f"probe=similarity: block {block} has {widest} features, and there are {len(chosen[0])} examples; "
                "more examples than features are needed (examples)"
            )
    for a, b in combinations(range(len(networks)), 2):
        pair = f"{networks[a].name} & {networks[b].name}"
        for number, block in enumerate(names):
            x, y = of_each[a][number], of_each[b][number]
            for measured, value in (("pwcca", (pwcca(x, y) + pwcca(y, x)) / 2), ("cka", cka(x, y))):
                yield Row(pair, measured, value, networks[a].epoch, block, group)


def pwcca(x: Tensor, y: Tensor) -> float:
    """Return the mean canonical correlation, each weighted by how much of `x` lies in its direction.

    The weight of direction h is Σ |h · x_j| over the features of x.  # float64 [n, features] each
    """
    x, y = x - x.mean(0), y - y.mean(0)
    basis = _basis(x)
    left, correlations, _ = torch.linalg.svd(basis.T @ _basis(y), full_matrices=False)
    weights = (left.T @ basis.T @ x).abs().sum(1)  # [directions]
    return float((weights * correlations.clamp(max=1)).sum() / weights.sum())


def cka(x: Tensor, y: Tensor) -> float:
    """Return ‖yᵀx‖² / (‖xᵀx‖ ‖yᵀy‖) of centred features, Frobenius norms.  # [n, features] each"""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def _basis(x: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns of x; units that are always 0 add nothing.  # [n, rank]"""
    left, sizes, _ = torch.linalg.svd(x, full_matrices=False)
    return left[:, sizes > sizes.max() * 1e-8]
