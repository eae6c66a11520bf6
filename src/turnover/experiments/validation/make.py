"""`make validate`: the table of all estimators against ground truth, its pictures, and what they were made from."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from turnover.common.files import outputs_root, replacing, write_json
from turnover.config.options import Group, NoLogger, WandbLogger
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import runs_of
from turnover.experiments.plots.style import finish, save, style
from turnover.experiments.results import Values
from turnover.experiments.validation.earlier import Earlier
from turnover.experiments.validation.parts import added, assembled, scale_lines
from turnover.experiments.validation.plots import agreement, cost, detection, early, exposure
from turnover.experiments.validation.table import COLUMNS, REPLICATES
from turnover.experiments.validation.truth import file_name, write_examples
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
    onto: str | None = None  # an earlier validation to which the estimates are added; null: all is made
    launcher: str | None = None  # of the runs that are missing, as hydra/launcher; null: none is made
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]  # as of a run


def make(job: ValidateJob) -> Path:
    """Write table.csv, exposure.csv, leave_one_out.csv, all examples of each data set with their scores, the pictures
    and validate.json; returns the table's path.

    Raises:
        RunFailed: a run is missing and none is to be made; names the command that makes it.
    """
    earlier = Earlier.of(Path(job.onto), job.scale) if job.onto else None
    kinds = [job.estimates] if earlier else [job.truth, job.estimates, job.leave_one_out, job.influence]
    if job.launcher is not None:  # hundreds of runs of seconds each: a dashboard of each would take longer than the run
        names = dict.fromkeys(name for names in kinds for name in names)
        make_runs(list(names), job.scale, job.launcher, ["logger=none"])
    folder = outputs_root() / "validate" / job.scale
    finished = [_finished(names, job.scale) for names in kinds]
    log.info("%d finished runs; bootstrap of every measure, some minutes", sum(map(len, finished)))
    parts = added(earlier, finished[0], runs_of(job.truth, job.scale)) if earlier else assembled(*finished)
    for name, numbers in parts.tables.items():
        with replacing(folder / f"{name}.csv") as temporary:
            numbers.to_csv(temporary, index=False, float_format="%.5g")
    for dataset, numbers in parts.examples.items():
        write_examples(folder / file_name(dataset), numbers)
    table = parts.tables["table"]
    lines = [*parts.settings, *scale_lines(job.scale)]
    with style():
        pictures = {
            "agreement": agreement(table, parts.truths),
            "detection": detection(table),
            "cost": cost(table, parts.truths),
            "exposure": exposure(parts.tables["exposure"]),
        }
        if table["estimator"].str.contains("/").any():  # an earlier validation may have no scores along a training
            pictures["early"] = early(table)
        for name, (picture, title, note) in pictures.items():
            finish(picture, title, [note, *lines])
            save(picture, folder / name)
    runs = {Run(config).name: config for of_kind in finished for config in of_kind}
    manifests = {name: Run(config).manifest for name, config in runs.items()}
    seconds = {name: float(manifest["seconds"]) for name, manifest in manifests.items()}
    result: Values = {
        "scale": job.scale,
        "columns": COLUMNS,
        "bootstrap_replicates": REPLICATES,
        "truth": {
            name: {
                "networks": of_dataset.networks,
                "reliability": of_dataset.reliability,
                "ceiling": {key: of_dataset.ceiling(*key.split("/")) for key in of_dataset.reliability},
            }
            for name, of_dataset in parts.truths.items()
        },
        "leave_one_out": parts.leave_one_out,
        "influence": parts.influence,
        "settings": lines,
        "runs": len(manifests),
        "training_seconds": round(sum(seconds.values()), 1),
        "commits": sorted({manifest["commit"] for manifest in manifests.values()}),
        "machines": sorted({str(manifest["machine"]["processor"]) for manifest in manifests.values()}),
        "made": now(),
        **provenance(),
    }
    write_json(folder / "validate.json", earlier.provenance(result, seconds) if earlier else result)
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


def _finished(experiments: Sequence[str], scale: str) -> list[RunConfig]:
    runs = {Run(config).name: config for config in runs_of(experiments, scale)}
    for config in runs.values():
        require(Run(config), f"make it with: make validate SCALE={scale}")
    return list(runs.values())
