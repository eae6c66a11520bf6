"""Tables of the README and the documentation, made from small results that lie where the committed ones do."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readings import ROOT, page

from turnover.errors import RunFailed
from turnover.experiments import results
from turnover.experiments.documentation import tables
from turnover.experiments.documentation.pages import figure, filled_readme
from turnover.experiments.plots.figure import remarks

README = page("README.md")


def test_the_readme_is_what_is_generated() -> None:
    assert filled_readme(README) == README, "make readme"


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(RunFailed, match="must have <!-- scores -->"):
        filled_readme(README.replace("<!-- end of scores -->", ""))


def test_every_link_and_picture_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link.replace("%3D", "=")).exists(), link


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 180


# --- from small results ---


def measured(name: str, effect: float, threshold: float | None) -> dict[str, Any]:
    about = {"name": name, "effect": effect, "interval": [effect - 0.1, effect + 0.1], "threshold": threshold}
    verdict = None if threshold is None else "reproduced" if effect - 0.1 > threshold else "inconclusive"
    return about | {"side": "above", "condition": False, "verdict": verdict, "by_seed": [effect - 0.05, effect + 0.05]}


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table in markdown, without its heading and what is below it."""
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:] if line[:1] == "|"]


@pytest.fixture(autouse=True)
def laptop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two figures and a study, one of them at paper scale too."""
    if "readme" in request.node.name:
        return tmp_path
    monkeypatch.setattr(results, "checkout", lambda: tmp_path)
    common = {"runs": ["a"], "overrides": [], "claims": {}, "seeds": [0, 1], "reduced": []}
    measures = [measured("top_decile_share", 0.75, 0.5), measured("skewness", 3.0, None)]
    claim = {"text": "it holds", "verdict": "reproduced", "measures": measures}
    at_paper = claim | {"verdict": "inconclusive", "measures": [measured("top_decile_share", 0.5, 0.5)]}
    write: dict[str, Any] = {
        "laptop/fig10": common | {"title": "Last", "runs": []},
        "laptop/fig2": common | {"title": "Scores", "claims": {"2a": claim}},
        "laptop/onion": common | {"title": "Onion", "summary": {"peaks": [{"lr": 0.1, "at": 12345, "of": ["a", "b"]}]}},
        "paper/fig2": common | {"title": "Scores", "claims": {"2a": at_paper}},
    }
    for name, values in write.items():
        path = tmp_path / "outputs" / "reference" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results.sealed(values)))
    plotted = {
        "panel": "a",
        "curve": "easy",
        "seed": [0, 0, 1, 1],
        "epoch": [0, 1, 0, 1],
        "value": [0.1, 0.5, 0.3, 0.9],
    }
    folder = results.reference("laptop")
    pd.DataFrame(plotted).to_csv(folder / "fig2.csv", index=False)
    for path in (folder / "fig10.csv", folder / "onion.csv", results.reference("paper") / "fig2.csv"):
        pd.DataFrame({"id": [1]}).to_csv(path, index=False)
    (folder / "two_cores.csv").write_text("figure,minutes,score_minutes\nfig2,3.4,1.6\n")
    return folder


def test_figures_are_listed_in_order_with_verdicts_and_times() -> None:
    assert rows(tables.index("there")) == [
        [
            "[2: Scores](there/laptop/fig2.png)",
            "`make fig2`",
            "3 min + 2 min of score runs",
            "2a reproduced by construction",
            "[2a inconclusive](there/paper/fig2.png)",
        ],
        ["[10: Last](there/laptop/fig10.png)", "`make fig10`", "seconds", "none", ""],
        ["[Onion](there/laptop/onion.png)", "`make onion`", "not timed", "none", ""],
    ]
    assert [cells[1] for cells in rows(tables.index("there", paper_only=True))] == ["`make fig2`", "`make fig10`"]


def test_claims_have_their_verdicts_and_measures_at_both_scales() -> None:
    claim, share, skewness = rows(tables.by_figure("fig2"))
    assert claim == [
        "; ".join(["**2a**: it holds", *remarks("2a", ["reproduced"])]),
        "",
        "**reproduced**",
        "**inconclusive**",
    ]
    assert share[1:] == ["> 0.5", "0.75 [0.65, 0.85]", "0.50 [0.40, 0.60]"]
    assert skewness[2] == "3.00 [2.90, 3.10]"


def test_what_a_verdict_does_not_say_is_beside_it(laptop: Path) -> None:
    measures = [measured("transfer", 0.3, 0.0), measured("easy_to_easy", 0.95, 0.9) | {"condition": True}]
    claims = {"6": {"text": "it holds", "verdict": "reproduced", "measures": measures}}
    claims["10c"] = {"text": "and this", "verdict": "not tested", "measures": [measured("fitted", 0.7, 0.9)]}
    values = {"title": "", "runs": [], "overrides": [], "claims": claims, "seeds": [], "reduced": []}
    (laptop / "fig6.json").write_text(json.dumps(results.sealed(values)))
    assert tables.verdicts(values) == "6 reproduced by construction, 10c not tested"
    text = [cells[0] for cells in rows(tables.by_figure("fig6"))]
    assert text[0].startswith("**6**: it holds; by construction: ")
    assert text[3].startswith("**10c**: and this; not tested at laptop scale: ")
    assert remarks("6", ["inconclusive", "not run"]) == [], "what does not hold does not hold by construction"
    # skewness is reported only, 10c not tested, easy_to_easy a condition
    assert (
        "at laptop scale of 2 deciding measures 2 are on the claimed side (2 by construction), 2 after" in tables.holm()
    )
    assert "These claims together: at laptop scale of 1 deciding measures 1 are" in tables.by_figure("fig6")
    assert tables.index("there", paper_only=True).endswith(tables.holm(["2a", "6", "10c"]))


def test_a_figure_has_its_pictures_claims_and_the_means_of_its_curves() -> None:
    text = figure("fig2")
    assert "![Scores; paper scale, seeds 0, 1](pictures/paper/fig2.png)" in text
    assert "| a | easy | 0: 0.200, 1: 0.700 |" in text
    assert text.count("<details") == 1, "no curves are plotted at paper scale"
    assert "**2a**: it holds" in text


def test_a_committed_table_is_shown_in_whole_or_by_columns(laptop: Path) -> None:
    frame = pd.DataFrame({"what": ["a", "b"], "of, all": [1200.0, float("nan")], "peak_mb": [2, 30000]})
    frame.to_csv(laptop / "bench.csv", index=False)
    assert tables.table("laptop/bench.csv").splitlines() == [
        "| what | of, all | peak mb |",
        "|---|---|---|",
        "| a | 1200 | 2 |",
        "| b | – | 30,000 |",
    ]
    assert rows(tables.table("laptop/bench.csv of, all; what")) == [["1200", "a"], ["–", "b"]]
    assert rows(tables.table("laptop/bench.csv of, all; what=b")) == [["–", "b"]]
    assert rows(tables.table("laptop/onion.json:peaks")) == [["0.100", "12,345", "a / b"]]
    (laptop / "other.json").write_text(json.dumps({"summary": {"mlp": {"epoch": 4, "rank": 0.5}}}))
    assert rows(tables.table("laptop/other.json")) == [["mlp", "4", "0.500"]]


def test_scores_are_those_of_the_validation(laptop: Path) -> None:
    names = [("cumulative_loss", 1), ("turnover", 1), ("turnover_probability", 1), ("memorization", 40)]
    names += [
        ("memorization", 80),
        ("blocks", 4),
        ("blocks", 8),
        ("blocks_memorization", 4),
        ("blocks_memorization", 8),
    ]
    condition = {"noise": "symmetric", "wrong": 300, "augmentation": "none"}
    made: list[dict[str, Any]] = []
    for place, (name, networks) in enumerate(names):
        of_name = condition | {"estimator": name, "cost": 1 + place, "precision": 0.1 * place, "pearson": 0.05 * place}
        for where, dataset in enumerate(tables.VALIDATED):
            of = of_name | {"dataset": dataset, "networks": networks - 1 if "blocks" in name and where else networks}
            made.append(of | {"seeds": 1, "spearman": 0.1 * place + 0.01 * where})
            made.append(of | {"seeds": 10, "spearman": 0.99})
    made.append(made[0] | {"wrong": 30, "spearman": 0.5})  # another condition
    (laptop / "validate").mkdir()
    pd.DataFrame(made).to_csv(laptop / "validate" / "table.csv", index=False)
    found = rows(tables.brief())
    assert found[-2:] == [
        ["`turnover`", "2.0", ".10 / .11 / .12", ".10 / .10 / .10", ".10 / .10 / .10"],
        ["`subsampling`, 80 networks", "5.0", ".40 / .41 / .42", ".20 / .20 / .20", ".40 / .40 / .40"],
    ]
    assert found[0][:4] == ["`blocks`, 8 / 7 / 7 networks", "7.0", ".60 / .61 / .62", ".40 / .40 / .40"]
    assert found[1][:2] == ["`blocks`, 4 / 3 / 3 networks", "6.0"]
    assert [cells[:3] for cells in rows(tables.recommended())][:3] == [
        ["`blocks_memorization`, 8 / 7 / 7 networks", "9.0", ".80 → .99"],
        ["`blocks_memorization`, 4 / 3 / 3 networks", "8.0", ".70 → .99"],
        ["`blocks`, 8 / 7 / 7 networks", "7.0", ".60 → .99"],
    ]


def test_intervals_end_where_a_measure_does(laptop: Path) -> None:
    ends = {"spearman": (-1.2, 0.3), "pearson": (-0.1, 1.3), "pearson_loss": (0.2, 0.4), "auroc": (0.9, 1.03)}
    ends["precision"] = (-0.1, 0.5)
    row: dict[str, Any] = {"noise": "symmetric", "wrong": 300, "augmentation": "none", "estimator": "aum", "cost": 1}
    row |= {"dataset": tables.VALIDATED[0], "networks": 1, "seeds": 3}
    for name, (low, high) in ends.items():
        row |= {name: (low + high) / 2, f"{name}_low": low, f"{name}_high": high}
    (laptop / "validate").mkdir()
    pd.DataFrame([row]).to_csv(laptop / "validate" / "table.csv", index=False)
    [cells] = rows(tables.of_estimator("aum"))
    assert [cell.partition(" ")[2] for cell in cells[2:7]] == [
        "[-1.00, 0.30]",
        "[-0.10, 1.00]",
        "[0.20, 0.40]",
        "[0.90, 1.00]",
        "[0.00, 0.50]",
    ]


def test_the_limits_of_the_ground_truth_are_told(laptop: Path) -> None:
    about = {"networks": 7, "reliability": {"spearman/probability/all": 0.9}}
    about["ceiling"] = {"spearman/probability/all": 0.95}
    (laptop / "validate").mkdir()
    (laptop / "validate" / "validate.json").write_text(json.dumps({"truth": {"mnist": about}}))
    assert rows(tables.truth()) == [["MNIST", "7", "0.900", "0.950"]]
