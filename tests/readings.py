"""What tests read in README.md and docs/: pages, tables, numbers in prose; and the committed results."""

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


def minutes(runs: dict[str, dict[str, Any]]) -> float:
    """How long runs keep all cores of their machine busy; one that does not say how many threads it had, had all."""
    shares = (each.get("threads", each["machine"]["cores"]) / each["machine"]["cores"] for each in runs.values())
    return sum(each["seconds"] * share for each, share in zip(runs.values(), shares, strict=True)) / 60
