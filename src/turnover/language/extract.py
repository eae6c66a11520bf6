"""Extraction: from how many of its tokens a text is given back whole, by greedy decoding, and how much of it is known.

Greedy decoding from k tokens gives all the rest if and only if every later token is the most probable one after the
true tokens before it. So one pass over the text decides for all k, and nothing is generated.
"""

from typing import Any

import pandas as pd
import torch
from torch import nn

from turnover.checks.user_network import taken_by
from turnover.errors import RefusedInput
from turnover.language.per_token import measured
from turnover.language.sequences import sequences


def extraction(model: nn.Module, tokens: Any, pad: int | None = None, *, batch_size: int | None = None) -> pd.DataFrame:
    """Measure how much of each text a network has by heart; arguments as in `turnover.language.losses`.

    Returns:
        A row for each row of tokens: loss (nats a token), accuracy (share of tokens that are the most probable ones,
        exact memorization), prefix (smallest number of tokens from which greedy decoding gives all the rest; all of
        them if not even the last token comes), strength (1 - prefix / tokens, extraction strength), tokens (of the
        text, without padding), copies (rows with the same text).
    """
    rows = sequences(tokens, pad, taken_by(model)[0])
    losses, right = measured(model, rows, batch_size)
    predicted = rows.lengths - 1
    place = torch.arange(1, right.shape[1] + 1, device=right.device)
    prefix = 1 + (place * (~right & rows.counted[:, 1:])).amax(1)
    columns = {
        "loss": losses.double().nansum(1) / predicted,
        "accuracy": right.sum(1).double() / predicted,
        "prefix": prefix,
        "strength": 1 - prefix.double() / rows.lengths,
        "tokens": rows.lengths,
        "copies": rows.texts.bincount()[rows.texts],
    }
    return pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})


def extractable(table: pd.DataFrame, prefix: int, left: int = 1) -> pd.Series:
    """Return whether texts of `extraction` are given back from `prefix` tokens; missing where fewer than `left` follow.

    Of a text that hardly has more tokens than these, little is shown by giving back the rest, or by not doing so: it is
    neither, and a mean leaves it out. With `table.copies <= k` besides, it is k-eidetic memorization (Carlini et al.,
    2021).
    """
    if prefix < 1 or left < 1:
        raise RefusedInput(f"prefix = {prefix!r}, left = {left!r}: both count tokens, give 1 or more")
    back = (table["prefix"] <= prefix).astype("boolean")
    return back.mask(table["tokens"] - prefix < left)
