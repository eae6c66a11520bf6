"""The claims of all figures, side by side at every scale that is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from turnover.common.text import effect
from turnover.experiments.plots.figure import words
from turnover.experiments.results import Result, sort_key

VERDICTS = ("reproduced", "inconclusive", "not reproduced")


@dataclass(frozen=True)
class Mark:
    """Where an interval and a threshold lie on a line from 0 to 100."""

    low: float
    effect: float
    high: float
    threshold: float
    above: bool  # the claimed side


@dataclass(frozen=True)
class Cell:
    """A measure at one scale."""

    text: str
    verdict: str  # empty: reported only
    mark: Mark | None


@dataclass(frozen=True)
class Row:
    """A measure of a claim."""

    words: str
    claimed: str  # "> 0.9", or that it is reported only
    cells: tuple[Cell | None, ...]  # one a scale


@dataclass(frozen=True)
class ClaimRow:
    """A claim with its verdicts and measures."""

    id: str
    text: str
    figure: str  # the name of its figure
    paper_figure: str  # the paper's number, or empty
    verdicts: tuple[str, ...]  # one a scale; empty: not run at it
    notes: tuple[str, ...]  # on scales at which its runs are not those of the experiment
    rows: tuple[Row, ...]


def claims(of_scales: Sequence[Sequence[Result]]) -> list[ClaimRow]:
    """Every claim once, in the order of the figures; figures drawn with overrides only where there is no plain one."""
    found: dict[str, list[tuple[Result, dict[str, Any]] | None]] = {}
    order: dict[str, tuple[bool, int, str, str]] = {}
    for place, every in enumerate(of_scales):
        for result in sorted(every, key=lambda each: each.name != each.base):
            for id, claim in result.values["claims"].items():
                slots = found.setdefault(id, [None] * len(of_scales))
                slots[place] = slots[place] or (result, claim)
                order.setdefault(id, (*sort_key(result.base), id))
    return [_claim(id, found[id]) for id in sorted(found, key=lambda id: order[id])]


def tally(rows: Sequence[ClaimRow], place: int) -> dict[str, int]:
    """How many claims have each verdict at one of the scales."""
    said = [row.verdicts[place] for row in rows]
    return {verdict: said.count(verdict) for verdict in VERDICTS}


def _claim(id: str, slots: Sequence[tuple[Result, dict[str, Any]] | None]) -> ClaimRow:
    known = [slot for slot in slots if slot]
    result, claim = known[0]
    names = list(dict.fromkeys(each["name"] for _, one in known for each in one["measures"]))
    rows = []
    for name in names:
        cells = [next((m for m in slot[1]["measures"] if m["name"] == name), None) if slot else None for slot in slots]
        first = next(cell for cell in cells if cell)
        rows.append(Row(words(id, name), claimed(first), tuple(_cell(cell) if cell else None for cell in cells)))
    verdicts = tuple(slot[1]["verdict"] if slot else "" for slot in slots)
    others = [(slot[0].scale, slot[0].values["overrides"]) for slot in known]
    notes = tuple(f"at {scale} scale with {' '.join(overrides)}" for scale, overrides in others if overrides)
    return ClaimRow(id, claim["text"], result.base, result.paper_figure, verdicts, notes, tuple(rows))


def claimed(measured: dict[str, Any]) -> str:
    """What is claimed of a measure: on which side of which number it lies."""
    if measured["threshold"] is None:
        return "reported only"
    sign = ">" if measured["side"] == "above" else "<"
    return f"{sign} {measured['threshold']:g}" + (" (condition)" if measured["condition"] else "")


def _cell(measured: dict[str, Any]) -> Cell:
    interval = tuple(measured["interval"]) if measured["interval"] else None
    mark = None
    if measured["threshold"] is not None and interval:
        threshold = measured["threshold"]
        ends = (*interval, threshold, measured["effect"])
        room = (max(ends) - min(ends)) * 0.15 or 1.0
        low, wide = min(ends) - room, max(ends) - min(ends) + 2 * room
        at = [round(100 * (each - low) / wide, 1) for each in (interval[0], measured["effect"], interval[1], threshold)]
        mark = Mark(at[0], at[1], at[2], at[3], measured["side"] == "above")
    return Cell(effect(measured["effect"], interval), measured["verdict"] or "", mark)
