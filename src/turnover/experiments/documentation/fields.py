"""The fields of a config class as people read them: types from its schema, meanings from its comments."""

import ast
import inspect
import io
import tokenize
from functools import cache
from typing import Any

from pydantic import BaseModel


def field_types(schema: type[BaseModel]) -> dict[str, str]:
    """What each field may be, in words."""
    described = schema.model_json_schema()
    definitions = described.get("$defs", {})
    own = definitions[schema.__name__] if "$ref" in described else described  # a run may hold runs
    return {name: _kind(info, definitions) for name, info in own.get("properties", {}).items()}


def _kind(info: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in info:
        name = info["$ref"].rpartition("/")[2]
        return _kind(definitions[name], definitions) if "enum" in definitions[name] else f"a {name}"
    if "const" in info:
        return f"`{info['const']}`"
    if "enum" in info:
        return ", ".join(f"`{each}`" for each in info["enum"])
    if alternatives := info.get("anyOf") or info.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(each, definitions) for each in alternatives))
    match info.get("type"):
        case "null":
            return "`null`"
        case "array":
            least = " of at least one" if info.get("minItems") else ""
            return f"list{least}: {_kind(info['items'], definitions)}"
        case "string":
            return f"text that matches `{info['pattern']}`" if "pattern" in info else "text"
        case "integer" | "number" as kind:
            return kind + _bounds(info)
        case kind:
            return {"boolean": "`true`, `false`", "object": "fields of your own"}.get(str(kind), str(kind))


def _bounds(info: dict[str, Any]) -> str:
    named = {2**31: "2^31", 2**63: "2^63"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {named.get(info[key], info[key])}" for key, sign in signs.items() if key in info]
    # that a whole number fits into 31 bits says nothing to a reader
    found = [each for each in found if each != "< 2^31"]
    return f" {', '.join(found)}" if found else ""


@cache
def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """What each field means: the comment behind it in the source, or the comment lines above it; empty if none."""
    source = inspect.getsource(schema)
    comments = {
        token.start[0]: (token.string.lstrip("# ").strip(), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [tree] = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above: list[str] = []
        line = node.lineno - 1
        while comments.get(line, ("", False))[1]:
            above.insert(0, comments[line][0])
            line -= 1
        behind = [comments[node.end_lineno or 0][0]] if (node.end_lineno or 0) in comments else []
        found[node.target.id] = " ".join(behind or above)
    return {name: found.get(name) or _inherited(schema, name) for name in schema.model_fields}


def _inherited(schema: type[BaseModel], name: str) -> str:
    bases = [base for base in schema.__bases__ if issubclass(base, BaseModel) and name in base.model_fields]
    return next((said for base in bases if (said := meanings(base)[name])), "")
