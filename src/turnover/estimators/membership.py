"""Membership inference by the likelihood ratio attack, LiRA: was a network trained on an example?

The confidence of a network in the label y of an example, phi = log(p_y / (1 - p_y)), is about normal over networks
that were trained on the example, and over those that were not, with other means. The log of the ratio of the two
densities is the best test of which kind a network is (Carlini et al., 2022).
"""

import math

import torch
from torch import Tensor

from turnover.estimators.subsampling import with_and_without

_ENOUGH = 32  # networks of either kind for a variance of the example's own; with fewer it gets the mean of all


def log_likelihood_ratios(confidence: Tensor, included: Tensor) -> Tensor:
    """Compute log N(phi; with) - log N(phi; without), of each network and example, by all *other* networks.

    Variances of few numbers are wild: an example with less than 32 networks of either kind takes the mean variance of
    all examples. (Carlini et al. share one below 64 networks, of which half are trained on an example.)

    Args:
        confidence: phi.  # [networks, examples]
        included: which examples each network was trained on; of each example at least 3 were and 3 were not.
            # bool [networks, examples]

    Returns:
        float64; high: the network looks as if it was trained on the example. NaN where there are too few others.
            # [networks, examples]
    """
    phi = confidence.double()
    enough = torch.minimum(included.sum(0), (~included).sum(0)) >= _ENOUGH  # [examples]
    densities = [_others_density(phi, group, enough) for group in (included, ~included)]
    return densities[0] - densities[1]


def _others_density(phi: Tensor, group: Tensor, enough: Tensor) -> Tensor:
    """Compute the log density of phi under the normal fitted to the networks in `group`, the network itself left out.

    Args:
        enough: examples with a variance of their own.  # bool [examples]
    """
    weight = group.double()
    n = weight.sum(0) - weight  # [networks, examples]
    middle = (phi * weight).sum(0) / weight.sum(0)  # sums of squares around it lose no digits
    offset = phi - middle
    first = (offset * weight).sum(0) - offset * weight
    second = (offset.square() * weight).sum(0) - offset.square() * weight
    mean = first / n
    variance = ((second - n * mean.square()) / (n - 1)).clamp(min=1e-12).where(n > 1, torch.nan)
    variance = variance.where(enough, variance.nanmean(1, keepdim=True))
    return -0.5 * (variance.log() + (offset - mean).square() / variance)


def membership(ratios: Tensor, included: Tensor) -> Tensor:
    """Return the exposure of each example: mean log ratio of networks trained on it, minus that of the others.

    In nats; near 0: membership cannot be inferred.  # [networks, examples], twice -> float64 [examples]
    """
    with_it, without = with_and_without(ratios, included)
    return with_it - without


def threshold(ratios: Tensor, included: Tensor, false_positive_rate: float) -> Tensor:
    """Return the lowest threshold with at most that share of the pairs (network, example not trained on) above it.

    Args:
        ratios, included: of some networks and examples, as above; pairs without a ratio (NaN) are left out.

    Returns:
        One number, on the device.
    """
    negative = ratios[~included & ~ratios.isnan()].sort(descending=True).values
    allowed = math.floor(false_positive_rate * len(negative))
    return negative[allowed] if allowed < len(negative) else ratios.new_tensor(-math.inf)


def share_above(ratios: Tensor, chosen: Tensor, limit: Tensor) -> Tensor:
    """Return the share of the chosen pairs (network, example) above a threshold, without those that lack a ratio (NaN).

    Of the pairs trained on it is the true-positive rate, of the others the false-positive rate.

    Args:
        ratios: float  # [networks, examples]
        chosen: bool  # [networks, examples]

    Returns:
        A number between 0 and 1, on the device.
    """
    return (ratios[chosen & ~ratios.isnan()] > limit).double().mean()
