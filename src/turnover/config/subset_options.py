"""Schemas of easy, difficult and other subsets: by labels, or from a table; those by scores are in `config.run`."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from turnover.config.options import Group, TablePath


def _size(value: object) -> object:
    # one check for both, so that a wrong size is reported once
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not count and not (isinstance(value, float) and 0 < value <= 1):
        raise ValueError("must be a count, at least 1, or a fraction of the split, above 0.0 and at most 1.0")
    return value


Size = Annotated[int | float, BeforeValidator(_size)]  # a count, or a fraction of the split


class NoSubsets(Group):
    name: Literal["none"]

    size: ClassVar[int] = 0
    train_on: ClassVar[str] = "all"


class LabelSubsets(Group):
    name: Literal["labels"]  # easy: a random choice of examples with real labels; difficult: with random ones
    size: Size  # of each subset: a count, or a fraction of the split
    balanced: bool  # equal counts of every class
    train_on: Literal["all", "easy", "difficult"]  # what the network trains on


class TableSubsets(Group):
    name: Literal["table"]  # from a table in a file
    path: TablePath  # a parquet or csv file with columns id, split ("train" or "test") and subset (any name but "all")
    train_on: str  # all, or the name of a subset

    size: ClassVar[int] = 0  # as many as the file has
