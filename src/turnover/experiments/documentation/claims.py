"""The claims as tables for people, from the committed results: nothing of them is typed."""

from typing import Any

from turnover.common.text import effect
from turnover.experiments.documentation.reference import of_figure, results
from turnover.experiments.report.claims import claimed
from turnover.experiments.report.wording import measure
from turnover.experiments.results import Values


def verdicts(result: Values) -> str:
    """The claims of a result with their verdicts, in one line."""
    return ", ".join(f"{id} {claim['verdict']}" for id, claim in result["claims"].items())


def by_figure(name: str) -> str:
    """Every measure of every claim of a figure, laptop and paper scale side by side."""
    return _table({id: claim for found in of_figure(name, "laptop").values() for id, claim in found["claims"].items()})


def every_claim() -> str:
    """Every claim of every figure and study with the measures that decide it."""
    known = {id: claim for name in in_order() for id, claim in results()[name]["claims"].items()}
    return _table(known, deciding=True)


def in_order() -> list[str]:
    """The committed figures by their numbers, then the studies."""

    def place(name: str) -> tuple[int, str]:
        digits = name.removeprefix("fig").partition("_")[0]
        return (int(digits) if digits.isdigit() else 100, name)

    return sorted(results(), key=place)


def _table(claims: dict[str, Values], *, deciding: bool = False) -> str:
    at_paper = {id: claim for found in results("paper").values() for id, claim in found["claims"].items()}
    rows = [["claim, and what decides it" if deciding else "claim and measure", "claimed", "laptop scale"]]
    rows[0] += ["paper scale"]
    for id, claim in claims.items():
        other = at_paper.get(id)
        rows.append([f"**{id}**: {claim['text']}", "", f"**{claim['verdict']}**", _paper_verdict(claim, other)])
        measured = {each["name"]: each for each in other["measures"]} if other else {}
        for each in claim["measures"]:
            if deciding and each["threshold"] is None:
                continue
            there = measured.get(each["name"])
            rows.append([measure(each["name"]), claimed(each), _number(each), _number(there) if there else ""])
    return markdown_table(rows)


def _number(measured: Values) -> str:
    return effect(measured["effect"], measured["interval"])


def _paper_verdict(claim: Values, other: Values | None) -> str:
    if other is None:
        return "not run"
    only = other["text"].removeprefix(claim["text"]).strip()  # a part of the figure's runs, which its text names
    return f"**{other['verdict']}**" + (f" {only}" if only else "")


def markdown_table(rows: list[list[Any]]) -> str:
    """A table, its first row the heading."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
