"""What stands in the documentation in place of <!-- turnover: WHAT ARGUMENT -->: made when it is built, never typed."""

import re
from collections.abc import Callable

import pandas as pd

from turnover.errors import RunFailed
from turnover.experiments.documentation import options, tables
from turnover.experiments.documentation.reference import of_figure
from turnover.experiments.documentation.source import source
from turnover.experiments.results import reference
from turnover.runs.dashboard.panels import SECTIONS, described
from turnover.runs.store.tables import METRICS, SCORE_COLUMNS

_MARK = re.compile(r"<!-- turnover: (\w+) ?(.*?) -->")


def figure(name: str) -> str:
    """Title, picture, command, time and claims of a committed figure or study."""
    laptop, paper = (of_figure(name, scale) for scale in ("laptop", "paper"))
    parts = []
    for scale, found in (("laptop", laptop), ("paper", paper)):
        for stem, result in found.items():
            reduced = "; ".join(result["reduced"])
            said = result["title"] + (f"; {scale} scale, {_seeds(result['seeds'])}" if result["seeds"] else "")
            parts.append(f"![{said}](pictures/{scale}/{stem}.png)")
            parts.append(f"*{said}.*" + (f" Reduced: {reduced}." if reduced else ""))
    parts.append(f"`make {name}`" + (f": {tables.time(name)} on 2 cores at laptop scale." if laptop else ""))
    if any(result["claims"] for result in laptop.values()):
        parts.append(tables.by_figure(name))
    return "\n\n".join(parts)


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def columns() -> str:
    """The columns of a score table."""
    rows = [["column", "type", "meaning"], *([f"`{name}`", *column] for name, column in SCORE_COLUMNS.items())]
    return tables.markdown_table(rows)


def metrics() -> str:
    """The metrics of a run."""
    return tables.markdown_table([["metric", "meaning"], *([f"`{name}`", said] for name, said in METRICS.items())])


def panels() -> str:
    """The panels of the dashboard, section by section."""
    rows = [[section, panel.title, described(panel)] for section, each in SECTIONS.items() for panel in each]
    return tables.markdown_table([["section", "panel", "shows"], *rows])


def scaling() -> str:
    """How time and memory grow, as scripts/scaling.py measured it."""
    rows = [["what", "against", "size: seconds", "exponent", "memory at the largest"]]
    table = pd.read_csv(reference("laptop") / "scaling.csv")
    for (curve, against), found in table.groupby(["curve", "against"], sort=False):
        points = ", ".join(
            f"{size:,}: {seconds:.2g}" for size, seconds in zip(found["size"], found["seconds"], strict=True)
        )
        last = found.iloc[-1]
        rows.append([str(curve), str(against), points, f"{last['exponent']:.2f}", f"{last['peak_mb']:.0f} MB"])
    return tables.markdown_table(rows)


MAKERS: dict[str, Callable[[str], str]] = {
    "claims": lambda _: tables.every_claim(),
    "figures": lambda _: tables.index("pictures"),
    "figure": figure,
    "options": lambda _: options.reference(),
    "scores": lambda _: tables.recommended(),
    "estimator": tables.of_estimator,
    "source": source,
    "columns": lambda _: columns(),
    "metrics": lambda _: metrics(),
    "panels": lambda _: panels(),
    "scaling": lambda _: scaling(),
}


def filled(text: str) -> str:
    """A page with everything generated in its place.

    Raises:
        RunFailed: a page asks for something that nothing makes.
    """

    def made(found: re.Match[str]) -> str:
        what, argument = found.groups()
        if what not in MAKERS:
            raise RunFailed(f"{found[0]}: nothing makes {what!r}; there are {', '.join(MAKERS)}")
        return MAKERS[what](argument)

    return _MARK.sub(made, text)


PARTS: dict[str, Callable[[], str]] = {
    "figures": lambda: tables.index("outputs/reference", paper_only=True),
    "scores": tables.brief,
}


def filled_readme(text: str) -> str:
    """The README with its generated parts made anew from the committed results.

    Raises:
        RunFailed: the marks of a part are missing, or stand there more than once.
    """
    for name, make in PARTS.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        found = re.findall(f"{re.escape(first)}.*?{re.escape(last)}", text, flags=re.DOTALL)
        if len(found) != 1:
            raise RunFailed(f"README.md must have {first.strip()} and {last} once, around what is generated")
        text = text.replace(found[0], f"{first}\n{make()}\n\n{last}")
    return text
