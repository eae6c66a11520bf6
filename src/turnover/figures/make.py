"""A figure from finished runs: picture, plotted numbers, claims; nothing is trained here."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from turnover.claims import Claim
from turnover.config import Group, NoLogger, RunConfig, WandbLogger
from turnover.experiments import sweep, varied
from turnover.facts import FACTS
from turnover.figures.style import finish, style
from turnover.store import Run, now, outputs_root, provenance, replacing, require, write_json
from turnover.tracking import dashboard
from turnover.values import flatten

log = logging.getLogger("turnover")

_SMOKE = "Smoke scale proves that all works; its numbers and verdicts mean nothing."


class Threshold(Group):
    """On which side of which number a measure must lie; neither: it is reported only."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.above is not None and self.below is not None:
            raise ValueError(f"above {self.above:g} and below {self.below:g}: give one of them")
        return self


class ClaimConfig(Group):
    text: str
    measures: dict[str, Threshold]


class FigureConfig(Group):
    name: str
    title: str
    experiment: str | None  # whose runs it draws; null: none
    claims: dict[str, ClaimConfig]


class FigureJob(Group):
    """conf/figure.yaml, typed."""

    figure: FigureConfig
    scale: Literal["smoke", "laptop", "paper"]
    logger: Annotated[NoLogger | WandbLogger, Field(discriminator="name")]


@dataclass(frozen=True)
class Drawn:
    """What a figure's own module returns."""

    picture: Figure
    numbers: pd.DataFrame  # what is plotted, one row a point or bar
    claims: list[Claim] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A finished run that a figure draws."""

    config: RunConfig
    folder: Path


def make(job: FigureJob) -> Path:
    """Draw the figure and write fig.png, .pdf, .csv and .json; returns the png's path.

    If all is there already for the same runs and the same config, nothing is done.

    Raises:
        RunFailed: a run is missing; names the command that makes it.
    """
    figure, scale = job.figure, job.scale
    sources = _sources(figure, scale)
    folder = outputs_root() / "figures" / scale
    inputs = {
        "figure": figure.model_dump(mode="json"),
        "runs": [source.folder.name for source in sources],
        "code": provenance()["commit"],
    }
    paths = {kind: folder / f"{figure.name}.{kind}" for kind in ("png", "pdf", "csv", "json")}
    if _up_to_date(paths, inputs):
        log.info("cached: %s", paths["png"])
        return paths["png"]
    notes = describe(sources, scale)
    with style():
        drawn: Drawn = import_module(f"turnover.figures.{figure.name}").draw(figure, sources)
        finish(drawn.picture, f"Figure {figure.name.removeprefix('fig')}. {figure.title}", notes.lines)
        for kind in ("png", "pdf"):
            with replacing(paths[kind]) as temporary:
                drawn.picture.savefig(temporary, format=kind, metadata=_metadata(kind))
    with replacing(paths["csv"]) as temporary:
        drawn.numbers.to_csv(temporary, index=False)
    manifests = {source.folder.name: Run(source.config).manifest for source in sources}
    recorded = ("seconds", "commit", "versions", "machine", "device", "leakage", "peak_memory")
    varying = varied([source.config for source in sources])
    result = {
        "title": figure.title,
        "scale": scale,
        "inputs": inputs,
        "seeds": sorted({source.config.seed for source in sources}),
        "settings": notes.settings,
        "reduced": notes.reduced,
        "claims": {claim.id: claim.as_dict() for claim in drawn.claims},
        "runs": {
            name: varying[number] | {key: manifest.get(key) for key in recorded}
            for number, (name, manifest) in enumerate(manifests.items())
        },
        "training_seconds": round(sum(manifest.get("seconds", 0.0) for manifest in manifests.values()), 1),
        "made": now(),
        **provenance(),
    }
    write_json(paths["json"], result)  # last: it tells that the others are complete
    _show(job, paths["png"], drawn.claims)
    return paths["png"]


@dataclass(frozen=True)
class Notes:
    """What a reader must know about a figure's runs."""

    lines: list[str]
    settings: dict[str, Any]
    reduced: list[str]


