"""The page itself: templates, style and scripts of this package, put into one file that asks for nothing else."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

SCRIPTS = ("data.js", "explorer.js", "detail.js", "scatter.js")


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
