"""Intrinsic dimension of what each block passes on, by two nearest neighbours (Facco et al., 2017)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained], *, group: str, examples: int, discard: float) -> Iterator[Row]:
    """Yield the dimension of each block, features flattened, as Ansuini et al. (2019) measure it.

    Args:
        group: of examples: clean, noisy or test.
        examples: at most so many of them.
        discard: share of the largest ratios of distances, which is left out of the fit.
    """
    for network in networks:
        features = network.features(network.some(group, examples))
        for block, values in zip(network.blocks, features, strict=True):
            value = two_nn(values, discard)
            yield Row(network.name, "dimension", value, network.epoch, block.name, group)


def two_nn(h: Tensor, discard: float) -> float:
    """Return the slope of -log(1 - F) against log μ through the origin, F the share of ratios up to μ.

    μ is the distance to the second neighbour over that to the first; of equal rows one is left. The largest ratio, of
    F = 1, never counts.  # float64 [n, d]

    Raises:
        RefusedInput: fewer than three rows differ.
    """
    h = h.unique(dim=0)
    if len(h) < 3:
        raise RefusedInput(f"probe=dimension needs three examples that differ in each block, there are {len(h)}")
    distances = torch.cdist(h, h, compute_mode="donot_use_mm_for_euclid_dist")  # [n, n]
    nearest = distances.fill_diagonal_(torch.inf).topk(2, largest=False).values  # [n, 2]
    ratios = (nearest[:, 1] / nearest[:, 0]).sort().values
    n = len(ratios)
    kept = min(int(n * (1 - discard)), n - 1)
    x = ratios[:kept].log()
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=h.dtype, device=h.device) / n)
    return float((x @ y) / (x @ x))
