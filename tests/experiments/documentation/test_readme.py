"""The README says what the committed results say, and its tables are those that are made from them."""

import re
from typing import Any

import pandas as pd
import pytest
from readings import REFERENCE, ROOT, minutes, page, results, rows

from turnover.errors import RunFailed
from turnover.experiments.documentation.pages import filled_readme

README = page("README.md")
CLAIMS = rows(README, "claim, and what decides it")
SCALES = {"laptop": 2, "paper": 3}  # the columns of that table

_INTERVAL = re.compile(r"(-?\d+\.?\d*) \[(-?\d+\.?\d*), (-?\d+\.?\d*)\]")


def verdicts(result: dict[str, Any]) -> str:
    """Its claims as the README tells them."""
    return ", ".join(f"{id} {claim['verdict']}" for id, claim in result["claims"].items()) or "none"


def test_the_readme_is_what_is_generated() -> None:
    assert filled_readme(README) == README, "make readme"


def test_a_changed_number_is_generated_anew() -> None:
    assert filled_readme(README.replace("| **2a**: clean MNIST", "| **2a**: dirty MNIST")) == README


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(RunFailed, match="must have <!-- claims -->"):
        filled_readme(README.replace("<!-- end of claims -->", ""))


@pytest.mark.parametrize("scale", SCALES)
def test_every_claim_stands_in_the_readme_with_its_verdict(scale: str) -> None:
    told = {}
    for cells in CLAIMS:
        found = re.match(r"\*\*([^*]+)\*\*: ", cells[0])
        verdict = re.match(r"\*\*(.+?)\*\*", cells[SCALES[scale]])
        if found and verdict:
            told[found[1]] = verdict[1]
    known = {id: claim["verdict"] for result in results(scale).values() for id, claim in result["claims"].items()}
    assert told == known


@pytest.mark.parametrize("scale", SCALES)
def test_every_number_of_the_claims_is_that_of_the_results(scale: str) -> None:
    known = {id: claim["measures"] for result in results(scale).values() for id, claim in result["claims"].items()}
    id, told = "", 0
    for cells in CLAIMS:
        if found := re.match(r"\*\*([^*]+)\*\*: ", cells[0]):
            id = found[1]
            continue
        for effect, low, high in _INTERVAL.findall(cells[SCALES[scale]]):
            places = len(effect.partition(".")[2])
            candidates = [[f"{number:z.{places}f}" for number in (m["effect"], *m["interval"])] for m in known[id]]
            assert [effect, low, high] in candidates, f"{id}: {cells}; the results: {candidates}"
            told += 1
    deciding = [m for measures in known.values() for m in measures if m["threshold"] is not None]
    assert told == len(deciding)


@pytest.mark.parametrize("cells", rows(README, "figure"), ids=lambda cells: cells[1])
def test_every_figure_of_the_readme_is_there_with_its_verdicts_and_time(cells: list[str]) -> None:
    name = cells[1].strip("`").removeprefix("make ")
    result = results()[name]
    assert f"(outputs/reference/laptop/{name}.png)" in cells[0]
    assert (REFERENCE / "laptop" / f"{name}.png").is_file()
    assert cells[3] == verdicts(result)
    timed = minutes(name)
    if timed:
        told = re.fullmatch(r"(\d+) min(?: \+ (\d+) min of score runs)?", cells[2])
        assert told, cells[2]
        assert (int(told[1]), int(told[2] or 0)) == (round(timed[0]), round(timed[1]))
    else:
        assert cells[2] == ("not timed" if result["runs"] else "seconds")


def test_every_figure_at_paper_scale_stands_in_the_readme_with_its_verdicts() -> None:
    told = {}
    for cells in rows(README, "figure"):
        for said, link in re.findall(r"\[([^]]*)\]\(outputs/reference/paper/(.*?)\.png\)", cells[4]):
            name = link.replace("%3D", "=")
            assert (REFERENCE / "paper" / f"{name}.png").is_file()
            assert name.startswith(cells[1].strip("`").removeprefix("make "))
            told[name] = said
    figures = results("paper")
    assert told == {name: verdicts(result) if result["claims"] else "picture" for name, result in figures.items()}
    assert {result["scale"] for result in figures.values()} == {"paper"}


def test_every_committed_figure_stands_in_the_readme() -> None:
    told = {cells[1].strip("`").removeprefix("make ") for cells in rows(README, "figure")}
    assert told == set(results())
    assert {path.stem for path in (ROOT / "conf" / "figure").glob("fig*.yaml")} <= told


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link.replace("%3D", "=")).exists(), link


DATASETS = ("mnist", "fashion_mnist", "cifar10")


def two_places(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def test_every_number_of_which_score_to_use_is_that_of_the_validation() -> None:
    table = pd.read_csv(REFERENCE / "laptop" / "validate" / "table.csv")
    table = table[(table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")]
    told = rows(README, "score")
    assert len(told) > 12
    for cells in told:
        name, _, networks = cells[0].partition("`, ")
        mine = table[table["estimator"] == name.strip("`")]
        if networks:
            mine = mine[mine["networks"] == int(networks.split()[0])]
        one: Any = mine[mine["seeds"] == 1].set_index("dataset")
        assert cells[1] == f"{one.loc['mnist', 'cost']:.1f}"
        for cell, dataset in zip(cells[2:5], DATASETS, strict=True):
            agreement = mine[mine["dataset"] == dataset].sort_values("seeds")["spearman"]
            assert cell == " → ".join(map(two_places, agreement)), (cells[0], dataset)
        assert cells[5] == " / ".join(two_places(one.loc[dataset, "precision"]) for dataset in DATASETS)
