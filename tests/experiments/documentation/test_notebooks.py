"""Every notebook runs from top to bottom in a kernel of its own, and is what its script says, without outputs."""

import json
import os
import resource
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from readings import ROOT

from turnover.experiments.documentation.notebooks import made_from, scripts, text_of

SCRIPTS = pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)


def test_there_is_a_notebook_for_every_script_and_no_other() -> None:
    names = {path.stem for path in scripts()}
    assert {"quickstart", "exploring_scores", "own_model_and_data", "anatomy"} <= names
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == names


@SCRIPTS
def test_a_notebook_is_that_of_its_script_without_outputs(script: Path) -> None:
    text = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert text == text_of(script), "make notebooks"
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def computed() -> float:
    """Seconds that ended child processes have computed, whatever else the machine did."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@SCRIPTS
def test_a_notebook_runs(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    notebook, before = made_from(script), computed()
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": ROOT}}).execute()
    assert computed() - before < 180, "a reader is promised three minutes"
    nbformat.validate(notebook)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in shown if output.output_type == "error"] == []
    assert [output for output in shown if output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) or "text/html" in output.get("data", {}) for output in shown)
    if script.stem == "quickstart":
        told = "".join(output.get("text", "") for output in shown)
        assert "no sign of mask leakage" in told
        assert float(told.split("AUROC ")[1][:5]) > 0.98
