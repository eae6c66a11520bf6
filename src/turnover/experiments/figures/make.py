"""A figure from finished runs: picture, plotted numbers, claims; nothing is trained here."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from turnover.common.files import outputs_root, remove_leftovers, replacing, write_json
from turnover.common.locks import locked
from turnover.common.text import effect
from turnover.config.compose import sweep, varied
from turnover.config.options import Group, NoLogger, WandbLogger
from turnover.experiments.figures import claims as figures
from turnover.experiments.plots.figure import FigureConfig, Plotted
from turnover.experiments.plots.notes import SMOKE, Source, notes
from turnover.experiments.plots.style import finish, save, style
from turnover.runs.dashboard import figure as live
from turnover.runs.scripts import make_runs
from turnover.runs.store import checksums
from turnover.runs.store.provenance import now, provenance
from turnover.runs.store.run import Run, require
from turnover.stats.claims import Claim

log = logging.getLogger("turnover")


class FigureJob(Group):
    """conf/figure.yaml, typed."""

    figure: FigureConfig  # an option of conf/figure
    scale: Literal["smoke", "laptop", "paper"]  # which runs are drawn
    overrides: list[str]  # of the experiment's runs; empty: as the experiment says
    launcher: str | None = None  # of the runs that are missing, as hydra/launcher; null: none is made
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]  # as of a run


def make(job: FigureJob) -> Path:
    """Make the runs that are missing, draw the figure, write fig.png, .pdf, .csv and .json; returns the png's path.

    If all is there already for the same runs and the same config, nothing is done.

    Raises:
        RunFailed: a run is missing and none is to be made; names the command that makes it.
    """
    figure, scale = job.figure, job.scale
    if job.launcher is not None:
        make_runs(figure.experiments, scale, job.launcher, job.overrides)
    sources = _sources(job)
    folder = outputs_root() / "figures" / scale
    inputs = {
        "figure": figure.model_dump(mode="json"),
        "runs": [source.folder.name for source in sources],
        "code": provenance()["commit"],
    }
    stem = "-".join([figure.name, *(text.replace("/", "_") for text in job.overrides)])
    paths = {kind: folder / f"{stem}.{kind}" for kind in ("png", "pdf", "csv", "json")}
    if not _up_to_date(paths, inputs):
        with locked(folder / f".{stem}.lock", stem):
            if not _up_to_date(paths, inputs):  # or another process has drawn it meanwhile
                remove_leftovers(each for each in folder.iterdir() if each.name.startswith(f".{stem}."))
                _draw(job, sources, inputs, paths)
                return paths["png"]
    log.info("cached: %s", paths["png"])
    return paths["png"]


def _draw(job: FigureJob, sources: list[Source], inputs: dict[str, Any], paths: dict[str, Path]) -> None:
    figure, scale = job.figure, job.scale
    configs = [source.config for source in sources]
    drawn_by, under = figures.module(figure), notes(sources, scale, job.overrides)
    plotted: Plotted = drawn_by.tabulate(sources)
    claims = figures.claims(figure, plotted, list(dict.fromkeys(config.dataset.name for config in configs)))
    with style():
        picture = drawn_by.draw(plotted.numbers, configs)
        finish(picture, _title(figure), [*plotted.notes, *under.lines])
        save(picture, paths["png"].with_suffix(""))
    with replacing(paths["csv"]) as temporary:
        plotted.numbers.to_csv(temporary, index=False)
    manifests = {source.folder.name: Run(source.config).manifest for source in sources}
    parents = {Run(parent).name: Run(parent).manifest for source in sources for parent in source.config.parents}
    recorded = ("seconds", "commit", "versions", "machine", "device", "threads", "precision", "leakage", "peak_memory")
    varying = varied(configs)
    result = {
        "title": figure.title,
        "scale": scale,
        "overrides": job.overrides,
        "inputs": inputs,
        "seeds": sorted({config.seed for config in configs}),
        "settings": under.settings,
        "reduced": under.reduced,
        "summary": figures.summary(figure, plotted.numbers, plotted.summary),
        "claims": {claim.id: claim.as_dict() for claim in claims},
        "runs": {
            name: varying[number] | {key: manifest.get(key) for key in recorded}
            for number, (name, manifest) in enumerate(manifests.items())
        },
        "score_runs": {name: {key: each.get(key) for key in recorded} for name, each in parents.items()},
        "training_seconds": round(sum(each.get("seconds", 0.0) for each in manifests.values()), 1),  # without those
        "made": now(),
        "files": _checksums(paths),
        **provenance(),
    }
    write_json(paths["json"], result)  # last: it tells that the others are complete, and which they are
    _tell(job, claims)
    live.show(
        job.logger,
        job.model_dump(mode="json"),
        name=f"{paths['png'].stem}-{scale}",
        group=figure.name,
        scale=scale,
        pictures={_title(figure): paths["png"]},
        numbers=plotted.numbers,
        files=paths.values(),
        runs=configs,
        claims=claims,
    )


def _sources(job: FigureJob) -> list[Source]:
    with_overrides = f' OVERRIDES="{" ".join(job.overrides)}"' if job.overrides else ""
    door = f"make it with: make {job.figure.name} SCALE={job.scale}{with_overrides}"
    configs = [
        config
        for name in job.figure.experiments
        for config in sweep([f"+experiment={name}", f"scale={job.scale}", *job.overrides])
    ]
    return [Source(config, require(Run(config), door)) for config in configs]


def _title(figure: FigureConfig) -> str:
    number = figure.name.removeprefix("fig")
    return f"Figure {number}. {figure.title}" if number.isdigit() else figure.title


def _up_to_date(paths: dict[str, Path], inputs: dict[str, Any]) -> bool:
    if not inputs["code"] or inputs["code"].endswith("-dirty"):
        return False
    try:
        told = json.loads(paths["json"].read_text(encoding="utf-8"))
        return isinstance(told, dict) and (told.get("inputs"), told.get("files")) == (inputs, _checksums(paths))
    except (FileNotFoundError, ValueError):  # something is missing, or what is told is damaged
        return False


def _checksums(paths: dict[str, Path]) -> dict[str, str]:
    return {kind: checksums.sha256(path) for kind, path in paths.items() if kind != "json"}


def _tell(job: FigureJob, claims: Sequence[Claim]) -> None:
    if job.scale == "smoke" and claims:
        log.info(SMOKE)
    for claim in claims:
        log.info("claim %s: %s (%s)", claim.id, claim.verdict, claim.text)
        for each in claim.measures:
            word = "condition" if each.condition else "claimed"
            bound = f", {word} {each.side} {each.threshold:g}: {each.verdict}" if each.threshold is not None else ""
            log.info("  %s %s%s", each.name, effect(each.effect, each.interval), bound)
