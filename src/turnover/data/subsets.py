"""Easy and difficult subsets of a data set, by memorization score or by label.

Easy are the examples with the lowest scores, difficult those with the highest; where labels were replaced, easy are
examples with real labels and difficult those with random ones (Liu et al., sections 3.2 and 3.3).
"""

from typing import Literal

import numpy as np
import pandas as pd

from turnover.common.seeding import numpy_generator
from turnover.common.text import counted
from turnover.errors import RefusedInput

NAMES = ("easy", "difficult", "random")
Keep = Literal["hardest", "easiest", "random", "right"]


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a score table from the easiest to the most difficult example.

    Memorization cannot be negative: a negative score of turn-over dropout (whose tables have flipped losses) is noise,
    or an example that even its own sub-network misfits. So negative scores count as 0, and equal ones go by flipped
    loss: among examples of which nothing is memorized, the easiest is the one that is best predicted by what was never
    trained on it. Scores of other estimators count as they are. Then by id.
    """
    masked = "flipped_loss" in table
    score = table["score"].clip(lower=0) if masked else table["score"]
    loss = table["flipped_loss"] if masked else pd.Series(0.0, table.index)
    return table.iloc[np.lexsort((table.index.to_numpy(), loss.to_numpy(), score.to_numpy()))]


def by_scores(
    table: pd.DataFrame, size: float, seed: int, *, balanced: bool = False, of_all: bool = False
) -> pd.DataFrame:
    """Return the easiest, the most difficult and as many random other examples.

    Args:
        table: a score table, index "id", with columns label, score and perhaps flipped_loss, such as
            `turnover.memorization` returns.
        size: of each subset: a count (int), or a fraction of the table (float).
        seed: of the random choice.
        balanced: equal counts of every class, as far as they divide.
        of_all: the random choice is one of all examples, so that it may hold easy and difficult ones too.

    Returns:
        A row for each chosen example: id, subset ("easy", "difficult" or "random"), label, score; in the order of
        `ranked` from the end that the subset is taken from, random ones in random order.

    Raises:
        RefusedInput: the three together are more than all examples, or a class has too few examples.
    """
    count = _count(size, len(table), len(NAMES))
    rows = ranked(table).reset_index()[["id", "label", "score"]]
    ends = {"easy": rows, "difficult": rows[::-1]}
    subsets = {name: (_in_turn(ranking) if balanced else ranking).head(count) for name, ranking in ends.items()}
    taken = [] if of_all else [*subsets["easy"]["id"], *subsets["difficult"]["id"]]
    rest = rows[~rows["id"].isin(taken)].sort_values("id")
    rest = rest.iloc[numpy_generator(seed, "random subset").permutation(len(rest))]
    subsets["random"] = (_in_turn(rest) if balanced else rest).head(count)
    return _together(subsets, table["label"] if balanced else None)


def pruned(table: pd.DataFrame, size: float, keep: Keep, seed: int) -> pd.DataFrame:
    """Return what is left of examples, as many of every class as these last.

    Args:
        table: as in `by_scores`; right ones need its column wrong (bool).
        size: of what is left: a count (int), or a fraction of the table (float).
        keep: the hardest, the easiest or random ones; right: random ones without a wrong label.
        seed: of the random choice.

    Returns:
        As `by_scores`, one subset by the name of `keep`.
    """
    rows = ranked(table).reset_index()
    match keep:
        case "hardest":
            rows = rows[::-1]
        case "random" | "right":
            rows = rows.sort_values("id").iloc[numpy_generator(seed, "random subset").permutation(len(rows))]
    rows = rows[~rows["wrong"]] if keep == "right" else rows
    left = _in_turn(rows).head(counted(size, len(table))).assign(subset=keep)
    return left[["id", "subset", "label", "score"]].reset_index(drop=True)


def by_labels(table: pd.DataFrame, size: float, seed: int, *, balanced: bool = False) -> pd.DataFrame:
    """Return as many random examples with real labels (easy) as with random labels (difficult).

    Args:
        table: index "id", with columns label and corrupted (bool).
        size, balanced: as in `by_scores`; a fraction is one of the whole table.
        seed: of the choice.

    Returns:
        As `by_scores`, with an empty score.

    Raises:
        RefusedInput: there are fewer real or random labels than asked for.
    """
    count = _count(size, len(table), 2)
    order = numpy_generator(seed, "subsets").permutation(len(table))
    shuffled = table.reset_index()[["id", "label", "corrupted"]].iloc[order].assign(score=np.nan)
    subsets = {}
    for name, kind, corrupted in (("easy", "real", False), ("difficult", "random", True)):
        examples = shuffled[shuffled["corrupted"] == corrupted].drop(columns="corrupted")
        if len(examples) < count:
            raise RefusedInput(
                f"subsets.size = {size}: {count} examples with {kind} labels are needed, there are {len(examples)}"
            )
        subsets[name] = (_in_turn(examples) if balanced else examples).head(count)
    return _together(subsets, table["label"] if balanced else None)


def _count(size: float, n: int, subsets: int) -> int:
    count = counted(size, n)
    if not 1 <= count <= n // subsets:
        raise RefusedInput(
            f"subsets.size = {size}: {subsets} subsets of {count} examples are needed of {n}; "
            f"each must have from 1 to {n // subsets}"
        )
    return count


def _in_turn(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by turns: the first of every class, then the second, and so on; within a round in the order of classes."""
    rounds = table.groupby("label").cumcount()
    return table.assign(round=rounds).sort_values(["round", "label"], kind="stable").drop(columns="round")


def _together(subsets: dict[str, pd.DataFrame], labels: pd.Series | None) -> pd.DataFrame:
    # labels: of all examples, if every class must have its share; a subset may lack a class altogether
    for name, subset in subsets.items():
        counts = subset["label"].value_counts()
        if labels is not None:
            counts = counts.reindex(labels.unique(), fill_value=0)
        if labels is not None and counts.max() - counts.min() > 1:
            raise RefusedInput(
                f"subsets.balanced = true: class {counts.idxmin()} has only {counts.min()} examples for the {name} "
                f"subset, others have {counts.max()}; choose a smaller subsets.size"
            )
    table = pd.concat([subset.assign(subset=name) for name, subset in subsets.items()])
    if table.loc[table["subset"] != "random", "id"].duplicated().any():
        raise RefusedInput("subsets.size: the easy and the difficult subset overlap; choose a smaller one")
    return table[["id", "subset", "label", "score"]].reset_index(drop=True)
