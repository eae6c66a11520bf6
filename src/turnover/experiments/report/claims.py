"""The claims of all figures, side by side at every scale that is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from turnover.common.text import effect
from turnover.experiments.plots.figure import claim_of, remarks, words
from turnover.experiments.results import Result, Values, sort_key
from turnover.stats.claims import Measured, left_by_holm, role

VERDICTS = ("reproduced", "inconclusive", "not reproduced", "not tested")


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
    notes: tuple[str, ...]  # at which scale its runs are not those of the experiment, or cannot decide it; and why not
    rows: tuple[Row, ...]


def claims(of_scales: Sequence[Sequence[Result]]) -> list[ClaimRow]:
    """Return every claim once, in the order of figures; of a figure with overrides only where there is no plain one."""
    by_id: dict[str, list[Result | None]] = {}
    for scale, results in enumerate(of_scales):
        for result in sorted(results, key=lambda result: result.name != result.base):
            for id in result.values["claims"]:
                at_scales = by_id.setdefault(id, [None] * len(of_scales))
                at_scales[scale] = at_scales[scale] or result
    rows = [_claim(id, at_scales) for id, at_scales in by_id.items()]
    return sorted(rows, key=lambda row: (*sort_key(row.figure), row.id))


def corrected(claims: Iterable[tuple[str, Values]]) -> str:
    """Return how many measures decide claims (by id), and what Holm's correction for all of them leaves."""
    tested = [(id, claim["measures"]) for id, claim in claims if claim["verdict"] != "not tested"]
    measures = [(id, Measured(**measured)) for id, of_claim in tested for measured in of_claim]
    deciding = [(id, one) for id, one in measures if one.threshold is not None and not one.condition]
    left = left_by_holm([one for _, one in deciding])
    lost = [id for id, one in deciding if one.verdict == "reproduced" and one not in left]
    of = f" (no longer all of {', '.join(dict.fromkeys(lost))})" if lost else ""
    reproduced = [id for id, one in deciding if one.verdict == "reproduced"]
    trivial = sum(bool(claim_of(id).by_construction) for id in reproduced)
    held = f"{len(reproduced)} are on the claimed side{f' ({trivial} by construction)' * bool(trivial)}"
    return f"of {len(deciding)} deciding measures {held}, {len(left)} after Holm's correction{of}"


def tally(rows: Sequence[ClaimRow], scale: int) -> dict[str, int]:
    """Return how many claims have each verdict at one of the scales, by its position."""
    verdicts = [row.verdicts[scale] for row in rows]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def by_construction(rows: Sequence[ClaimRow], scale: int) -> int:
    """Return how many claims are reproduced at one of the scales, by its position, and hold whatever networks learn."""
    return sum(row.verdicts[scale] == "reproduced" and bool(claim_of(row.id).by_construction) for row in rows)


def _claim(id: str, at_scales: Sequence[Result | None]) -> ClaimRow:
    results = [result for result in at_scales if result]
    none: Values = {"verdict": "", "measures": []}
    claims = [result.values["claims"][id] if result else none for result in at_scales]
    measures = [{measure["name"]: measure for measure in claim["measures"]} for claim in claims]
    rows = []
    for name in dict.fromkeys(name for by_name in measures for name in by_name):
        bound = next(claimed(by_name[name]) for by_name in measures if name in by_name)
        cells = tuple(_cell(by_name[name]) if name in by_name else None for by_name in measures)
        rows.append(Row(words(id, name), bound, cells))
    changed = [(result.scale, result.values["overrides"]) for result in results if result.values["overrides"]]
    verdicts = tuple(claim["verdict"] for claim in claims)
    notes = (*remarks(id, verdicts), *(f"at {scale} scale with {' '.join(overrides)}" for scale, overrides in changed))
    first, text = results[0], results[0].values["claims"][id]["text"]
    return ClaimRow(id, text, first.base, first.paper_figure, verdicts, notes, tuple(rows))


def claimed(measured: dict[str, Any]) -> str:
    """Return the claimed side of a measure's threshold."""
    if measured["threshold"] is None:
        return "reported only"
    sign = ">" if measured["side"] == "above" else "<"
    behind = role(condition=measured["condition"], refutes=measured.get("refutes", True))
    return f"{sign} {measured['threshold']:g}{behind}"


def _cell(measured: dict[str, Any]) -> Cell:
    interval, mark = measured["interval"], None
    if measured["threshold"] is not None and interval:
        numbers = (interval[0], measured["effect"], interval[1], measured["threshold"])
        room = (max(numbers) - min(numbers)) * 0.15 or 1.0
        left, width = min(numbers) - room, max(numbers) - min(numbers) + 2 * room
        low, middle, high, threshold = (round(100 * (number - left) / width, 1) for number in numbers)
        mark = Mark(low, middle, high, threshold, measured["side"] == "above")
    return Cell(effect(measured["effect"], interval), measured["verdict"] or "", mark)
