"""The code of one function, as it stands in the source: beside its equation in the documentation."""

import ast

from turnover.common.files import checkout
from turnover.errors import RunFailed


def source(place: str) -> str:
    """A fenced block with a function or method, named as turnover/core/masks.py:MaskRule.keep, without its docstring.

    Raises:
        RunFailed: there is no such function; the page that names it must be changed.
    """
    path, _, name = place.partition(":")
    text = (checkout() / "src" / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = [each for each in ast.iter_child_nodes(node) if getattr(each, "name", None) == part]
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
