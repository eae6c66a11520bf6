"""The README says what the committed results say: verdicts, numbers, minutes."""

import json
import re
from typing import Any

import pytest

from turnover.store import checkout

ROOT = checkout()
REFERENCE = ROOT / "outputs" / "reference" / "laptop"
README = (ROOT / "README.md").read_text(encoding="utf-8")

_INTERVAL = re.compile(r"(-?\d+\.?\d*) \[(-?\d+\.?\d*), (-?\d+\.?\d*)\]")


def results() -> dict[str, dict[str, Any]]:
    """Every committed figure or study by its name."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in REFERENCE.glob("*.json")}
    return {name: result for name, result in found.items() if "claims" in result}


def rows(first: str) -> list[list[str]]:
    """The rows of the README's table whose first heading is this, as lists of cells."""
    lines = README.splitlines()
    start = next(number for number, text in enumerate(lines) if text.startswith(f"| {first} |"))
    found: list[list[str]] = []
    for text in lines[start + 2 :]:
        if not text.startswith("|"):
            return found
        found.append([cell.strip() for cell in text.strip("|").split("|")])
    return found


def minutes(runs: dict[str, dict[str, Any]]) -> float:
    """How long runs keep all cores of their machine busy; one that does not say how many threads it had, had all."""
    shares = (each.get("threads", each["machine"]["cores"]) / each["machine"]["cores"] for each in runs.values())
    return sum(each["seconds"] * share for each, share in zip(runs.values(), shares, strict=True)) / 60


def test_every_claim_stands_in_the_readme_with_its_verdict() -> None:
    told = {cells[0].split(":")[0]: cells[-1] for cells in rows("claim") if cells[0]}
    known = {id: claim["verdict"] for result in results().values() for id, claim in result["claims"].items()}
    assert told == known


def test_every_number_of_the_claims_is_that_of_the_results() -> None:
    known = {id: claim["measures"] for result in results().values() for id, claim in result["claims"].items()}
    id = ""
    for cells in rows("claim"):
        id = cells[0].split(":")[0] or id  # a claim's further rows leave it out
        [(effect, low, high)] = _INTERVAL.findall(cells[1])
        places = len(effect.partition(".")[2])
        candidates = [[f"{number:.{places}f}" for number in (m["effect"], *m["interval"])] for m in known[id]]
        assert [effect, low, high] in candidates, f"{id}: {cells[1]}; the results: {candidates}"


@pytest.mark.parametrize("cells", rows("figure"), ids=lambda cells: cells[1])
def test_every_figure_of_the_readme_is_there_with_its_verdicts_and_time(cells: list[str]) -> None:
    name = cells[1].strip("`").removeprefix("make ")
    if cells[2] == "not run yet":
        assert name not in results(), "it was"
        return
    result = results()[name]
    assert f"(outputs/reference/laptop/{name}.png)" in cells[0]
    assert (REFERENCE / f"{name}.png").is_file()
    verdicts = {id: claim["verdict"] for id, claim in result["claims"].items()}
    assert cells[3] == (", ".join(f"{id} {verdict}" for id, verdict in verdicts.items()) or "none")
    if result.get("runs"):
        told = re.fullmatch(r"(\d+) min(?: \+ (\d+) min of score runs)?", cells[2])
        assert told, cells[2]
        assert int(told[1]) == round(minutes(result["runs"]))
        assert int(told[2] or 0) == round(minutes(result.get("score_runs", {})))


def test_every_committed_figure_stands_in_the_readme() -> None:
    figures = {cells[1].strip("`").removeprefix("make ") for cells in rows("figure")}
    assert {name for name in results() if name.startswith("fig")} <= figures
    assert figures == {path.stem for path in (ROOT / "conf" / "figure").glob("fig*.yaml")}
