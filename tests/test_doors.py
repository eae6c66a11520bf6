"""The doors: every make target is listed, every figure has one, and the README's own code runs."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import turnover


def test_make_lists_every_figure_and_command(root: Path) -> None:
    done = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True)
    figures = [path.stem for path in (root / "conf" / "figure").glob("*.yaml")]
    for target in ("data", "test", "bench", "reproduce", *figures):
        assert re.search(rf"^  make {target} +\S", done.stdout, flags=re.MULTILINE), target


def readme_code(root: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), flags=re.DOTALL)


def test_readme_examples_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every python block of the README, in order, with one seed where a reader uses five."""
    blocks = readme_code(root)
    assert len(blocks) == 2
    concepts = (root / "docs" / "concepts.md").read_text()
    blocks += re.findall(r"```python\n(.*?)```", concepts[concepts.index("In Python:") :], flags=re.DOTALL)[:1]
    real = turnover.memorization

    def quick(*arguments: Any, **options: Any) -> pd.DataFrame:
        return real(*arguments, **(options | {"seeds": 1, "progress": False}))

    monkeypatch.setattr(turnover, "memorization", quick, raising=False)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    table, y, true = names["table"], names["y"], names["digits"].target
    assert roc_auc_score(y.numpy() != true, table["score"]) > 0.96
    assert {"scores", "suspects", "lengths"} <= names.keys()
