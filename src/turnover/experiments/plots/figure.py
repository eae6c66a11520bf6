"""What a figure is: its config, the claims that it decides, and what its module makes of its runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self, get_args

import pandas as pd
import yaml
from pydantic import Field, model_validator

from turnover.common.files import checkout
from turnover.config.compose import sweep
from turnover.config.options import Group
from turnover.config.parse import parse
from turnover.config.run import RunConfig
from turnover.stats.measures import Statistic


class MeasureConfig(Group):
    """A measure in words, and on which side of which number it must lie; neither: it is reported only.

    A condition is no part of the claim: where it does not hold, the claim cannot be decided. What does not refute is on
    the safe side: it can be part of why a claim is reproduced, but to lie on the other side proves nothing.
    """

    words: str
    above: float | None = None
    below: float | None = None
    condition: bool = False
    refutes: bool = True

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.above is not None and self.below is not None:
            raise ValueError(f"above {self.above:g} and below {self.below:g}: give one of them")
        if not self.refutes and (self.condition or (self.above, self.below) == (None, None)):
            raise ValueError("refutes: false is for a measure that decides: give above or below, and no condition")
        return self

    @property
    def sides(self) -> dict[str, Any]:
        """Return all but the words, as arguments of `claims.measure`."""
        return self.model_dump(exclude={"words"})


class ClaimConfig(Group):
    text: str
    measures: dict[str, MeasureConfig]
    by_construction: str = ""  # why it holds whatever networks do, and what its control shows
    # scales whose runs cannot decide it, and why
    untested: dict[Literal["smoke", "laptop", "paper"], str] = Field(default_factory=dict)


_Numbered = Literal[
    "fig1", "fig2", "fig3", "fig4", "fig4_rate", "fig4_vgg", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10"
]
_Study = Literal["ablation", "detection_cost", "early_stopping", "influence", "leakage", "onion", "sensitivity"]
_Language = Literal[
    "language_extraction", "language_forgetting", "language_natural", "language_repetition", "language_truth"
]
_Survey = Literal[
    "benign", "exposure", "factors", "localization", "methods", "planted", "pruning", "similarity", "tied", "unlearning"
]
NAMES: tuple[str, ...] = tuple(name for names in (_Numbered, _Study, _Language, _Survey) for name in get_args(names))


class FigureConfig(Group):
    name: Literal[_Numbered, _Study, _Language, _Survey]
    title: str
    drawn_by: Literal["fig4", "gallery"] | None = None  # a module of `figures`; null: the one of its name
    experiments: list[str]  # whose runs it draws
    claims: dict[str, ClaimConfig]


@cache
def configured(name: str) -> FigureConfig:
    """Return the config of a figure, from conf/figure."""
    text = (checkout() / "conf" / "figure" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse(FigureConfig, yaml.safe_load(text))


def runs_of(experiments: Sequence[str], scale: str, overrides: Sequence[str] = ()) -> list[RunConfig]:
    """Return the runs of some experiments at a scale, in their order."""
    options = [f"scale={scale}", *overrides]
    return [config for name in experiments for config in sweep([f"+experiment={name}", *options])]


def claim_of(id: str) -> ClaimConfig:
    """Return the config of a claim."""
    [config] = [figure.claims[id] for figure in map(configured, NAMES) if id in figure.claims]
    return config


def words(claim: str, measure: str) -> str:
    """Return a measure of a claim in words."""
    return claim_of(claim).measures[measure].words


def remarks(claim: str, verdicts: Collection[str]) -> list[str]:
    """Return what a claim's verdicts do not say: that it holds by construction, or at which scale it is not tested."""
    config = claim_of(claim)
    trivial = config.by_construction and "reproduced" in verdicts
    remarks = [f"by construction: {config.by_construction}"] if trivial else []
    return remarks + [f"not tested at {scale} scale: {why}" for scale, why in config.untested.items()]


@dataclass(frozen=True)
class Plotted:
    """What a figure's module makes of its runs."""

    numbers: pd.DataFrame  # what is plotted, one row a point or bar
    values: dict[str, list[float]] = field(default_factory=dict)  # by seed; measures that the numbers do not give
    statistics: Mapping[str, Sequence[Statistic]] = field(default_factory=dict)  # by seed; measures that count examples
    examples: int = 0  # that statistics count
    summary: dict[str, Any] = field(default_factory=dict)  # findings but claims that do not follow from the numbers
