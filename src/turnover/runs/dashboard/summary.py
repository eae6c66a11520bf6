"""Results on the dashboard: of a finished run, summary, scores and files; of a figure, pictures, numbers and claims."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from turnover.config.estimators import NoEstimator
from turnover.config.options import NoLogger, WandbLogger
from turnover.config.run import RunConfig, identity, title
from turnover.runs.dashboard.wandb import Dashboard, Files, dashboard
from turnover.runs.store.run import Run
from turnover.runs.store.tables import Metric
from turnover.stats.claims import Claim, role
from turnover.stats.measures import auroc, median, skewness, top_share

# names on the dashboard, besides those of metrics
HISTOGRAM = "scores/histogram"
MOST_MEMORIZED = "scores/most_memorized"
QUANTILES = "scores/quantiles"
FIGURES = "figures"
NUMBERS = "numbers"
CLAIMS = "claims"

_SHOWN = 200  # examples


def opened(run: Run) -> AbstractContextManager[Dashboard]:
    """Return the dashboard of a run, open for the length of a block."""
    config = run.config
    estimator = None if isinstance(config.estimator, NoEstimator) else config.estimator.name
    tags = (config.experiment, config.scale, config.dataset.name, config.model.name, estimator)
    return dashboard(
        config.logger,
        folder=run.folder,
        name=run.name,
        title=f"{title(config)} ({identity(config)})",
        job=run.name.split("-")[0],
        group=config.experiment,
        tags=[tag for tag in tags if tag],
        config=config.model_dump(mode="json"),
        axis="epoch",
    )


def show(live: Dashboard, run: Run, rows: Sequence[Metric], leakage: dict[str, Any] | None) -> None:
    """Show the results of `run` on the open dashboard, before the run's folder is sealed."""
    live.attempt(lambda _: _show(live, run, rows, leakage))


def _show(live: Dashboard, run: Run, rows: Sequence[Metric], leakage: dict[str, Any] | None) -> None:
    live.summarise(of_metrics(rows, run.config.epochs))
    if leakage:
        live.summarise({f"leakage/{name}": value for name, value in leakage.items() if name != "message"})
    if (run.folder / "scores.parquet").exists():
        table = pd.read_parquet(run.folder / "scores.parquet")
        for epoch, scored in table.groupby("epoch"):
            live.show({HISTOGRAM: scored["score"].to_numpy()}, epoch=int(str(epoch)))
        last = table[table["epoch"] == table["epoch"].max()]
        live.show({MOST_MEMORIZED: last.nlargest(_SHOWN, "score"), QUANTILES: quantiles(last)}, epoch=run.config.epochs)
        live.summarise(of_scores(last))
    for parent in run.config.parents:
        live.use(next(files for files in tables(Run(parent)) if files.kind == "scores"))
    for files in [*tables(run), *_checkpoint(run)]:
        live.keep(files)


def tables(run: Run) -> Iterator[Files]:
    """Yield the tables of a run, from which other runs and figures are made, as artifacts."""
    for kind in ("metrics", "scores"):
        if (path := run.folder / f"{kind}.parquet").exists():
            yield Files(kind, run.name, (path,))


def _checkpoint(run: Run) -> Iterator[Files]:
    logger, path = run.config.logger, run.folder / "checkpoint.pt"
    if isinstance(logger, WandbLogger) and path.exists():
        yield Files("checkpoint", run.name, (path,), how="in place" if logger.checkpoints == "upload" else "reference")


def of_metrics(rows: Sequence[Metric], last: int) -> dict[str, float]:
    """Return the values after the last epoch, and the best accuracy and loss on test examples with their epochs.

    Those from within epochs, of which a dashboard has none, are left out.
    """
    rows = [row for row in rows if not row.step]
    summary = {row.key: row.value for row in rows if row.epoch == last}
    for key in dict.fromkeys(row.key for row in rows if row.split == "test"):
        better = max if key.endswith("accuracy") else min
        best = better((row for row in rows if row.key == key), key=lambda row: row.value)  # the first of equal ones
        summary |= {f"best/{key}": best.value, f"best/{key}/epoch": best.epoch}
    return summary


def of_scores(table: pd.DataFrame) -> dict[str, float]:
    """Summarise a score table of one epoch in single numbers, with AUROC of wrong labels if some are wrong."""
    table = table[np.isfinite(table["score"])]
    values, once = table["score"].to_numpy(), np.ones(len(table), dtype=np.int64)
    statistics = {"median": median(values), "skewness": skewness(values), "top_tenth_share": top_share(values)}
    wrong = {}  # texts have no labels
    if "corrupted" in table:
        wrong["auroc_replaced_labels"] = table["corrupted"].to_numpy()
        wrong["auroc_wrong_labels"] = (table["label"] != table["true_label"]).to_numpy()
    for name, positive in wrong.items():
        if positive.any() and not positive.all():
            statistics[name] = auroc(values, positive)
    return {f"scores/{name}": statistic(once) for name, statistic in statistics.items()}


def quantiles(table: pd.DataFrame) -> pd.DataFrame:
    """Return quantiles of the scores at fixed shares, so that runs can be compared."""
    shares = np.linspace(0, 1, 201)
    values = table["score"].to_numpy()
    return pd.DataFrame({"share": shares, "score": np.quantile(values[np.isfinite(values)], shares)})


def show_figure(
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
            behind = role(condition=measure.condition, refutes=measure.refutes)
            bound = "" if measure.threshold is None else f"{measure.side} {measure.threshold:g}{behind}"
            measured = {"measure": measure.name, "effect": measure.effect, "low": low, "high": high, "claimed": bound}
            rows.append({"claim": claim.id, "text": claim.text, "verdict": claim.verdict} | measured)
    return pd.DataFrame(rows)
