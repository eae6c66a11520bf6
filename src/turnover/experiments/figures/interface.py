"""Measures and summary of a figure's plotted numbers, and the claims that these decide.

A module has `tabulate(sources)` and `draw(numbers, configs)`; `measures(numbers)`, if measures of claims follow from
its plotted numbers; `items(numbers)`, if some of them are shares of few counted items; `least_of(numbers)`, if some are
the least certain of several numbers; `summary(numbers, rest)`, if findings follow that are no claims. These are called
when the figure is made, and again when the committed numbers are checked. It may have `note(summary, configs)`, a line
under the picture, and `drawn(configs)`, if not all of the runs are drawn.
"""

from collections.abc import Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import pandas as pd

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.figure import ClaimConfig, FigureConfig, Plotted
from turnover.stats.claims import Claim, Measured, decide, measure, measure_seeds


def module(figure: FigureConfig) -> ModuleType:
    """Return the module that draws a figure."""
    return import_module(f"turnover.experiments.figures.{figure.drawn_by or figure.name}")


def measures(figure: FigureConfig, numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return, by seed, the measures of a figure's claims that follow from its plotted numbers.

    Where claims share a measure's name, the claim's id and a space are before it.
    """
    drawn_by = module(figure)
    return drawn_by.measures(numbers) if hasattr(drawn_by, "measures") else {}


def counts(figure: FigureConfig, numbers: pd.DataFrame) -> tuple[dict[str, int], dict[str, int]]:
    """Return `items` and `least_of` of `measure_seeds`, by the names of those measures that have them."""
    drawn_by = module(figure)
    there = (getattr(drawn_by, kind, None) for kind in ("items", "least_of"))
    items, least_of = (counted(numbers) if counted else {} for counted in there)
    return items, least_of


def summary(figure: FigureConfig, numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return the findings of a figure that are no claims.

    Args:
        rest: what does not follow from its plotted numbers.
    """
    drawn_by = module(figure)
    return drawn_by.summary(numbers, rest) if hasattr(drawn_by, "summary") else rest


def of_claim(values: Mapping[str, list[float]], id: str, name: str) -> list[float] | None:
    """Return the values of a claim's measure, by seed; None if they are not among these."""
    return values.get(f"{id} {name}", values.get(name))


def claims(figure: FigureConfig, plotted: Plotted, datasets: Collection[str], scale: str) -> list[Claim]:
    """Return the claims of a figure of these data sets, from runs of a scale."""
    values = measures(figure, plotted.numbers) | plotted.values
    items, least_of = counts(figure, plotted.numbers)
    decided = []
    for id, whole in figure.claims.items():
        config = about(datasets, whole)
        measured: list[Measured] = []
        for name, bound in config.measures.items():
            if name in plotted.statistics:
                measured.append(measure(name, plotted.statistics[name], plotted.examples, **bound.sides))
            else:
                by_seed = of_claim(values, id, name)
                assert by_seed is not None, f"{figure.name} does not measure {name} of claim {id}"
                among = least_of.get(name, 1)
                measured.append(measure_seeds(name, by_seed, **bound.sides, items=items.get(name), least_of=among))
        decided.append(decide(id, config.text, measured, tested=scale not in config.untested))
    return decided


def about(names: Collection[str], config: ClaimConfig) -> ClaimConfig:
    """Return the claim about the data sets that are drawn, and name these if the claim is about more.

    A claim about others alone has no measures left.
    """
    left_out = {name for name in config.measures if _data_set(name) not in (None, *names)}
    if not left_out:
        return config
    measures = {name: measure for name, measure in config.measures.items() if name not in left_out}
    alone = f" ({' and '.join(DATASETS[name].title for name in names)} alone)" if measures else ""
    return config.model_copy(update={"text": f"{config.text}{alone}", "measures": measures})


def _data_set(measure: str) -> str | None:
    """Return the data set whose name a measure ends with."""
    names = [name for name in DATASETS if measure.endswith(f"_{name}")]
    return max(names, key=len, default=None)  # one name ends with another
