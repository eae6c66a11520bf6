"""Equations of the documentation as MathML, which every browser draws without a script or a font from elsewhere."""

from typing import Any

from latex2mathml.converter import convert


def block(source: str, *_arguments: Any, **_options: Any) -> str:
    """A fenced block ```math as an equation on a line of its own; `source` is LaTeX."""
    return f'<div class="equation">{convert(source, display="block")}</div>'


def inline(source: str, *_arguments: Any, **_options: Any) -> str:
    """`#!math ...` within a line."""
    return convert(source)
