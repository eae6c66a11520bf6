"""Contribution of every example to the updates of an epoch, on the mini-batches of the training itself.

With the Gram matrix K of a mini-batch's gradients, K_ij = v_i · v_j, its gradient g = (1/B) Σ_j v_j has
v_i · g = (1/B) Σ_j K_ij and ‖g‖² = (1/B²) Σ_ij K_ij, so the contribution v_i · g / ‖g‖ (Liu et al., eq. 4) and all
pairwise cosines (eq. 3) follow from K. An example is part of g itself: K_ii / B of its own v_i · g is the square of its
length, whatever the others do. Without this self-term, the contribution measures how far the others pull its way.
"""

import torch
from torch import Tensor


def batch_contributions(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Compute v_i · g / ‖g‖ of a mini-batch, with and without self-terms; 0 if g is 0.  # [batch] each

    Args:
        gram: v_i · v_j  # [batch, batch]
    """
    products = gram.mean(dim=1)
    norm = gram.mean().clamp_min(0).sqrt()
    inverse = torch.where(norm > 0, 1 / norm.where(norm > 0, 1), 0)
    return products * inverse, (products - gram.diagonal() / len(gram)) * inverse


def cosines(gram: Tensor) -> Tensor:
    """Compute the cosines of all pairs; 0 where a gradient is 0.  # [batch, batch] -> [batch, batch]"""
    norms = gram.diagonal().clamp_min(0).sqrt()
    inverse = torch.where(norms > 0, 1 / norms.where(norms > 0, 1), 0)
    return gram * inverse[:, None] * inverse
