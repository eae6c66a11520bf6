"""`make validate`: the table of all estimators against ground truth, its pictures, and what they were made from."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from turnover.common.files import outputs_root, replacing, write_json
from turnover.config.datasets import DATASETS
from turnover.config.options import Group, NoLogger, WandbLogger
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import runs_of
from turnover.experiments.plots.notes import SMOKE, network
from turnover.experiments.plots.style import finish, save, style
from turnover.experiments.validation.estimates import Condition, gather
from turnover.experiments.validation.other_truths import (
    against_leave_one_out,
    exposure,
    influence_agreement,
    split_seeds,
)
from turnover.experiments.validation.plots import agreement, cost, detection
from turnover.experiments.validation.plots import exposure as draw_exposure
from turnover.experiments.validation.table import COLUMNS, REPLICATES, ordered, rows
from turnover.experiments.validation.truth import Truth, examples, file_name, sub_network_runs, truth, write_examples
from turnover.runs.dashboard.summary import show_figure
from turnover.runs.scripts import make_runs
from turnover.runs.store.provenance import now, provenance
from turnover.runs.store.run import Run, require

log = logging.getLogger("turnover")

Experiments = Annotated[list[str], Field(min_length=1)]


class ValidateJob(Group):
    """conf/validate.yaml, typed."""

    truth: Experiments  # whose runs are the ground truth
    estimates: Experiments  # whose scores are held against them
    leave_one_out: Experiments  # what is memorized by definition, of some examples
    influence: Experiments  # whose influences on test examples are held against those of the same networks
    scale: Literal["smoke", "laptop", "paper"]  # which runs are compared
    launcher: str | None = None  # of the runs that are missing, as hydra/launcher; null: none is made
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]  # as of a run


def make(job: ValidateJob) -> Path:
    """Write table.csv, exposure.csv, leave_one_out.csv, all examples of each data set with their scores, four pictures
    and validate.json; returns the table's path.

    Raises:
        RunFailed: a run is missing and none is to be made; names the command that makes it.
    """
    if job.launcher is not None:  # hundreds of runs of seconds each: a dashboard of each would take longer than the run
        names = dict.fromkeys([*job.truth, *job.estimates, *job.leave_one_out, *job.influence])
        make_runs(list(names), job.scale, job.launcher, ["logger=none"])
    folder = outputs_root() / "validate" / job.scale
    of_truth, of_estimates, left_out, of_influence = (
        _finished(names, job.scale) for names in (job.truth, job.estimates, job.leave_one_out, job.influence)
    )
    truths = {Condition.of(config): truth(config) for config in of_truth}
    log.info("%d finished runs; bootstrap of every measure, some minutes", len(of_truth) + len(of_estimates))
    estimates = gather(of_estimates)
    table = ordered(pd.DataFrame(rows(estimates, truths)))
    exposed = pd.concat([exposure(config, truths[Condition.of(config)]) for config in of_truth], ignore_index=True)
    conditions = [(config, Condition.of(config)) for config in left_out]
    exact = pd.concat(
        [against_leave_one_out(config, estimates[condition], truths[condition]) for config, condition in conditions],
        ignore_index=True,
    )
    for name, numbers in (("table", table), ("exposure", exposed), ("leave_one_out", exact)):
        with replacing(folder / f"{name}.csv") as temporary:
            numbers.to_csv(temporary, index=False, float_format="%.5g")
    for condition, of_condition in truths.items():
        if masked := sub_network_runs(condition, of_estimates):  # at smoke scale not of every data set
            numbers = examples(masked, estimates[condition], of_condition)
            write_examples(folder / file_name(condition.dataset), numbers)
    by_dataset = {condition.dataset: of_condition for condition, of_condition in truths.items()}
    lines = _lines(job.scale, of_truth, of_estimates, by_dataset)
    with style():
        pictures = {
            "agreement": agreement(table, by_dataset),
            "detection": detection(table),
            "cost": cost(table, by_dataset),
            "exposure": draw_exposure(exposed),
        }
        for name, (picture, title, note) in pictures.items():
            finish(picture, title, [note, *lines])
            save(picture, folder / name)
    runs = {Run(config).name: config for config in [*of_truth, *of_estimates, *left_out, *of_influence]}
    manifests = {name: Run(config).manifest for name, config in runs.items()}
    result: dict[str, Any] = {
        "scale": job.scale,
        "columns": COLUMNS,
        "bootstrap_replicates": REPLICATES,
        "truth": {
            name: {
                "networks": of_dataset.networks,
                "reliability": of_dataset.reliability,
                "ceiling": {key: of_dataset.ceiling(*key.split("/")) for key in of_dataset.reliability},
            }
            for name, of_dataset in by_dataset.items()
        },
        "leave_one_out": {config.dataset.name: {"reliability": split_seeds(config)} for config in left_out},
        "influence": _influence(of_truth, of_influence),
        "settings": lines,
        "runs": len(manifests),
        "training_seconds": round(sum(manifest["seconds"] for manifest in manifests.values()), 1),
        "commits": sorted({manifest["commit"] for manifest in manifests.values()}),
        "machines": sorted({str(manifest["machine"]["processor"]) for manifest in manifests.values()}),
        "made": now(),
        **provenance(),
    }
    write_json(folder / "validate.json", result)
    show_figure(
        job.logger,
        job.model_dump(mode="json"),
        name=f"validate-{job.scale}",
        group="validate",
        scale=job.scale,
        pictures={title: folder / f"{name}.png" for name, (_, title, _) in pictures.items()},
        numbers=table,
        files=[path for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".json", ".png")],
        runs=runs.values(),
    )
    return folder / "table.csv"


def _influence(of_truth: Sequence[RunConfig], of_influence: Sequence[RunConfig]) -> dict[str, dict[str, float]]:
    """Return the agreement of influences, of every data set with several runs."""
    agreements: dict[str, dict[str, float]] = {}
    for config in of_truth:
        runs = [run for run in of_influence if Condition.of(run) == Condition.of(config)]
        if len(runs) > 1:
            agreements[config.dataset.name] = influence_agreement(config, runs)
    return agreements


def _finished(experiments: Sequence[str], scale: str) -> list[RunConfig]:
    runs = {Run(config).name: config for config in runs_of(experiments, scale)}
    for config in runs.values():
        require(Run(config), f"make it with: make validate SCALE={scale}")
    return list(runs.values())


def _lines(
    scale: str, of_truth: Sequence[RunConfig], of_estimates: Sequence[RunConfig], truths: dict[str, Truth]
) -> list[str]:
    """Return the lines under every picture: data, networks, ground truth, scale."""
    lines = []
    for config in of_truth:
        name, networks = DATASETS[config.dataset.name].title, truths[config.dataset.name].networks
        wrong_labels = f" with {config.corruption.count:,} wrong labels" if config.corruption.count else ""
        same_data = (run for run in of_estimates if run.dataset.name == config.dataset.name)
        masked = next((run for run in same_data if run.turnover.name != "off"), None)
        layers = masked.turnover.layers if masked else None
        lines.append(
            f"{name}: {config.train_size:,} examples, {network(config)} (with turn-over dropout "
            + (network(masked) if masked else "none")
            + (f", masks in {', '.join(layers)}" if layers else "")
            + f"), lr {config.optimizer.lr:g}, momentum {config.optimizer.momentum:g}, batch {config.batch_size}, "
            f"{config.epochs} epochs; ground truth{wrong_labels} by {networks} networks, each trained on "
            f"{config.estimator.fractions[0]:.0%} of them."  # type: ignore[union-attr]
        )
    lines.append(f"{scale} scale.")
    return [*lines, SMOKE] if scale == "smoke" else lines
