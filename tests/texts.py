"""A small data set of text in the place of the speeches, read and checked as they are; no network is needed."""

import hashlib
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from turnover.config import datasets
from turnover.config.compose import sweep
from turnover.config.datasets import TextInfo
from turnover.config.run import RunConfig
from turnover.data.sources import COLLECTIONS

TRAIN, TEST = 90, 30  # distinct sentences
_WORDS = (
    "war peace treaty nation people congress labor trade river harbor army navy bank silver gold law court senate "
    "house farm canal railroad tariff revenue debt credit island border ocean school health winter spring summer"
).split()


@cache
def sentences() -> tuple[str, ...]:
    """Distinct sentences of 40 characters and more."""
    draw = random.Random(0)
    made = dict.fromkeys(
        f"In {draw.randint(1790, 1990)} the {' '.join(draw.choices(_WORDS, k=draw.randint(6, 9)))} prevailed."
        for _ in range(TRAIN + TEST)
    )
    assert len(made) == TRAIN + TEST
    return tuple(made)


def speeches(repeated: int = 0) -> str:
    """Speeches of ten sentences, the first of which come twice, and parts that are too short or too long."""
    all_of_them = [*sentences(), *sentences()[:repeated]]
    spoken = (" ".join(["So be it.", *all_of_them[start : start + 10]]) for start in range(0, len(all_of_them), 10))
    return "\n\f\n".join([*spoken, "x" * 401 + "."])


def installed(patch: pytest.MonkeyPatch, folder: Path, repeated: int = 0) -> None:
    """Put the speeches into a data folder, and make them what `dataset=sotu` is."""
    content = speeches(repeated).encode()
    path = folder / "sotu" / "speeches.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    files = {"speeches.txt": hashlib.md5(content).hexdigest()}
    patch.setenv("TURNOVER_DATA", str(folder))
    patch.setitem(COLLECTIONS, "sotu", replace(COLLECTIONS["sotu"], files=files, sources=()))
    patch.setitem(datasets.TEXTS["sotu"], "keep", TextInfo("Speeches", TRAIN, TEST))


def text_run(*overrides: str, entry: str = "score") -> RunConfig:
    """The config of a small run on them that takes about a second."""
    small = ("dataset.limit=40", "dataset.test_limit=10", "model.dim=16", "batch_size=16", "schedule.warmup=0")
    given = ["dataset=sotu", "model=gpt", "scale=smoke", "logger=none", "device=cpu", *small, *overrides]
    [config] = sweep(given, entry)
    return config
