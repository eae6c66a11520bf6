"""A figure from finished runs: picture, plotted numbers, claims; nothing is trained here."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from turnover.common.files import locked, outputs_root, remove_leftovers, replacing, write_json
from turnover.common.text import effect
from turnover.config.compose import varied
from turnover.config.options import Group, NoLogger, WandbLogger
from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.experiments.figures import interface as figures
from turnover.experiments.plots.differences import Recorded, recorded
from turnover.experiments.plots.figure import FigureConfig, Plotted, configured, runs_of
from turnover.experiments.plots.notes import SMOKE, Notes, Source, notes
from turnover.experiments.plots.style import finish, save, style
from turnover.experiments.results import intact, paper_number, read, read_figure, sealed
from turnover.runs.dashboard.summary import show_figure
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
    overrides: list[str]  # of the experiment's runs; empty: none
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
    runs = [source.folder.name for source in sources]
    inputs = {"figure": figure.model_dump(mode="json"), "runs": runs, "code": provenance()["commit"]}
    stem = "-".join([figure.name, *(text.replace("/", "_") for text in job.overrides)])
    paths = {kind: folder / f"{stem}.{kind}" for kind in ("png", "pdf", "csv", "json")}
    if not _up_to_date(paths, inputs):
        with locked(folder / f".{stem}.lock", stem):
            if not _up_to_date(paths, inputs):  # or another process has drawn it meanwhile
                remove_leftovers(path for path in folder.iterdir() if path.name.startswith(f".{stem}."))
                _draw(job, sources, inputs, paths)
                return paths["png"]
    log.info("cached: %s", paths["png"])
    return paths["png"]


def _draw(job: FigureJob, sources: list[Source], inputs: dict[str, Any], paths: dict[str, Path]) -> None:
    figure, scale = job.figure, job.scale
    configs = [source.config for source in sources]
    plotted: Plotted = figures.module(figure).tabulate(sources)
    claims = figures.claims(figure, plotted, list(dict.fromkeys(config.dataset.name for config in configs)), scale)
    summary = figures.summary(figure, plotted.numbers, plotted.summary)
    manifests, parents = recorded(configs), recorded([parent for config in configs for parent in config.parents])
    with replacing(paths["csv"]) as temporary:
        plotted.numbers.to_csv(temporary, index=False)
    # from the table as it is written, so that it can be drawn again to the last bit
    under = _picture(job, _read(paths["csv"]), summary, configs, manifests | parents, paths["png"])
    kept = ("seconds", "commit", "versions", "machine", "device", "threads", "precision", "leakage", "peak_memory")
    varying = varied(
        list({Run(config).name: config for config in configs}.values())
    )  # a run that is drawn twice is one
    result = {
        "title": figure.title,
        "scale": scale,
        "overrides": job.overrides,
        "inputs": inputs,
        "seeds": sorted({config.seed for config in configs}),
        "settings": under.settings,
        "reduced": under.reduced,
        "summary": summary,
        "claims": {claim.id: claim.as_dict() for claim in claims},
        "runs": {
            name: differing | {key: manifest.get(key) for key in kept}
            for differing, (name, manifest) in zip(varying, manifests.items(), strict=True)
        },
        "score_runs": {name: {key: manifest.get(key) for key in kept} for name, manifest in parents.items()},
        "training_seconds": round(sum(manifest.get("seconds", 0.0) for manifest in manifests.values()), 1),
        "made": now(),
        "files": _checksums(paths),
        **provenance(),
    }
    write_json(paths["json"], sealed(result))  # last: its checksums vouch for the others, and for itself
    _log(job, claims)
    show_figure(
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


def _picture(
    job: FigureJob,
    numbers: pd.DataFrame,
    summary: dict[str, Any],
    configs: Sequence[RunConfig],
    recorded: Recorded,
    png: Path,
) -> Notes:
    """Write the picture of these plotted numbers; returns the notes under it."""
    module = figures.module(job.figure)
    drawn = module.drawn(configs) if hasattr(module, "drawn") else configs
    under = notes(drawn, recorded, job.scale, job.overrides)
    first = [module.note(summary, configs)] if hasattr(module, "note") else []
    with style():
        picture = module.draw(numbers, configs)
        finish(picture, _title(job.figure), [*first, *under.lines])
        save(picture, png.with_suffix(""))
    return under


def redraw(path: Path) -> None:
    """Draw a figure again from its csv and its json, without its runs.

    Args:
        path: of its json; the checksums of the picture and of the json are changed there, and nothing else.

    Raises:
        RunFailed: its runs are not those that conf/ names, or the json is not as it was written.
    """
    result, figure = read_figure(path), configured(path.stem.partition("-")[0])
    job = FigureJob(figure=figure, scale=result["scale"], overrides=result["overrides"], logger=NoLogger(name="none"))
    configs = runs_of(figure.experiments, job.scale, job.overrides)
    if result["inputs"]["runs"] != [Run(config).name for config in configs]:
        raise RunFailed(f"{path}: drawn from other runs than those of conf/, so its settings are not known")
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / path.with_suffix(".png").name
        _picture(
            job, _read(path.with_suffix(".csv")), result["summary"], configs, result["runs"] | result["score_runs"], png
        )
        for kind in ("png", "pdf"):
            drawn, beside = png.with_suffix(f".{kind}"), path.with_suffix(f".{kind}")
            if "files" in result:  # older ones have none
                result["files"][kind] = checksums.sha256(drawn)
            if beside.is_file():
                with replacing(beside) as temporary:
                    shutil.copyfile(drawn, temporary)
    write_json(path, sealed(result))


def _sources(job: FigureJob) -> list[Source]:
    with_overrides = f' OVERRIDES="{" ".join(job.overrides)}"' if job.overrides else ""
    door = f"make it with: make {job.figure.name} SCALE={job.scale}{with_overrides}"
    configs = runs_of(job.figure.experiments, job.scale, job.overrides)
    return [Source(config, require(Run(config), door)) for config in configs]


def _title(figure: FigureConfig) -> str:
    number = paper_number(figure.name)
    return f"Figure {number}. {figure.title}" if number else figure.title


def _up_to_date(paths: dict[str, Path], inputs: dict[str, Any]) -> bool:
    if not inputs["code"] or inputs["code"].endswith("-dirty"):
        return False
    try:
        result = read(paths["json"])
        return intact(result) and (result.get("inputs"), result.get("files")) == (inputs, _checksums(paths))
    except (FileNotFoundError, RunFailed):  # something is missing, or the json is damaged
        return False


def _checksums(paths: dict[str, Path]) -> dict[str, str]:
    return {kind: checksums.sha256(path) for kind, path in paths.items() if kind != "json"}


def _log(job: FigureJob, claims: Sequence[Claim]) -> None:
    if job.scale == "smoke" and claims:
        log.info(SMOKE)
    for claim in claims:
        log.info("claim %s: %s (%s)", claim.id, claim.verdict, claim.text)
        for measured in claim.measures:
            bound = ""
            if measured.threshold is not None:
                word = "condition" if measured.condition else "claimed"
                bound = f", {word} {measured.side} {measured.threshold:g}: {measured.verdict}"
            log.info("  %s %s%s", measured.name, effect(measured.effect, measured.interval), bound)


def _read(path: Path) -> pd.DataFrame:
    """Read plotted numbers, to the last bit as they are written."""
    return pd.read_csv(path)
