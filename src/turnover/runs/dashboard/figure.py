"""Figures on the dashboard: pictures, plotted numbers, claims, and the runs they were drawn from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from turnover.config.options import NoLogger, WandbLogger
from turnover.config.run import RunConfig
from turnover.runs.dashboard.summary import tables
from turnover.runs.dashboard.wandb import Files, dashboard
from turnover.runs.store.run import Run
from turnover.stats.claims import Claim

# names on the dashboard
FIGURES = "figures"
NUMBERS = "numbers"
CLAIMS = "claims"


def show(
    logger: NoLogger | WandbLogger,
    job: Mapping[str, Any],
    *,
    name: str,
    group: str,
    scale: str,
    pictures: dict[str, Path],
    numbers: pd.DataFrame,
    files: Iterable[Path],
    runs: Iterable[RunConfig],
    claims: Sequence[Claim] = (),
) -> None:
    """Show pictures by their titles, with numbers and claims, as a run of the dashboard.

    Args:
        job: the config they were made with.
        group: the figure's name, under which its runs are grouped too.
        files: what was written; kept as an artifact whose parents are the tables of `runs`.
    """
    folder = next(iter(pictures.values())).parent
    with dashboard(
        logger, folder=folder, name=name, job="figure", group=group, tags=[group, scale], config=dict(job)
    ) as live:
        items: dict[str, pd.DataFrame | dict[str, Path]] = {FIGURES: pictures, NUMBERS: numbers}
        live.show(items | ({CLAIMS: table(claims)} if claims else {}))
        live.summarise({f"claims/{claim.id}": claim.verdict for claim in claims})
        for config in runs:
            for artifact in tables(Run(config)):
                live.use(artifact)
        live.keep(Files("figure", name, tuple(files), how="copy"))


def table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Return a row for each measure of each claim."""
    rows = []
    for claim in claims:
        for measure in claim.measures:
            low, high = measure.interval or (None, None)
            condition = " (condition)" if measure.condition else ""
            bound = "" if measure.threshold is None else f"{measure.side} {measure.threshold:g}{condition}"
            measured = {"measure": measure.name, "effect": measure.effect, "low": low, "high": high, "claimed": bound}
            rows.append({"claim": claim.id, "text": claim.text, "verdict": claim.verdict} | measured)
    return pd.DataFrame(rows)
