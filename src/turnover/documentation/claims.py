"""The claims as tables for people, from the committed results: nothing of them is typed."""

import math
from typing import Any

from turnover.documentation.reference import Result, of_figure, results
from turnover.report.claims import claimed
from turnover.report.wording import measure

_MOST_PLACES = 4  # decimals


def number(result: Result) -> str:
    """Effect and 95 % interval, told to two digits of its half width and at most four decimals."""
    effect, interval = result["effect"], result["interval"]
    if interval is None:
        return f"{effect:.3g} (one seed)"
    half = (interval[1] - interval[0]) / 2
    places = _MOST_PLACES if half else len(f"{effect:.{_MOST_PLACES}f}".rstrip("0").partition(".")[2])
    if half:
        places = min(max(1 - math.floor(math.log10(half)), 0), _MOST_PLACES)
    low, high = (f"{bound:z.{places}f}" for bound in interval)  # z: no -0.0000
    return f"{effect:z.{places}f} [{low}, {high}]"


def verdicts(result: Result) -> str:
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


def _table(claims: dict[str, Result], *, deciding: bool = False) -> str:
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
            rows.append([measure(each["name"]), claimed(each), number(each), number(there) if there else ""])
    return markdown_table(rows)


def _paper_verdict(claim: Result, other: Result | None) -> str:
    if other is None:
        return "not run"
    only = other["text"].removeprefix(claim["text"]).strip()  # a part of the figure's runs, which its text names
    return f"**{other['verdict']}**" + (f" {only}" if only else "")


def markdown_table(rows: list[list[Any]]) -> str:
    """A table, its first row the heading."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
