"""Notebooks from scripts: cells are marked by # %%, and nothing of a run is kept."""

from pathlib import Path

import jupytext
import nbformat

from turnover.common.files import checkout


def scripts() -> list[Path]:
    """Return the scripts that notebooks are made from."""
    return sorted((checkout() / "notebooks").glob("*.py"))


def made_from(script: Path) -> nbformat.NotebookNode:
    """Return the notebook of a script, without outputs; its cells are numbered, so that it is the same each time."""
    notebook: nbformat.NotebookNode = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def text_of(script: Path) -> str:
    """Return the content of the file of its notebook."""
    return str(nbformat.writes(made_from(script), version=4)) + "\n"
