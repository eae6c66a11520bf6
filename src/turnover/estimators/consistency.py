"""Consistency score: how often networks that were not trained on an example are right about it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from turnover.estimators.subsampling import with_and_without


def inconsistency(right: Tensor, included: Tensor, fraction: Sequence[float] | Tensor) -> Tensor:
    """One minus the C-score (Jiang et al., 2021): C(z) = mean over fractions s of P(right about z | not trained on z).

    Args:
        right, included: of each network and example.  # bool [networks, examples] each
        fraction: the share of the examples that each network was trained on.  # [networks]

    Returns:
        float64, from 0 (always right) to 1. The mean is over the fractions that have a network without z; NaN where
        none has.  # [examples]
    """
    share = torch.as_tensor(fraction, dtype=torch.float64, device=right.device)
    groups = [share == value for value in share.unique()]
    right_without = [with_and_without(right[group], included[group])[1] for group in groups]
    return 1 - torch.stack(right_without).nanmean(0)
