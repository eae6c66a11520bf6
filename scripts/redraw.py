"""Draw finished figures again from their plotted numbers, without their runs: given json files, or the committed."""

import argparse
from pathlib import Path

from turnover.runs.cli import enter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", type=Path, help="json files that lie beside a csv")
    asked = parser.parse_args().figures
    from turnover.experiments.figures.make import redraw
    from turnover.experiments.results import SCALES, figures, reference

    for path in asked or [reference(scale) / f"{name}.json" for scale in SCALES for name in figures(reference(scale))]:
        redraw(path)
        print(path.with_suffix(".png"), flush=True)


if __name__ == "__main__":
    enter(main)
