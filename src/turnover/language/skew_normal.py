"""The skew-normal distribution, which losses of random codes follow closely, fitted by its moments."""

import math

import torch
from torch import Tensor

_STEPS, _REACH = 4096, 12.0  # of the integral, and how far it goes, in standard deviations
_SKEWEST = 0.99  # skewness of the distribution is below 0.9953


def log_cdf(value: Tensor, sample: Tensor) -> Tensor:
    """Return log P(X <= value) of a skew-normal X with mean, variance and skewness of a sample.

    2 φ(z) Φ(αz) / ω is its density at z = (x - ξ) / ω (Azzalini, 1985), integrated up to the value on a logarithmic
    scale, so that probabilities far below the smallest of a sample have a value too.

    Args:
        value: [n]
        sample: [n, samples]

    Returns:
        float64; 0 if all of a sample are equal.  # [n]
    """
    value, sample = value.double(), sample.double()
    mean, deviation = sample.mean(1), sample.std(1, correction=0)
    spread = deviation.clamp(min=1e-300)
    skewness = (((sample - mean[:, None]) / spread[:, None]) ** 3).mean(1).clamp(-_SKEWEST, _SKEWEST)
    power = skewness.abs() ** (2 / 3)
    delta = (math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3))).sqrt() * skewness.sign()
    alpha = delta / (1 - delta**2).sqrt()
    scale = spread / (1 - 2 * delta**2 / math.pi).sqrt()
    end = (value - (mean - scale * delta * math.sqrt(2 / math.pi))) / scale  # [n]
    end = end.clamp(max=_REACH)
    below = torch.linspace(_REACH + float(end.abs().max()), 0, _STEPS, dtype=torch.float64, device=value.device)
    z = end[:, None] - below
    density = math.log(2) - z**2 / 2 - math.log(2 * math.pi) / 2 + torch.special.log_ndtr(alpha[:, None] * z)
    edges = torch.zeros(_STEPS, dtype=torch.float64, device=value.device)
    edges[0] = edges[-1] = -math.log(2)  # trapezoids
    integral = (density + edges).logsumexp(1) + (below[0] - below[1]).log()
    return torch.where(deviation > 0, integral.clamp(max=0.0), 0.0)