def describe(sources: Sequence[Source], scale: str) -> Notes:
    """Data, model, training and seeds of the runs, and what was reduced from the paper's setting."""
    if not sources:
        return Notes(["Masks of seed 0, p = 0.5; nothing is trained, so every scale shows the same."], {}, [])
    configs = [source.config for source in sources]
    first = configs[0]
    seeds = ", ".join(str(seed) for seed in sorted({config.seed for config in configs}))
    reduced = [] if scale == "paper" else _reduced(configs)
    model = first.model.name.upper() + (
        f" {'-'.join(map(str, first.model.hidden))} hidden" if first.model.hidden else ""
    )
    lines = [
        f"{FACTS[first.dataset.name].title}, {first.train_size:,} training examples; {model}, "
        f"SGD lr {first.optimizer.lr:g}, momentum {first.optimizer.momentum:g}, batch {first.batch_size}, "
        f"{first.epochs} epochs; seeds {seeds}.",
        f"{scale} scale" + (f"; reduced: {'; '.join(reduced)}." if reduced else ": the paper's setting."),
    ]
    if scale == "smoke":
        lines.append(_SMOKE)
    same = {name: value for name, value in flatten(first.science()).items() if name not in varied(configs)[0]}
    return Notes(lines, same, reduced)


def _reduced(configs: Sequence[RunConfig]) -> list[str]:
    """Every field in which the runs differ from the same experiment at the paper's scale."""
    paper = sweep([f"+experiment={configs[0].experiment}", "scale=paper"])
    found: dict[str, None] = {}  # a set that keeps its order
    for ours, theirs in zip(configs, paper, strict=True):
        here, there = flatten(ours.science()), flatten(theirs.science())
        for name in here:
            if here[name] != there.get(name):
                found[f"{name} {_said(here[name])} (paper: {_said(there.get(name))})"] = None
    return list(found)


def _said(value: Any) -> str:
    return "all" if value is None else str(value)


def _sources(figure: FigureConfig, scale: str) -> list[Source]:
    if figure.experiment is None:
        return []
    overrides = [f"+experiment={figure.experiment}", f"scale={scale}"]
    command = f"make it with: make {figure.name} SCALE={scale}"
    return [Source(config, require(Run(config), command)) for config in sweep(overrides)]


def _up_to_date(paths: dict[str, Path], inputs: dict[str, Any]) -> bool:
    import json

    if not all(path.exists() for path in paths.values()) or not inputs["code"] or inputs["code"].endswith("-dirty"):
        return False
    return bool(json.loads(paths["json"].read_text(encoding="utf-8")).get("inputs") == inputs)


def _metadata(kind: str) -> dict[str, Any]:
    # no time of making in the file: the same numbers give the same bytes
    return {"CreationDate": None} if kind == "pdf" else {}


def _show(job: FigureJob, png: Path, claims: Sequence[Claim]) -> None:
    if job.scale == "smoke" and claims:
        log.info(_SMOKE)
    for claim in claims:
        log.info("claim %s: %s (%s)", claim.id, claim.verdict, claim.text)
        for each in claim.measures:
            bound = f", claimed {each.side} {each.threshold:g}: {each.verdict}" if each.threshold is not None else ""
            low, high = each.interval
            log.info("  %s %.3f [%.3f, %.3f]%s", each.name, each.effect, low, high, bound)
    name = f"{job.figure.name}-{job.scale}"
    with dashboard(
        job.logger,
        folder=png.parent,
        name=name,
        job="figure",
        group=job.figure.experiment,
        tags=[job.figure.name, job.scale],
        config=job.model_dump(mode="json"),
    ) as live:
        live.picture(job.figure.name, png)
        live.summarise({f"claim {claim.id}": claim.verdict for claim in claims})
