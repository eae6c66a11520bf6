"""What the module of a figure says of its plotted numbers, and the claims that these decide.

A module has `tabulate(sources)` and `draw(numbers, configs)`; `measures(numbers)`, if its plotted numbers tell measures
of its claims; `summary(numbers, rest)`, if they tell findings that are no claims. Both are called when the figure is
made, and again when the committed numbers are checked. It may have `note(summary, configs)`, a line under the picture,
and `drawn(configs)`, if not all of the runs are drawn.
"""

from collections.abc import Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import pandas as pd

from turnover.config.datasets import FACTS
from turnover.experiments.plots.figure import ClaimConfig, FigureConfig, Plotted
from turnover.stats.claims import Claim, Measured, decide, measure, measure_seeds

Values = dict[str, list[float]]


def module(figure: FigureConfig) -> ModuleType:
    """The module that draws a figure."""
    return import_module(f"turnover.experiments.figures.{figure.drawn_by or figure.name}")


def measures(figure: FigureConfig, numbers: pd.DataFrame) -> Values:
    """By seed, the measures of a figure's claims that its plotted numbers tell.

    Where claims share a measure's name, the claim's id and a space stand before it.
    """
    drawn_by = module(figure)
    return drawn_by.measures(numbers) if hasattr(drawn_by, "measures") else {}


def summary(figure: FigureConfig, numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """The findings of a figure that are no claims.

    Args:
        rest: what its plotted numbers do not tell.
    """
    drawn_by = module(figure)
    return drawn_by.summary(numbers, rest) if hasattr(drawn_by, "summary") else rest


def of_claim(values: Mapping[str, list[float]], id: str, name: str) -> list[float] | None:
    """The values of a claim's measure, by seed; None if they are not among these."""
    return values.get(f"{id} {name}", values.get(name))


def claims(figure: FigureConfig, plotted: Plotted, datasets: Collection[str]) -> list[Claim]:
    """The claims of a figure of these data sets."""
    values = measures(figure, plotted.numbers) | plotted.values
    found = []
    for id, whole in figure.claims.items():
        config = about(datasets, whole)
        measured: list[Measured] = []
        for name, each in config.measures.items():
            if name in plotted.statistics:
                measured.append(measure(name, plotted.statistics[name], plotted.examples, **each.sides))
            else:
                by_seed = of_claim(values, id, name)
                assert by_seed is not None, f"{figure.name} does not measure {name} of claim {id}"
                measured.append(measure_seeds(name, by_seed, **each.sides))
        found.append(decide(id, config.text, measured))
    return found


def about(names: Collection[str], config: ClaimConfig) -> ClaimConfig:
    """The claim about the data sets that are drawn, and saying so if they are not all that it is about."""
    left_out = {name for name in config.measures if _data_set(name) not in (None, *names)}
    if not left_out:
        return config
    alone = " and ".join(FACTS[name].title for name in names)
    measures = {name: each for name, each in config.measures.items() if name not in left_out}
    return config.model_copy(update={"text": f"{config.text} ({alone} alone)", "measures": measures})


def _data_set(measure: str) -> str | None:
    """The data set whose name a measure ends with."""
    names = [name for name in FACTS if measure.endswith(f"_{name}")]
    return max(names, key=len, default=None)  # one name ends with another
