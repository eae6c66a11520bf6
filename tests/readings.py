"""Where the repository and its committed results lie, and its pages."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "outputs" / "reference"


def page(name: str) -> str:
    """Return a page of docs/, or the README, as it is written."""
    path = ROOT / name if name == "README.md" else ROOT / "docs" / name
    return path.read_text(encoding="utf-8")
