"""What tests read in README.md and docs/: pages, tables, numbers in prose; and the committed results."""

import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "outputs" / "reference"


def page(name: str) -> str:
    """A page of docs/, or the README, as it is written."""
    path = ROOT / name if name == "README.md" else ROOT / "docs" / name
    return path.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """With single spaces, wherever its lines break."""
    return " ".join(text.split())


def rows(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose first heading is this, as lists of cells."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in line[1:-1].split("|")])
    return found


def results(scale: str = "laptop") -> dict[str, dict[str, Any]]:
    """Every committed figure or study by its name."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (REFERENCE / scale).glob("*.json")}
    return {name: result for name, result in found.items() if "claims" in result}


def minutes(name: str) -> tuple[float, float] | None:
    """How long the runs of a figure, and its score runs, took on 2 cores, if they were timed there."""
    with (REFERENCE / "laptop" / "two_cores.csv").open(encoding="utf-8") as lines:
        timed = {row["figure"]: (float(row["minutes"]), float(row["score_minutes"])) for row in csv.DictReader(lines)}
    return timed.get(name)
