"""Membership inference: was a network trained on a text? Higher scores say yes."""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from turnover.checks.arrays import array_of, tensor_of
from turnover.checks.user_network import taken_by
from turnover.errors import RefusedInput
from turnover.estimators.membership import log_likelihood_ratios
from turnover.language.per_token import measured
from turnover.language.sequences import sequences

_NEEDS = {
    "loss": (),
    "zlib": ("texts",),
    "min_k": (),
    "reference": ("reference",),
    "lira": ("losses", "included"),
}
_TO_FIT = 2  # networks of either kind, for a mean and a spread


def membership(
    model: nn.Module,
    tokens: Any,
    pad: int | None = None,
    *,
    attack: str = "loss",
    texts: Sequence[str] | None = None,
    k: float = 0.2,
    reference: nn.Module | None = None,
    losses: Any = None,
    included: Any = None,
    batch_size: int | None = None,
) -> Tensor:
    """Score how much each text looks as if the network was trained on it.

    Args:
        model, tokens, pad, batch_size: as in `turnover.language.losses`.
        attack: loss: minus the mean loss. zlib: the same over the bytes of the text as zlib packs them. min_k: minus
            the mean loss of the share `k` of its tokens that cost most, of at least one (Shi et al., 2024). reference:
            the mean loss by another network minus that by this one. lira: the log ratio of the densities of minus the
            mean loss among networks trained on the text and among others (Carlini et al., 2022).
        texts: of the rows, for zlib.
        reference: another network with the same tokens, trained on none of the texts.
        losses: mean losses of the texts by other networks, for lira.  # [networks, n]
        included: which texts these were trained on, each by two at least and not by two.  # bool [networks, n]

    Returns:
        float64 on the network's device; high: trained on.  # [n]

    Raises:
        RefusedInput: there is no such attack, or what it needs is missing.
    """
    if attack not in _NEEDS:
        raise RefusedInput(f"attack = {attack!r}: allowed: {', '.join(_NEEDS)}")
    given = {"texts": texts, "reference": reference, "losses": losses, "included": included}
    if missing := [name for name in _NEEDS[attack] if given[name] is None]:
        raise RefusedInput(f"attack = {attack!r} needs {' and '.join(missing)}: give {', '.join(missing)} too")
    if not 0 < k <= 1:
        raise RefusedInput(f"k = {k}: must be a share of the tokens, more than 0 and at most 1, for example 0.2")
    device = taken_by(model)[0]
    rows = sequences(tokens, pad, device)
    found = measured(model, rows, batch_size)[0].double()  # [n, longest - 1], NaN in padding
    predicted = rows.lengths - 1
    mean = found.nansum(1) / predicted
    match attack:
        case "zlib":
            assert texts is not None
            return -mean / _packed(texts, len(rows)).to(device)
        case "min_k":
            most = (k * predicted).long().clamp(min=1)  # a few tokens have one at least
            ordered = found.nan_to_num(-torch.inf).sort(1, descending=True).values
            chosen = torch.arange(found.shape[1], device=device) < most[:, None]
            return -ordered.where(chosen, 0.0).sum(1) / most
        case "reference":
            assert reference is not None
            other = rows if (where := taken_by(reference)[0]) == device else sequences(tokens, pad, where)
            return (measured(reference, other, batch_size)[0].double().nansum(1) / other.lengths.sub(1)).to(
                device
            ) - mean
        case "lira":
            return _ratio(mean, losses, included)
    return -mean


def _packed(texts: Sequence[str], n: int) -> Tensor:
    """Return the bytes of each text as zlib packs it.  # float64 [n]"""
    if isinstance(texts, str) or len(texts) != n or not all(isinstance(text, str) for text in texts):
        raise RefusedInput(f"texts must be a list of strings, one for each of {n} rows of tokens")
    return torch.tensor([len(zlib.compress(text.encode("utf-8"))) for text in texts], dtype=torch.float64)


def _ratio(mean: Tensor, losses: Any, included: Any) -> Tensor:
    """Return the log likelihood ratio of the network with these mean losses, by other networks.  # [n] -> [n]"""
    others, inside = (
        tensor_of(name, array_of(name, value), mean.device)
        for name, value in (("losses", losses), ("included", included))
    )
    if others.dim() != 2 or others.shape[1] != len(mean) or inside.shape != others.shape or inside.dtype != torch.bool:
        raise RefusedInput(
            f"losses and included must be [networks, {len(mean)}], floats and bool: got {tuple(others.shape)} "
            f"{others.dtype} and {tuple(inside.shape)} {inside.dtype}"
        )
    fewest = int(torch.minimum(inside.sum(0), (~inside).sum(0)).min())
    if fewest < _TO_FIT or not others.isfinite().all():
        raise RefusedInput(
            f"losses of some texts are NaN, or {fewest} networks were trained on them or were not: each text needs "
            f"{_TO_FIT} networks of either kind, so train more networks, each on another half of the texts"
        )
    # the network itself is the first row; its place among the others says nothing, for it is left out of its densities
    confidence = -torch.cat([mean[None], others.double()])
    return log_likelihood_ratios(confidence, torch.cat([torch.zeros_like(inside[:1]), inside]))[0]
