"""Text of the documentation in place of <!-- turnover: WHAT ARGUMENT -->: made when it is built, never typed."""

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
    """Return title, picture, command, time and claims of a committed figure or study."""
    laptop, paper = (tables.of_figure(name, scale) for scale in ("laptop", "paper"))
    paragraphs = []
    for scale, results in (("laptop", laptop), ("paper", paper)):
        for stem, result in results.items():
            reduced, seeds = "; ".join(result["reduced"]), ", ".join(map(str, result["seeds"]))
            title = result["title"]
            if seeds:
                title += f"; {scale} scale, seed{'s' if ',' in seeds else ''} {seeds}"
            paragraphs.append(f"![{title}](pictures/{scale}/{stem}.png)")
            paragraphs.append(f"*{title}.*" + (f" Reduced: {reduced}." if reduced else ""))
            if numbers := tables.curves(scale, stem):
                words = f"Numbers of the curves, {scale} scale"
                paragraphs.append(f'<details markdown="1"><summary>{words}</summary>\n\n{numbers}\n\n</details>')
    paragraphs.append(f"`make {name}`" + (f": {tables.time(name)} on 2 cores at laptop scale." if laptop else ""))
    if any(result["claims"] for result in laptop.values()):
        paragraphs.append(tables.by_figure(name))
    return "\n\n".join(paragraphs)


def columns() -> str:
    """Return the columns of a score table."""
    rows = [["column", "type", "meaning"], *([f"`{name}`", *column] for name, column in SCORE_COLUMNS.items())]
    return tables.markdown_table(rows)


def metrics() -> str:
    """Return the metrics of a run."""
    return tables.markdown_table([["metric", "meaning"], *([f"`{name}`", text] for name, text in METRICS.items())])


def panels() -> str:
    """Return the panels of the dashboard, section by section."""
    rows = [[section, panel.title, described(panel)] for section, panels in SECTIONS.items() for panel in panels]
    return tables.markdown_table([["section", "panel", "shows"], *rows])


def source(argument: str) -> str:
    """Return the code of a function or method, named as turnover/core/masks.py:MaskRule.keep, without its docstring.

    Raises:
        RunFailed: there is no such function; the page that names it must be changed.
    """
    path, _, qualified = argument.partition(":")
    text = (checkout() / "src" / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for name in qualified.split("."):
        inner = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name]
        if not inner:
            raise RunFailed(f"src/{path} has no {qualified}: the documentation shows its code")
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
    """Return a page with everything generated in its place.

    Raises:
        RunFailed: a page asks for something that nothing makes.
    """

    def generated(mark: re.Match[str]) -> str:
        name, argument = mark.groups()
        if name not in MAKERS:
            raise RunFailed(f"{mark[0]}: nothing makes {name!r}; there are {', '.join(MAKERS)}")
        return MAKERS[name](argument)

    return _MARK.sub(generated, text)


PARTS: dict[str, Callable[[], str]] = {
    "figures": lambda: tables.index("outputs/reference", paper_only=True),
    "scores": tables.brief,
}


def filled_readme(text: str) -> str:
    """Return the README with its generated parts made anew from the committed results.

    Raises:
        RunFailed: the marks of a part are missing, or occur more than once.
    """
    for name, make in PARTS.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        blocks = re.findall(f"{re.escape(first)}.*?{re.escape(last)}", text, flags=re.DOTALL)
        if len(blocks) != 1:
            raise RunFailed(f"README.md must have {first.strip()} and {last} once, around what is generated")
        text = text.replace(blocks[0], f"{first}\n{make()}\n\n{last}")
    return text
