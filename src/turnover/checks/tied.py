"""Masks with units that every example trains, beside some of its own (example-tied dropout, Maini et al., 2023).

The shared units are the mask of an id that no example has, so nothing is drawn and nothing is stored here either.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from turnover.core.masks import MaskRule
from turnover.errors import TurnOverError

_NOBODY = -1  # no example has this id


@dataclass(frozen=True)
class TiedRule(MaskRule):
    """Own units: the shared ones, and a share p of the others. Flipped ones: the shared ones alone."""

    shared: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < round(self.shared * 2**16) < 2**16:
            raise TurnOverError(
                f"shared = {self.shared}: must be 0, or lie between 0 and 1, at least 2^-16 away from both"
            )
        if self.balance != "bernoulli":
            raise TurnOverError(f"balance = {self.balance!r}: beside shared units it can only be 'bernoulli'")

    def own(self, ids: Tensor, units: int, layer: int) -> Tensor:
        """Compute own masks.  # bool [batch, units]"""
        return super().own(ids, units, layer) | self._of_all(units, layer, ids.device)

    def multiplier(
        self, ids: Tensor, units: int, layer: int, *, flipped: bool, dtype: torch.dtype, out: Tensor | None = None
    ) -> Tensor:
        """Compute the multipliers of activations, 1 / `share of units` on own or flipped ones, and 0 elsewhere.

        Arguments as in `MaskRule.multiplier`.  # [batch, units]
        """
        if flipped:
            nobody = torch.full_like(ids, _NOBODY, dtype=torch.int64)
            return self._shared.multiplier(nobody, units, layer, flipped=False, dtype=dtype, out=out)
        values = super().multiplier(ids, units, layer, flipped=False, dtype=dtype, out=out)
        return values.masked_fill_(self._of_all(units, layer, ids.device), self.scale(units, flipped=False))

    def scale(self, units: int, *, flipped: bool) -> float:
        """Return 1 / (shared + (1 - shared) p) for own units, 1 / shared for flipped ones."""
        return 1 / (self._shared if flipped else self).keep(units)

    def keep(self, units: int) -> float:
        """Return the share of a layer's units that an example trains, in the mean over examples and shared units."""
        shared = self._shared.keep(units)
        return shared + (1 - shared) * super().keep(units)

    @property
    def _shared(self) -> MaskRule:
        return MaskRule(self.shared, self.seed)

    def _of_all(self, units: int, layer: int, device: torch.device) -> Tensor:
        """Compute which units are shared.  # bool [1, units]"""
        return self._shared.own(torch.full((1,), _NOBODY, device=device), units, layer)
