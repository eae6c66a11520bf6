"""`make check-reference`: every committed result held against conf/, against itself and against its own tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from turnover.experiments.reproduction.committed import Verdict, figure
from turnover.experiments.reproduction.validated import validation
from turnover.experiments.results import figures


def every(root: Path) -> Iterator[Verdict]:
    """Verdicts of all figures, studies and validations below outputs/reference, or a folder laid out as it is."""
    for scale in sorted(path for path in root.iterdir() if path.is_dir()):
        for name in figures(scale):
            yield replace(figure(scale / f"{name}.json"), file=f"{scale.name}/{name}.json")
        if (scale / "validate").is_dir():
            yield from (replace(each, file=f"{scale.name}/{each.file}") for each in validation(scale / "validate"))
