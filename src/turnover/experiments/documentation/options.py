"""The configuration reference: every group, option and field, generated from the schema and from conf/."""

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import BaseModel

from turnover.common.files import checkout
from turnover.config.estimators import ALIASES
from turnover.config.options import Group
from turnover.config.run import NOT_SCIENCE, RunConfig
from turnover.experiments.documentation.tables import markdown_table
from turnover.experiments.figures.make import FigureJob  # with it come the resolvers of conf/
from turnover.experiments.validation.make import ValidateJob


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


SCALES = ("smoke", "laptop", "paper")

Values = dict[str, Any]


def reference() -> str:
    """The whole page: the fields of a run itself, every config group with its options, the other entry points."""
    plain = [name for name in RunConfig.model_fields if not members(name)]
    parts = ["## A run", _table(RunConfig, plain, _at_scales("train", ()))]
    for group in RunConfig.model_fields:
        if found := members(group):
            parts.append(f"## `{group}`")
            parts += [text for member in found for text in _option(group, member, alone=len(found) == 1)]
    jobs: dict[str, type[Group]] = {"figure": FigureJob, "validate": ValidateJob}
    for script, job in jobs.items():
        parts += [f"## `scripts/{script}.py`", _table(job, list(job.model_fields), {})]
    return "\n\n".join(parts)


def members(field: str) -> list[type[Group]]:
    """The classes that a field of a run may be; none if it is a plain value."""
    return list(_groups(RunConfig.model_fields[field].annotation))


def _groups(annotation: Any) -> Iterator[type[Group]]:
    if isinstance(annotation, type) and issubclass(annotation, Group):
        yield annotation
    elif not isinstance(annotation, type):
        for part in get_args(annotation):
            yield from _groups(part)


def _option(group: str, member: type[Group], *, alone: bool) -> Iterator[str]:
    """Title, meaning, files and fields of one class of a group; a group of one class has its title already."""
    tags = get_args(member.model_fields["name"].annotation) if "name" in member.model_fields else ()
    names = _names(group)
    if not alone:
        names = [name for name in names if _values("train", (_choice(group, name),), "smoke")[group]["name"] in tags]
        yield "### " + (" · ".join(f"`{group}={name}`" for name in names) or member.__name__)
    if said := meanings(member).get("name"):
        yield f"{said[0].upper()}{said[1:]}" + ("" if said.endswith("?") else ".")
    main = next((name for name in names if name in tags or name == group), None)
    if alone:
        yield "\n".join(f"- `{group}={name}`: {_settings(group, name)}" for name in names)
    elif others := [
        f"- `{group}={name}`: {about}" for name in names if name != main and (about := _about(group, name))
    ]:
        yield "\n".join(others)
    defaults = {}
    if main and not alone:
        defaults = {scale: values[group] for scale, values in _at_scales("train", (_choice(group, main),)).items()}
    yield _table(member, [name for name in member.model_fields if name != "name"], defaults)


def _names(group: str) -> list[str]:
    """The options of a config group: its files, and of estimators the aliases."""
    aliases = ALIASES if group == "estimator" else {}
    return sorted({*aliases, *(path.stem for path in (checkout() / "conf" / group).glob("*.yaml"))})


def _choice(group: str, name: str) -> str:
    return f"{group}='{name}'"  # `off` without quotes would be a truth value


def _settings(group: str, name: str) -> str:
    """What one option of a group that has a single class sets."""
    of_scales = {scale: values[group] for scale, values in _at_scales("train", (_choice(group, name),)).items()}
    told = [f"{name} {_default(name, of_scales)}" for name in of_scales["smoke"] if name != "name"]
    return "; ".join(told)


def _about(group: str, name: str) -> str:
    """What an option is: an alias says it, or the comment at the top of its file."""
    if group == "estimator" and name in ALIASES:
        return ALIASES[name].about
    said = []
    for line in (checkout() / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        said += [line.lstrip("# ")] if "@package" not in line else []
    return " ".join(said)


def _at_scales(entry: str, overrides: tuple[str, ...]) -> dict[str, Values]:
    return {scale: _values(entry, overrides, scale) for scale in SCALES}


@cache
def _values(entry: str, overrides: tuple[str, ...], scale: str) -> Values:
    """What conf/ says with these choices."""
    with initialize_config_dir(str(checkout() / "conf"), version_base="1.3"):
        found: Any = OmegaConf.to_container(compose(entry, [*overrides, f"scale={scale}"]), resolve=True)
    return dict(found)


def _table(schema: type[BaseModel], names: list[str], defaults: dict[str, Values]) -> str:
    types, said = field_types(schema), meanings(schema)
    rows = [["field", "type and allowed values", *(["default"] if defaults else []), "meaning"]]
    for name in names:
        free = schema is RunConfig and name in NOT_SCIENCE
        meaning = said[name] + ("; no part of a run's name" if free else "")
        rows.append([f"`{name}`", types[name], *([_default(name, defaults)] if defaults else []), meaning])
    return markdown_table(rows) if names else "It has no fields."


def _default(name: str, defaults: dict[str, Values]) -> str:
    if [defaults[scale].get(name) for scale in SCALES] == [*SCALES]:  # it is the scale itself
        return "`laptop`"
    values = [_told(defaults[scale].get(name)) for scale in SCALES]
    if len(set(values)) == 1:
        return "must be given" if values[0] == "`???`" else values[0]
    return ", ".join(f"{value} ({scale})" for scale, value in zip(SCALES, values, strict=True))


def _told(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
