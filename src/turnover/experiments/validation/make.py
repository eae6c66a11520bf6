"""`make validate`: the table of all estimators against ground truth, its pictures, and what they were made from."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from turnover.common.files import outputs_root, replacing, write_json
from turnover.config.compose import sweep
from turnover.config.datasets import DATASETS
from turnover.config.options import Group, NoLogger, WandbLogger
from turnover.config.run import RunConfig
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

    truth: Experiments  # whose runs say what is memorized
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
    truths = {Condition.of(config): (config, truth(config)) for config in of_truth}
    log.info("%d finished runs; bootstrap of every measure, some minutes", len(of_truth) + len(of_estimates))
    found = gather(of_estimates)
    table = ordered(pd.DataFrame(rows(found, {condition: known for condition, (_, known) in truths.items()})))
    exposed = pd.concat([exposure(config, known) for config, known in truths.values()], ignore_index=True)
    exact = pd.concat(
        [
            against_leave_one_out(config, found[Condition.of(config)], truths[Condition.of(config)][1])
            for config in left_out
        ],
        ignore_index=True,
    )
    for name, numbers in (("table", table), ("exposure", exposed), ("leave_one_out", exact)):
        with replacing(folder / f"{name}.csv") as temporary:
            numbers.to_csv(temporary, index=False, float_format="%.5g")
    for condition, (_, known) in truths.items():
        if masked := sub_network_runs(condition, of_estimates):  # at smoke scale not of every data set
            write_examples(folder / file_name(condition.dataset), examples(masked, found[condition], known))
    known_truths = {condition.dataset: known for condition, (_, known) in truths.items()}
    lines = _lines(job.scale, of_truth, of_estimates, known_truths)
    with style():
        pictures = {
            "agreement": agreement(table, known_truths),
            "detection": detection(table),
            "cost": cost(table, known_truths),
            "exposure": draw_exposure(exposed),
        }
        for name, (picture, title, own_lines) in pictures.items():
            finish(picture, title, [*own_lines, *lines])
            save(picture, folder / name)
    everything = {Run(config).name: config for config in [*of_truth, *of_estimates, *left_out, *of_influence]}
    manifests = {name: Run(config).manifest for name, config in everything.items()}
    result: dict[str, Any] = {
        "scale": job.scale,
        "columns": COLUMNS,
        "bootstrap_replicates": REPLICATES,
        "truth": {
            name: {
                "networks": known.networks,
                "reliability": known.reliability,
                "ceiling": {key: known.ceiling(*key.split("/")) for key in known.reliability},
            }
            for name, known in known_truths.items()
        },
        "leave_one_out": {config.dataset.name: {"reliability": split_seeds(config)} for config in left_out},
        "influence": _influence(of_truth, of_influence),
        "settings": lines,
        "runs": len(manifests),
        "training_seconds": round(sum(each["seconds"] for each in manifests.values()), 1),
        "commits": sorted({each["commit"] for each in manifests.values()}),
        "machines": sorted({str(each["machine"]["processor"]) for each in manifests.values()}),
        "made": now(),
        **provenance(),
    }
    write_json(folder / "validate.json", result)
    written = [path for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".json", ".png")]
    show_figure(
        job.logger,
        job.model_dump(mode="json"),
        name=f"validate-{job.scale}",
        group="validate",
        scale=job.scale,
        pictures={title: folder / f"{name}.png" for name, (_, title, _) in pictures.items()},
        numbers=table,
        files=written,
        runs=everything.values(),
    )
    return folder / "table.csv"


def _influence(of_truth: Sequence[RunConfig], of_influence: Sequence[RunConfig]) -> dict[str, dict[str, float]]:
    """Agreement of influences, for every data set that has some."""
    found: dict[str, dict[str, float]] = {}
    for config in of_truth:
        alike = [other for other in of_influence if Condition.of(other) == Condition.of(config)]
        if len(alike) > 1:
            found[config.dataset.name] = influence_agreement(config, alike)
    return found


def _finished(experiments: Sequence[str], scale: str) -> list[RunConfig]:
    configs = [config for name in experiments for config in sweep([f"+experiment={name}", f"scale={scale}"])]
    for config in configs:
        require(Run(config), f"make it with: make validate SCALE={scale}")
    return list({Run(config).name: config for config in configs}.values())


def _lines(
    scale: str, of_truth: Sequence[RunConfig], of_estimates: Sequence[RunConfig], truths: dict[str, Truth]
) -> list[str]:
    """What stands under every picture: data, networks, ground truth, scale."""
    lines = []
    for config in of_truth:
        name, known = DATASETS[config.dataset.name].title, truths[config.dataset.name]
        wrong = f" with {config.corruption.count:,} wrong labels" if config.corruption.count else ""
        lines.append(
            f"{name}: {config.train_size:,} examples, {network(config)} (with turn-over dropout "
            f"{_with_turnover(config, of_estimates)}), lr {config.optimizer.lr:g}, momentum "
            f"{config.optimizer.momentum:g}, batch {config.batch_size}, {config.epochs} epochs; ground truth{wrong} by "
            f"{known.networks} networks, each trained on {config.estimator.fractions[0]:.0%} of them."  # type: ignore[union-attr]
        )
    lines.append(f"{scale} scale.")
    return [*lines, SMOKE] if scale == "smoke" else lines


def _with_turnover(config: RunConfig, among: Sequence[RunConfig]) -> str:
    masked = [each for each in among if each.dataset.name == config.dataset.name and each.turnover.name != "off"]
    layers = masked[0].turnover.layers if masked else None
    return (network(masked[0]) if masked else "none") + (f", masks in {', '.join(layers)}" if layers else "")
