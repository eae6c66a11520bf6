"""`make report`: one page that opens offline, from finished figures, the validation and the examples behind them."""

import json
import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from turnover.common.files import outputs_root, replacing
from turnover.common.text import size
from turnover.config.options import Group
from turnover.experiments import results
from turnover.experiments.report import sections, sets
from turnover.experiments.report.claims import by_construction, claims, corrected, tally
from turnover.experiments.report.explorer import explorer, figure, small
from turnover.experiments.results import Result, Validation
from turnover.runs.store.provenance import now, provenance

SCRIPTS = ("search.js", "data.js", "explorer.js", "detail.js", "scatter.js")


def write(path: Path, **content: Any) -> None:
    """Write the whole page, part by part, all or nothing."""
    environment = Environment(
        loader=PackageLoader("turnover.experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embed"] = embed
    folder = files("turnover.experiments.report").joinpath("templates")
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    script = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    parts = environment.get_template("page.html").generate(style=style, script=script, **content)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(parts)


def embed(value: Any) -> str:
    """Return plain data as json that may be put inside a script element."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


log = logging.getLogger("turnover")

PICTURES = {  # of the validation: what they show
    "agreement": "Agreement of every estimator with the ground truth",
    "detection": "Wrong labels found, by how many are wrong",
    "exposure": "Whom an attacker finds, by how much is memorized",
}


FIRST = ("fig2", "fig3")  # figures that the first screen shows small, besides the validation


class ReportJob(Group):
    """conf/report.yaml, typed."""

    scale: Literal["smoke", "laptop", "paper"]
    examples: list[str]  # experiments whose score runs the explorer shows


def make(job: ReportJob) -> Path:
    """Write outputs/report/index.html; returns its path. Nothing is trained and nothing is fetched.

    Raises:
        RunFailed: there is no figure at this scale.
    """
    scales = ("laptop", "paper") if job.scale == "laptop" else (job.scale,)  # laptop scale has the paper's beside it
    by_scale = [results.results(scale) for scale in scales]
    every = [result for of_scale in by_scale for result in of_scale]
    validation = results.validation(job.scale)
    examples, missing = sets.from_store(job.examples, job.scale)
    examples += sets.from_validation(validation) if validation else []
    count, packed = len(examples), explorer(examples, missing, job.scale)
    del examples  # tables may be large
    rows = claims(by_scale)
    of_paper = [row for row in rows if row.paper_figure]
    leakage = next((result for result in every if result.base == "leakage"), None)
    bench = results.benchmark(job.scale)
    path = outputs_root() / "report" / "index.html"
    write(
        path,
        scales=scales,
        claims=rows,
        tallies=[tally(of_paper, scale) for scale in range(len(scales))],
        trivial=[by_construction(of_paper, scale) for scale in range(len(scales))],
        corrected=[
            corrected(pair for result in of_scale for pair in result.values["claims"].items()) for of_scale in by_scale
        ],
        thumbnails=thumbnails(every, validation),
        figures={name: [*map(sections.shown, group)] for name, group in sections.grouped(every).items()},
        explorer=packed,
        leakage=leakage and sections.shown(leakage),
        variants=leakage and sections.variants(leakage),
        leaking=sections.leaking(every),
        validation=validation,
        agreement=validation and sections.agreement(validation),
        pictures=validation and {title: figure(validation.folder / f"{name}.png") for name, title in PICTURES.items()},
        cost=validation and figure(validation.folder / "cost.png"),
        bench=bench and (sections.speed(bench[0]), bench[1]),
        times=sections.times(every),
        provenance=sections.provenance(every),
        made=now(),
        here=provenance(),
        smoke=job.scale == "smoke",
    )
    log.info("%d figures, %d sets of examples, %s", len(every), count, size(path.stat().st_size))
    return path


def thumbnails(every: Sequence[Result], validation: Validation | None) -> list[dict[str, str]]:
    """Return small pictures, what each shows and where it leads to: at most three, of one scale."""
    of_scale = {result.base: result for result in every if result.scale == every[0].scale}
    first = [(name, result.values["title"], result.picture) for name, result in of_scale.items() if name in FIRST]
    if validation:
        first.append(("validation", PICTURES["agreement"], validation.folder / "agreement.png"))
    return [{"to": name, "words": words, "picture": small(path)} for name, words, path in first]
