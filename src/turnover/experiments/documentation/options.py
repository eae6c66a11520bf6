"""The configuration reference: every group, option and field, generated from the schema and from conf/."""

import ast
import inspect
import io
import itertools
import tokenize
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from turnover.common.files import checkout
from turnover.config.compose import composed, plain
from turnover.config.estimator_names import ALIASES
from turnover.config.options import Group
from turnover.config.probes import PROBES
from turnover.config.run import NOT_SCIENCE, RunConfig
from turnover.experiments.documentation.tables import markdown_table
from turnover.experiments.figures.make import FigureJob
from turnover.experiments.results import Values
from turnover.experiments.validation.labels import LabelsJob
from turnover.experiments.validation.make import ValidateJob


def field_types(schema: type[BaseModel]) -> dict[str, str]:
    """Return the allowed values of each field, in words."""
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
        return ", ".join(f"`{value}`" for value in info["enum"])
    if alternatives := info.get("anyOf") or info.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(alternative, definitions) for alternative in alternatives))
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
    bounds = [f"{sign} {named.get(info[key], info[key])}" for key, sign in signs.items() if key in info]
    # that a whole number fits into 31 bits says nothing to a reader
    bounds = [bound for bound in bounds if bound != "< 2^31"]
    return f" {', '.join(bounds)}" if bounds else ""


@cache
def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """Return the comment behind each field in the source, or the comment lines above it; empty if there is none."""
    source = inspect.getsource(schema)
    comments = {
        token.start[0]: (token.string.lstrip("# ").strip(), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [tree] = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above: list[str] = []
        line = node.lineno - 1
        while comments.get(line, ("", False))[1]:
            above.insert(0, comments[line][0])
            line -= 1
        behind = [comments[node.end_lineno or 0][0]] if (node.end_lineno or 0) in comments else []
        texts[node.target.id] = " ".join(behind or above)
    inherited: dict[str, str] = {}
    for base in reversed(schema.__bases__):
        if issubclass(base, Group):
            inherited |= {name: text for name, text in meanings(base).items() if text}
    return {name: texts.get(name) or inherited.get(name, "") for name in schema.model_fields}


SCALES = ("smoke", "laptop", "paper")


def reference() -> str:
    """Return the whole page: the fields of a run, every config group with its options, the other entry points."""
    plain = [name for name in RunConfig.model_fields if not members(name)]
    defaults = {scale: _values((), scale) for scale in SCALES}
    paragraphs = ["## A run", _table(RunConfig, plain, defaults)]
    for group in RunConfig.model_fields:
        if classes := members(group):
            paragraphs.append(f"## `{group}`")
            paragraphs += [text for member in classes for text in _option(group, member, alone=len(classes) == 1)]
    jobs: dict[str, type[Group]] = {"figure": FigureJob, "validate": ValidateJob}
    for script, job in jobs.items():
        paragraphs += [f"## `scripts/{script}.py`", _table(job, list(job.model_fields), {})]
    paragraphs += ["## `scripts/validate.py`, `labels`", _table(LabelsJob, list(LabelsJob.model_fields), {})]
    paragraphs += ["## `scripts/probe.py`", _probes()]
    return "\n\n".join(paragraphs)


def _probes() -> str:
    """Return a row for each probe: what it measures, who proposed it, its options with their usual values."""
    rows = [["`probe=`", "measures", "source", "options"]]
    for name, probe in PROBES.items():
        options = ", ".join(f"`probe.{option}={value}`" for option, value in probe.options.items())
        rows.append([f"`{name}`", probe.about, probe.source, options or "none"])
    return markdown_table(rows)


def members(field: str) -> list[type[Group]]:
    """Return the classes that a field of a run may be; none if it is a plain value."""
    return list(_groups(RunConfig.model_fields[field].annotation))


def _groups(annotation: Any) -> Iterator[type[Group]]:
    if isinstance(annotation, type) and issubclass(annotation, Group):
        yield annotation
    elif not isinstance(annotation, type):
        for argument in get_args(annotation):
            yield from _groups(argument)


def _option(group: str, member: type[Group], *, alone: bool) -> Iterator[str]:
    """Yield title, meaning, files and fields of one class of a group; of an only class no title."""
    tags = get_args(member.model_fields["name"].annotation) if "name" in member.model_fields else ()
    names = _names(group)
    if not alone:
        names = [name for name in names if _settings(group, name)["smoke"]["name"] in tags]
        yield "### " + (" · ".join(f"`{group}={name}`" for name in names) or member.__name__)
    if meaning := meanings(member).get("name"):
        yield f"{meaning[0].upper()}{meaning[1:]}" + ("" if meaning.endswith("?") else ".")
    main = next((name for name in names if name in tags or name == group), None)
    about = {name: _about(group, name) for name in names if not alone and name != main}
    defaults = _settings(group, main) if main and not alone else {}
    if alone:
        for name in names:
            values = _settings(group, name)
            fields = [f"{field} {_default(field, values)}" for field in values["smoke"] if field != "name"]
            about[name] = "; ".join(fields)
    if any(about.values()):
        yield "\n".join(f"- `{group}={name}`: {text}" for name, text in about.items() if text or alone)
    yield _table(member, [name for name in member.model_fields if name != "name"], defaults)


def _names(group: str) -> list[str]:
    """Return the options of a config group: its files, and of estimators the aliases."""
    aliases = ALIASES if group == "estimator" else {}
    return sorted({*aliases, *(path.stem for path in (checkout() / "conf" / group).glob("*.yaml"))})


def _settings(group: str, name: str) -> dict[str, Values]:
    """Return the values that an option of a group sets, by scale."""
    option = f"{group}='{name}'"  # `off` without quotes would be a truth value
    return {scale: _values((option,), scale)[group] for scale in SCALES}


def _about(group: str, name: str) -> str:
    """Return the description of an option: of its alias, or the comment at the top of its file."""
    if group == "estimator" and name in ALIASES:
        return ALIASES[name].about
    lines = (checkout() / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in comment if "@package" not in line)


@cache
def _values(overrides: tuple[str, ...], scale: str) -> Values:
    """Return the values of conf/train.yaml with these overrides."""
    return plain(composed([*overrides, f"scale={scale}"]))


def _table(schema: type[BaseModel], names: list[str], defaults: dict[str, Values]) -> str:
    if not names:
        return "It has no fields."
    types, texts = field_types(schema), meanings(schema)
    rows = [["field", "type and allowed values", *(["default"] if defaults else []), "meaning"]]
    for name in names:
        meaning = texts[name]
        if schema is RunConfig and name in NOT_SCIENCE:
            meaning += "; no part of a run's name"
        rows.append([f"`{name}`", types[name], *([_default(name, defaults)] if defaults else []), meaning])
    return markdown_table(rows)


def _default(name: str, defaults: dict[str, Values]) -> str:
    if [defaults[scale].get(name) for scale in SCALES] == [*SCALES]:  # it is the scale itself
        return "`laptop`"
    values = [_yaml(defaults[scale].get(name)) for scale in SCALES]
    if len(set(values)) == 1:
        return "must be given" if values[0] == "`???`" else values[0]
    return ", ".join(f"{value} ({scale})" for scale, value in zip(SCALES, values, strict=True))


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
