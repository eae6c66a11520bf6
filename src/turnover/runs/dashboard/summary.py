"""What a run's dashboard shows once the run is done: summary, its scores, its files and those it was made from."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd

from turnover.config.estimators import NoEstimator
from turnover.config.options import WandbLogger
from turnover.config.run import identity, title
from turnover.runs.dashboard.wandb import Dashboard, Files, dashboard
from turnover.runs.store.run import Run
from turnover.runs.store.tables import Metric
from turnover.stats.measures import auroc, median, skewness, top_share

# names on the dashboard, besides those of metrics
HISTOGRAM = "scores/histogram"
MOST_MEMORIZED = "scores/most_memorized"
QUANTILES = "scores/quantiles"

_SHOWN = 200  # examples


def opened(run: Run) -> AbstractContextManager[Dashboard]:
    """The dashboard of a run, while the run is worked on."""
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
    """Show what `run` has found, on the open dashboard, before the run's folder is sealed."""
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
    """The tables of a run, from which other runs and figures are made, as artifacts."""
    for kind in ("metrics", "scores"):
        if (path := run.folder / f"{kind}.parquet").exists():
            yield Files(kind, run.name, (path,))


def _checkpoint(run: Run) -> Iterator[Files]:
    logger, path = run.config.logger, run.folder / "checkpoint.pt"
    if isinstance(logger, WandbLogger) and path.exists():
        yield Files("checkpoint", run.name, (path,), how="in place" if logger.checkpoints == "upload" else "reference")


def of_metrics(rows: Sequence[Metric], last: int) -> dict[str, float]:
    """The values after the last epoch, and the best accuracy and loss on test examples with their epochs."""
    found = {row.key: row.value for row in rows if row.epoch == last}
    for key in dict.fromkeys(row.key for row in rows if row.split == "test"):
        better = max if key.endswith("accuracy") else min
        best = better((row for row in rows if row.key == key), key=lambda row: row.value)  # the first of equal ones
        found |= {f"best/{key}": best.value, f"best/{key}/epoch": best.epoch}
    return found


def of_scores(table: pd.DataFrame) -> dict[str, float]:
    """What a score table of one epoch says in single numbers; how well it finds wrong labels, if some are wrong."""
    table = table[np.isfinite(table["score"])]
    values, once = table["score"].to_numpy(), np.ones(len(table), dtype=np.int64)
    found = {"median": median(values), "skewness": skewness(values), "top_tenth_share": top_share(values)}
    for name, positive in {
        "auroc_replaced_labels": table["corrupted"].to_numpy(),
        "auroc_wrong_labels": (table["label"] != table["true_label"]).to_numpy(),
    }.items():
        if positive.any() and not positive.all():
            found[name] = auroc(values, positive)
    return {f"scores/{name}": statistic(once) for name, statistic in found.items()}


def quantiles(table: pd.DataFrame) -> pd.DataFrame:
    """The score that a share of the examples does not exceed: a distribution that can be compared between runs."""
    shares = np.linspace(0, 1, 201)
    values = table["score"].to_numpy()
    return pd.DataFrame({"share": shares, "score": np.quantile(values[np.isfinite(values)], shares)})
