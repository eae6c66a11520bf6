"""`make report`: one page that opens offline, from finished figures, the validation and the examples behind them."""

import json
import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from turnover.common.files import outputs_root, write_text
from turnover.common.text import size
from turnover.config.options import Group
from turnover.experiments import results
from turnover.experiments.report import sections, sets
from turnover.experiments.report.claims import claims, tally
from turnover.experiments.report.explorer import explorer, figure, small
from turnover.experiments.results import Result, Validation
from turnover.runs.store.provenance import now, provenance

SCRIPTS = ("search.js", "data.js", "explorer.js", "detail.js", "scatter.js")


def render(**content: Any) -> str:
    """The whole page."""
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
    return environment.get_template("page.html").render(style=style, script=script, **content)


def embed(value: Any) -> str:
    """Plain data as json that may stand inside a script element."""
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
    scales = ("laptop", "paper") if job.scale == "laptop" else (job.scale,)  # the paper's own stand beside laptop scale
    by_scale = [results.results(scale) for scale in scales]
    every = [result for found in by_scale for result in found]
    validated = results.validation(job.scale)
    found, missing = sets.from_store(job.examples, job.scale)
    found += sets.from_validation(validated) if validated else []
    rows = claims(by_scale)
    leakage = next((result for result in every if result.base == "leakage"), None)
    bench = results.benchmark(job.scale)
    content = render(
        scales=scales,
        claims=rows,
        tallies=[tally([row for row in rows if row.paper_figure], place) for place in range(len(scales))],
        thumbnails=thumbnails(every, validated),
        figures={name: [sections.shown(each) for each in group] for name, group in sections.grouped(every).items()},
        explorer=explorer(found, missing, job.scale),
        leakage=sections.shown(leakage) if leakage else None,
        variants=sections.variants(leakage) if leakage else None,
        leaking=sections.leaking(every),
        validation=validated,
        agreement=sections.agreement(validated) if validated else None,
        pictures={title: figure(validated.folder / f"{name}.png") for name, title in PICTURES.items()}
        if validated
        else {},
        cost=figure(validated.folder / "cost.png") if validated else None,
        bench=bench and (sections.speed(bench[0]), bench[1]),
        times=sections.times(every),
        provenance=sections.provenance(every),
        made=now(),
        here=provenance(),
        smoke=job.scale == "smoke",
    )
    path = outputs_root() / "report" / "index.html"
    write_text(path, content)
    log.info("%d figures, %d sets of examples, %s", len(every), len(found), size(path.stat().st_size))
    return path


def thumbnails(every: Sequence[Result], validated: Validation | None) -> list[dict[str, str]]:
    """Return small pictures, what each shows and where it leads to: at most three, of one scale."""
    shown = {each.base: each for each in every if each.base in FIRST and each.scale == every[0].scale}
    found = [
        {"to": name, "words": each.values["title"], "picture": small(each.picture)} for name, each in shown.items()
    ]
    if validated:
        words, path = PICTURES["agreement"], validated.folder / "agreement.png"
        found.append({"to": "validation", "words": words, "picture": small(path)})
    return found
