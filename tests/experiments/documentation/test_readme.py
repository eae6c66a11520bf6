"""The README's tables are generated from results, its links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readings import ROOT, page, rows

from turnover.errors import RunFailed
from turnover.experiments.documentation import tables
from turnover.experiments.documentation.pages import filled_readme

README = page("README.md")
SCORES: dict[str, Any] = {"title": "Scores", "runs": ["a"], "overrides": []}


def test_the_readme_is_what_is_generated() -> None:
    assert filled_readme(README) == README, "make readme"


def test_a_changed_number_is_generated_anew() -> None:
    changed = re.sub(r"\| `turnover` \| [\d.]+ \|", "| `turnover` | 99.0 |", README)
    assert changed != README
    assert filled_readme(changed) == README


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(RunFailed, match="must have <!-- scores -->"):
        filled_readme(README.replace("<!-- end of scores -->", ""))


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link.replace("%3D", "=")).exists(), link


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 180


def measured(name: str, effect: float, threshold: float | None) -> dict[str, object]:
    interval = [effect - 0.1, effect + 0.1]
    return {
        "name": name,
        "effect": effect,
        "interval": interval,
        "threshold": threshold,
        "side": "above",
        "condition": False,
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of two figures and a study, one of them at paper scale too."""
    measures = [measured("auroc", 0.75, 0.5), measured("skewness", 3.0, None)]
    claim = {"text": "it holds", "verdict": "reproduced", "measures": measures}
    at_paper = claim | {"verdict": "inconclusive", "measures": [measured("auroc", 0.5, 0.5)]}
    laptop = {
        "fig10": {"title": "Last", "runs": [], "overrides": [], "claims": {}},
        "fig2": SCORES | {"claims": {"2a": claim}},
        "onion": {"title": "Onion", "runs": ["a"], "overrides": [], "claims": {}},
    }
    by_scale = {"laptop": laptop, "paper": {"fig2": SCORES | {"claims": {"2a": at_paper}}}}
    monkeypatch.setattr(tables, "results", lambda scale="laptop": by_scale[scale])
    of_figure = lambda name, scale: {stem: each for stem, each in by_scale[scale].items() if stem == name}  # noqa: E731
    monkeypatch.setattr(tables, "of_figure", of_figure)
    monkeypatch.setattr(
        tables, "two_cores", lambda: pd.DataFrame({"minutes": [3.4], "score_minutes": [1.6]}, index=["fig2"])
    )


@pytest.mark.usefixtures("made")
def test_figures_are_listed_in_order_with_verdicts_and_times() -> None:
    found = rows(tables.index("there"), "figure")
    assert found[0] == [
        "[2: Scores](there/laptop/fig2.png)",
        "`make fig2`",
        "3 min + 2 min of score runs",
        "2a reproduced",
        "[2a inconclusive](there/paper/fig2.png)",
    ]
    assert found[1:] == [
        ["[10: Last](there/laptop/fig10.png)", "`make fig10`", "seconds", "none", ""],
        ["[Onion](there/laptop/onion.png)", "`make onion`", "not timed", "none", ""],
    ]
    assert [cells[1] for cells in rows(tables.index("there", paper_only=True), "figure")] == [
        "`make fig2`",
        "`make fig10`",
    ]


@pytest.mark.usefixtures("made")
def test_claims_have_their_verdicts_and_measures_at_both_scales() -> None:
    [claim, auroc] = rows(tables.every_claim(), "claim, and what decides it")
    assert claim == ["**2a**: it holds", "", "**reproduced**", "**inconclusive**"]
    assert auroc[1:] == ["> 0.5", "0.75 [0.65, 0.85]", "0.50 [0.40, 0.60]"]
    assert [cells[2] for cells in rows(tables.by_figure("fig2"), "claim and measure")[1:]] == [
        auroc[2],
        "3.00 [2.90, 3.10]",
    ]


def test_scores_are_those_of_the_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [("cumulative_loss", 1), ("aum", 1), ("el2n", 1), ("turnover", 1), ("memorization", 80)]
    condition = {"noise": "symmetric", "wrong": 300, "augmentation": "none"}
    made = []
    for place, (name, networks) in enumerate(names):
        of_name = condition | {"estimator": name, "networks": networks, "cost": 1 + place, "precision": 0.1 * place}
        for where, dataset in enumerate(tables.DATASETS):
            made.append(of_name | {"dataset": dataset, "seeds": 1, "spearman": 0.1 * place + 0.01 * where})
            made.append(of_name | {"dataset": dataset, "seeds": 10, "spearman": 0.99})
    table = pd.DataFrame(made)
    monkeypatch.setattr(tables, "validation", lambda: table)
    found = rows(tables.brief(), "score")
    assert [cells[0] for cells in found][-2:] == ["`turnover`", "`subsampling`, 80 networks"]
    assert found[3] == ["`turnover`", "4.0", ".30 / .31 / .32", ".30 / .30 / .30"]


def test_pictures_and_pages_of_the_readme_are_committed() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all(Path(ROOT, each).is_file() for each in pictures)
