"""Easy and difficult subsets of a data set, by memorization score or by label.

Easy are the examples with the lowest scores, difficult those with the highest; where labels were replaced, easy are
examples with real labels and difficult those with random ones (Liu et al., sections 3.2 and 3.3).
"""

import numpy as np
import pandas as pd

from turnover.errors import RefusedInput
from turnover.seeding import numpy_generator

NAMES = ("easy", "difficult")


def by_scores(table: pd.DataFrame, size: float, *, balanced: bool = False) -> pd.DataFrame:
    """The examples with the lowest and with the highest scores, as many of each.

    Args:
        table: a score table, index "id", with columns label and score, such as `turnover.memorization` returns.
        size: of each subset: a count (int), or a fraction of the table (float).
        balanced: equal counts of every class, as far as they divide.

    Returns:
        A row for each chosen example: id, subset ("easy" or "difficult"), label, score; easiest and most difficult
        first. Equal scores go by id.

    Raises:
        RefusedInput: the two would overlap, or a class has too few examples.
    """
    count = _count(size, len(table))
    ranked = table.reset_index()[["id", "label", "score"]].sort_values(["score", "id"], kind="stable")
    easy = ranked if not balanced else _in_turn(ranked)
    difficult = ranked[::-1] if not balanced else _in_turn(ranked[::-1])
    return _both(easy.head(count), difficult.head(count), balanced)


def by_labels(table: pd.DataFrame, size: float, seed: int, *, balanced: bool = False) -> pd.DataFrame:
    """A random choice of examples with real labels (easy) and one with random labels (difficult), as many of each.

    Args:
        table: index "id", with columns label and corrupted (bool).
        size, balanced: as in `by_scores`; a fraction is one of the whole table.
        seed: of the choice.

    Returns:
        As `by_scores`, with an empty score.

    Raises:
        RefusedInput: there are fewer real or random labels than asked for.
    """
    count = _count(size, len(table))
    order = numpy_generator(seed, "subsets").permutation(len(table))
    shuffled = table.reset_index()[["id", "label", "corrupted"]].iloc[order].assign(score=np.nan)
    parts = []
    for kind, corrupted in (("real", False), ("random", True)):
        part = shuffled[shuffled["corrupted"] == corrupted].drop(columns="corrupted")
        if len(part) < count:
            raise RefusedInput(
                f"subsets.size = {size}: {count} examples with {kind} labels are needed, there are {len(part)}"
            )
        parts.append((_in_turn(part) if balanced else part).head(count))
    easy, difficult = parts
    return _both(easy, difficult, balanced)


def _count(size: float, n: int) -> int:
    count = size if isinstance(size, int) else round(size * n)
    if not 1 <= count <= n // 2:
        raise RefusedInput(
            f"subsets.size = {size}: {count} easy and as many difficult ones of {n} examples; "
            f"each must have from 1 to {n // 2}"
        )
    return count


def _in_turn(table: pd.DataFrame) -> pd.DataFrame:
    """The first of every class, then the second of every class, and so on; within a round in the order of classes."""
    rounds = table.groupby("label").cumcount()
    return table.assign(round=rounds).sort_values(["round", "label"], kind="stable").drop(columns="round")


def _both(easy: pd.DataFrame, difficult: pd.DataFrame, balanced: bool) -> pd.DataFrame:
    for name, part in zip(NAMES, (easy, difficult), strict=True):
        counts = part["label"].value_counts()
        if balanced and counts.max() - counts.min() > 1:
            raise RefusedInput(
                f"subsets.balanced = true: class {counts.idxmin()} has only {counts.min()} examples for the {name} "
                f"subset, others have {counts.max()}; choose a smaller subsets.size"
            )
    if set(easy["id"]) & set(difficult["id"]):
        raise RefusedInput("subsets.size: the easy and the difficult subset overlap; choose a smaller one")
    table = pd.concat([part.assign(subset=name) for name, part in zip(NAMES, (easy, difficult), strict=True)])
    return table[["id", "subset", "label", "score"]].reset_index(drop=True)
