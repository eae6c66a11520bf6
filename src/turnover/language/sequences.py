"""Token sequences of whoever calls, checked and in one form: rows from their first token on, padding behind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turnover.checks.arrays import array_of, tensor_of
from turnover.checks.missing import some
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS, UNCOUNTED
from turnover.errors import RefusedInput

_PADDED = "tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1); pad=-1"


@dataclass(frozen=True)
class Sequences:
    """Texts as tokens, each at least two of them."""

    tokens: Tensor  # 0 in the place of padding  # int64 [n, longest]
    lengths: Tensor  # int64 [n]
    start: Tensor  # where the first token was in the row that was given  # int64 [n]
    width: int  # tokens of a row that was given, with its padding

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def counted(self) -> Tensor:
        """Return True for each token that is no padding.  # bool [n, longest]"""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]

    @property
    def targets(self) -> Tensor:
        """Return the next token of each position but the last, `UNCOUNTED` in padding.  # int64 [n, longest - 1]"""
        return self.tokens[:, 1:].where(self.counted[:, 1:], UNCOUNTED)

    @property
    def texts(self) -> Tensor:
        """Return a number for each row, the same for equal texts: the position of the first of them.  # int64 [n]"""
        whole = torch.cat([self.lengths[:, None], self.tokens], 1)
        return first_of(whole.unique(dim=0, return_inverse=True)[1])

    def examples(self, ids: Tensor | None = None, repeats: Tensor | None = None) -> Examples:
        """Return the texts as examples; ids: None for positions; repeats: how often an epoch has each."""
        ids = torch.arange(len(self), device=self.tokens.device) if ids is None else ids
        return Examples(self.tokens[:, :-1], self.targets, ids, loss=TOKENS, repeats=repeats)

    def select(self, index: Tensor) -> "Sequences":
        """Return the texts at these positions."""
        return Sequences(self.tokens[index], self.lengths[index], self.start[index], self.width)


def first_of(place: Tensor) -> Tensor:
    """Return the first position that has the number of each position.  # int64 [n], numbers from 0 -> int64 [n]"""
    positions = torch.arange(len(place), device=place.device)
    first = torch.full((int(place.max()) + 1,), len(place), device=place.device)
    return first.scatter_reduce(0, place, positions, "amin")[place]


def sequences(tokens: Any, pad: Any, device: torch.device, *, name: str = "tokens", least: int = 2) -> Sequences:
    """Return tokens [n, T] that are padded with `pad` before or behind a text, or not at all.

    Args:
        least: tokens of a text.

    Raises:
        RefusedInput: they are no token numbers, or a row has too few of them or padding inside.
    """
    if pad is not None and (isinstance(pad, bool) or not isinstance(pad, int | np.integer)):
        raise RefusedInput(f"pad = {pad!r}: must be the number that {name} are padded with, or None for no padding")
    if isinstance(tokens, str) or (isinstance(tokens, list | tuple) and any(isinstance(row, str) for row in tokens)):
        raise RefusedInput(
            f"{name} are strings: give the numbers that your tokenizer makes of them, a row for each text"
        )
    if isinstance(tokens, list | tuple) and len({len(row) for row in tokens if hasattr(row, "__len__")}) > 1:
        raise RefusedInput(
            f"{name} has rows of different lengths: pad them, rows = [torch.as_tensor(row) for row in {name}]; "
            + _PADDED.replace("tokens", name)
        )
    given = tensor_of(name, array_of(name, tokens), device)
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        raise RefusedInput(f"{name} must be integers, got {given.dtype}: give {name} = torch.as_tensor({name}).long()")
    if given.dim() != 2:
        raise RefusedInput(f"{name} must be [n, T], a row for each text, got shape {tuple(given.shape)}: one text is "
                           f"{name} = torch.as_tensor({name}).reshape(1, -1)")  # fmt: skip
    given = given.long()
    if not given.shape[0] or given.shape[1] < least:
        raise RefusedInput(
            f"{name} has shape {tuple(given.shape)}: at least one text of {least} tokens or more is needed, as each "
            "token is predicted from those before it; begin texts with the tokenizer's first token, such as <bos>"
        )
    real = torch.ones_like(given, dtype=torch.bool) if pad is None else given != int(pad)
    if (below := real & (given < 0)).any():
        lowest = int(given[below].min())
        raise RefusedInput(
            f"{name} holds {lowest} in rows {some(below.any(1).nonzero()[:, 0])}, and token numbers are not negative: "
            f"if it is padding, pad={lowest}"
        )
    lengths = real.sum(1)
    if (short := lengths < least).any():
        what = f"have fewer than {least} tokens, none of which could be predicted" if lengths.any() else "are empty"
        raise RefusedInput(
            f"{name}: rows {some(short.nonzero()[:, 0])} {what}, so they have no loss: leave them out, "
            f"keep = (torch.as_tensor({name}) != {pad}).sum(1) >= {least}; {name} = {name}[keep], and ids too"
        )
    start = real.int().argmax(1)
    columns = start[:, None] + torch.arange(int(lengths.max()), device=device)
    inside = torch.arange(columns.shape[1], device=device) < lengths[:, None]
    columns = columns.clamp(max=given.shape[1] - 1)
    if not real.gather(1, columns)[inside].all():
        split = ~(real.gather(1, columns) | ~inside).all(1)
        raise RefusedInput(
            f"{name}: rows {some(split.nonzero()[:, 0])} hold pad = {pad} between other tokens: padding is before or "
            f"behind a text. If {pad} is a token too, as an end of text is, pad with another number: rows = the texts "
            f"as tensors; {_PADDED.replace('tokens', name)}; of packed rows, a row for each text"
        )
    return Sequences(given.gather(1, columns).where(inside, 0), lengths, start, given.shape[1])
