"""Hooks of mkdocs: generated parts of pages, and the committed pictures, which lie outside docs/."""

from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from turnover.experiments.documentation.pages import filled
from turnover.experiments.results import SCALES, reference


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures of outputs/reference as pictures/SCALE/NAME.png."""
    for scale in SCALES:
        for path in sorted(reference(scale).rglob("*.png")):
            name = f"pictures/{scale}/{path.relative_to(reference(scale)).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is generated into a page; its pictures are named as a reader of the plain file finds them."""
    return filled(markdown.replace("](../outputs/reference/", "](pictures/"))


def block(source: str, *_arguments: Any, **_options: Any) -> str:
    """Return a fenced block ```math as an equation on a line of its own; `source` is LaTeX."""
    return f'<div class="equation">{convert(source, display="block")}</div>'


def inline(source: str, *_arguments: Any, **_options: Any) -> str:
    """Return `#!math ...` within a line as an equation; `source` is LaTeX."""
    return convert(source)
