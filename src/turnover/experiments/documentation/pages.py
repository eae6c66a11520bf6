"""What stands in the documentation in place of <!-- turnover: WHAT ARGUMENT -->: made when it is built, never typed."""

import ast
import re
from collections.abc import Callable

from turnover.common.files import checkout
from turnover.errors import RunFailed
from turnover.experiments.documentation import options, tables
from turnover.runs.dashboard.panels import SECTIONS, described
from turnover.runs.store.tables import METRICS, SCORE_COLUMNS

_MARK = re.compile(r"<!-- turnover: (\w+) ?(.*?) -->")


def figure(name: str) -> str:
    """Title, picture, command, time and claims of a committed figure or study."""
    laptop, paper = (tables.of_figure(name, scale) for scale in ("laptop", "paper"))
    parts = []
    for scale, found in (("laptop", laptop), ("paper", paper)):
        for stem, result in found.items():
            reduced = "; ".join(result["reduced"])
            said = result["title"] + (f"; {scale} scale, {_seeds(result['seeds'])}" if result["seeds"] else "")
            parts.append(f"![{said}](pictures/{scale}/{stem}.png)")
            parts.append(f"*{said}.*" + (f" Reduced: {reduced}." if reduced else ""))
            if numbers := tables.curves(scale, stem):
                words = f"Numbers of the curves, {scale} scale"
                parts.append(f'<details markdown="1"><summary>{words}</summary>\n\n{numbers}\n\n</details>')
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


def source(place: str) -> str:
    """Return the code of a function or method, named as turnover/core/masks.py:MaskRule.keep, without its docstring.

    Raises:
        RunFailed: there is no such function; the page that names it must be changed.
    """
    path, _, name = place.partition(":")
    text = (checkout() / "src" / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == part]
        if not inner:
            raise RunFailed(f"src/{path} has no {name}: the documentation shows its code")
        node = inner[0]
    assert isinstance(node, ast.FunctionDef)
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    first = node.body[0]
    if ast.get_docstring(node) and len(node.body) > 1:
        del lines[first.lineno - node.lineno : (first.end_lineno or 0) - node.lineno + 1]
    indent = node.col_offset
    code = "\n".join(line[indent:] for line in lines).replace("\n\n", "\n")
    return f'```python title="src/{path}"\n{code}\n```'


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
    "table": tables.table,
    "truth": lambda _: tables.truth(),
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
