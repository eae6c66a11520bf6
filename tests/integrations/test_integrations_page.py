"""The programs of the page on other libraries find the wrong labels, with five added lines or less."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from readings import page
from sklearn.metrics import roc_auc_score

WRONG = np.arange(1000) < 100


def program(heading: str) -> str:
    """The code below a heading, or at the beginning of the page."""
    text = page("integrations.md").partition(f"\n## {heading}\n" if heading else "#")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return str(code)


def run(*headings: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "integrations"}
    torch.manual_seed(0)
    for heading in ("", *headings):
        exec(compile(program(heading), "integrations.md", "exec"), names)
    return names


def test_scikit_learn_and_cleanlab() -> None:
    names = run("scikit-learn", "cleanlab")
    assert roc_auc_score(WRONG, names["scorer"].scores_) > 0.95
    issues = names["learner"].get_label_issues()
    assert (issues["is_label_issue"] == WRONG).mean() > 0.95
    true = np.where(WRONG, (names["y"] - 1) % 10, names["y"])
    assert (names["learner"].predict(names["x"].numpy()) == true).mean() > 0.9


@pytest.mark.parametrize(("heading", "needed"), [("Hugging Face", "accelerate"), ("Lightning", "lightning")])
def test_a_trainer(heading: str, needed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    assert 0 < program(heading).count("# +") <= 5
    names = run("scikit-learn", heading) if heading == "Lightning" else run(heading)
    assert roc_auc_score(WRONG, names["table"]["score"]) > 0.9
