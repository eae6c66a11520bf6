"""Schemas of what a language model is trained on: texts, and what is planted among them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from turnover.config.datasets import TEXTS, TextInfo
from turnover.config.options import Count, Group, Positive, Seed


class TextConfig(Group):
    name: Literal["sotu", "spdx"]  # texts; an example is one distinct text, trained on once for each of its copies
    limit: Positive | None  # random subset of so many distinct training texts; null: all
    test_limit: Positive | None  # the same for the texts that are held out
    context: Annotated[int, Field(ge=2)]  # tokens of a sequence at most; longer ones are cut
    vocabulary: Annotated[int, Field(ge=258)]  # tokens of the byte-level BPE that is trained on the training texts
    # drop: of texts with at least half of all their 5-grams of words in common only the most frequent one is kept
    near_duplicates: Literal["keep", "drop"]
    seed: Seed  # of the subset

    include_test: ClassVar[bool] = False

    @property
    def info(self) -> TextInfo:
        """Name and sizes of the data set."""
        return TEXTS[self.name][self.near_duplicates]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input: tokens at most."""
        return (self.context,)

    @property
    def classes(self) -> int:
        """Number of logits of a token."""
        return self.vocabulary


class NoPlanting(Group):
    name: Literal["none"]

    canaries: ClassVar[int] = 0
    duplicates: ClassVar[int] = 0
    until: ClassVar[None] = None
    counts: ClassVar[list[int]] = []


class Planting(Group):
    name: Literal["planted"]  # texts of which it is known how often they are trained on
    canaries: Count  # made-up texts that end in a secret code: so many for each of `counts`
    duplicates: Count  # texts of the data set, without copies of their own: so many for each of `counts`
    counts: Annotated[list[Positive], Field(min_length=1)]  # copies of a planted text
    template: str  # of a canary, with {name} and at its end {code}
    digits: Annotated[int, Field(ge=1, le=9)]  # of a code
    until: Positive | None  # the last epoch that trains on planted texts; null: all do
    seed: Seed  # of names, codes and the choice of duplicates

    @field_validator("template")
    @classmethod
    def _ends_in_its_code(cls, template: str) -> str:
        plain = template.removesuffix("{code}").replace("{name}", "")
        if not template.endswith("{code}") or "{name}" not in template or "{" in plain or "}" in plain:
            raise ValueError("must have {name}, and {code} at its end, and no other braces")
        return template


PlantingConfig = Annotated[NoPlanting | Planting, Field(discriminator="name")]
