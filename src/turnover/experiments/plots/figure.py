"""What a figure is: its config, the claims that it decides, and what its module returns."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import pandas as pd
from matplotlib.figure import Figure
from pydantic import model_validator

from turnover.config.options import Group
from turnover.stats.claims import Claim


class Threshold(Group):
    """On which side of which number a measure must lie; neither: it is reported only.

    A condition is no part of the claim: where it does not hold, the claim cannot be decided.
    """

    above: float | None = None
    below: float | None = None
    condition: bool = False

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.above is not None and self.below is not None:
            raise ValueError(f"above {self.above:g} and below {self.below:g}: give one of them")
        return self


class ClaimConfig(Group):
    text: str
    measures: dict[str, Threshold]


# every figure has a module of its name with a function `draw`
_Numbered = Literal[
    "fig1", "fig2", "fig3", "fig4", "fig4_rate", "fig4_vgg", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10"
]
_Study = Literal["ablation", "detection_cost", "early_stopping", "influence", "leakage", "onion", "sensitivity"]
NAMES: tuple[str, ...] = (*get_args(_Numbered), *get_args(_Study))


class FigureConfig(Group):
    name: Literal[_Numbered, _Study]
    title: str
    experiments: list[str]  # whose runs it draws
    claims: dict[str, ClaimConfig]


@dataclass(frozen=True)
class Drawn:
    """What a figure's own module returns."""

    picture: Figure
    numbers: pd.DataFrame  # what is plotted, one row a point or bar
    claims: list[Claim] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)  # single findings that are no claims
    notes: list[str] = field(default_factory=list)  # lines under the picture, before those on runs
