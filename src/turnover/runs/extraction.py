"""How much of its texts a language model of a run has by heart, and how exposed planted canaries are."""

import pandas as pd
import torch
from torch import Tensor

from turnover.core.examples import Examples
from turnover.core.losses import UNCOUNTED
from turnover.data.text import Corpus
from turnover.estimators.estimator import Task
from turnover.language import exposure, extraction


def by_heart(task: Task, corpus: Corpus) -> pd.DataFrame:
    """Return extraction of training and held-out texts and exposure of canaries, by the full network.

    Returns:
        Index "id", columns as in `config.estimators.EXTRACTED`; exposures are NaN where a text has no code.
    """
    parts = []
    for examples in (corpus.train, corpus.test):
        table = extraction(task.model, _tokens(examples), pad=UNCOUNTED)
        table["prefix"] -= 1  # <bos> is no token of the text
        table["strength"] = 1 - table["prefix"] / (table["tokens"] - 1)
        table.index = pd.Index(examples.ids.cpu().numpy(), name="id")
        parts.append(table[["loss", "accuracy", "prefix", "strength"]])
    return pd.concat(parts).join(_exposures(task, corpus)).assign(score=lambda table: table["strength"])


def _exposures(task: Task, corpus: Corpus) -> pd.DataFrame:
    secret = corpus.texts["code"].dropna()
    columns = {"exposure": True, "exposure_sampled": False}
    if secret.empty:
        return pd.DataFrame(columns=list(columns), index=secret.index, dtype=float)
    order = torch.searchsorted(corpus.train.ids, torch.tensor(secret.index.to_numpy(), device=corpus.train.device))
    tokens, digits = _tokens(corpus.train.select(order)), len(secret.iloc[0])
    ends = (tokens != UNCOUNTED).sum(1, keepdim=True)
    place = torch.arange(tokens.shape[1], device=tokens.device)
    codes = tokens.gather(1, ends - digits + torch.arange(digits, device=tokens.device))  # [canaries, digits]
    before = tokens.where(place < ends - digits, UNCOUNTED)
    alphabet = torch.tensor([corpus.tokenizer.token_to_id(str(digit)) for digit in range(10)], device=tokens.device)
    found = {
        name: exposure(task.model, before, codes, alphabet, exact, pad=UNCOUNTED).cpu().numpy()
        for name, exact in columns.items()
    }
    return pd.DataFrame(found, index=secret.index)


def _tokens(examples: Examples) -> Tensor:
    """Return texts as tokens, <bos> first and `UNCOUNTED` behind them.  # int64 [n, tokens + 1]"""
    return torch.cat([examples.inputs[:, :1], examples.labels], dim=1)
