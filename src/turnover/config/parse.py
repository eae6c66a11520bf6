"""Parsing of plain values into checked configs, with one readable line for every error.

A line names the field, the value, what is allowed, and what a misspelt name may have meant.
"""

import copy
from functools import cache
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from turnover.common.text import suggestion
from turnover.config.checks import disagreements
from turnover.config.options import Group
from turnover.config.run import LATER, RunConfig, Training
from turnover.errors import RefusedInput

Schema = TypeVar("Schema", bound=BaseModel)


def parse(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """Validate `values` as a `schema`; RefusedInput lists every wrong field, its value and what is allowed."""
    if schema is Training:  # of a call, which need not name what came later
        values = {name: value for name, value in completed(values).items() if name in {*values, *Training.model_fields}}
    try:
        parsed = schema.model_validate(values)
    except ValidationError as error:
        lines = [_explain(schema, item) for item in error.errors(include_url=False)]
        raise RefusedInput("\n".join(lines)) from None
    if isinstance(parsed, RunConfig):
        refuse_contradictions(parsed)
    return parsed


def refuse_contradictions(config: RunConfig) -> None:
    """Refuse a run, or one that it needs, whose options do not agree.

    Raises:
        RefusedInput: a line for every contradiction.
    """
    for parent in config.parents:
        refuse_contradictions(parent)
    if problems := disagreements(config):
        raise RefusedInput("\n".join(problems))


# of some choices of their group
_LATER_OF = {
    "model.dropout": ("mlp", "conv", "vgg11", "cvt"),
    "schedule.by": ("cosine", "linear"),
    "schedule.warmup": ("constant", "cosine", "linear"),
    "turnover.dropout": ("all_layers", "example_tied"),
    "estimator.targets": ("turnover",),
    "estimator.vog_of": ("one_run",),
    "estimator.vog_epochs": ("one_run",),
    "subsets.random_of": ("scores",),
    "logger.checkpoints": ("wandb",),
}


def completed(values: dict[str, Any]) -> dict[str, Any]:
    """Return values of a config, with the neutral ones of options that came later than they were written."""
    values = copy.deepcopy(values)
    for field, neutral in LATER.items():
        group, _, name = field.partition(".")
        if not name:
            values.setdefault(group, neutral)
        elif group in values and (field not in _LATER_OF or values[group].get("name") in _LATER_OF[field]):
            values[group].setdefault(name, neutral)
    return values


def recorded(values: dict[str, Any]) -> RunConfig:
    """Return the run of a stored config.yaml, perhaps written before some options existed.

    Raises:
        ValueError: no such run is allowed by the code as it is.
    """
    values = completed(values)
    if isinstance(values["subsets"].get("runs"), list):
        values["subsets"]["runs"] = [recorded(parent) for parent in values["subsets"]["runs"]]
    config = RunConfig.model_validate(values)
    refuse_contradictions(config)
    return config


def _explain(schema: type[BaseModel], item: Any) -> str:
    # The location of a union's member includes the discriminator's value, which is no field of the config.
    path = [str(key) for depth, key in enumerate(item["loc"]) if not (depth == 1 and key in _tags())]
    field, value = ".".join(path), item["input"]
    match item["type"]:
        case "extra_forbidden":
            return f"{field} = {value!r}: there is no such field; {_nearest(schema, field)}"
        case "missing":
            return f"{field}: a value is required"
        case "string_pattern_mismatch" if field == "device":
            return f"device = {value!r}: allowed: auto, cpu, cuda, cuda:N"
        case "union_tag_invalid":
            return f"{field}.name = {item['ctx']['tag']!r}: allowed: {item['ctx']['expected_tags']}"
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{field} = {value!r}: {message}" if field else message
        case _:
            message = item["msg"].removeprefix("Input ").replace("Input should", "should")
            return f"{field} = {value!r}: {message}"


def fields(schema: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Return every dotted field name of a schema, unions included."""
    names: list[str] = []
    for name, info in schema.model_fields.items():
        members = [m for m in _models(info.annotation) if issubclass(m, Group)]
        names += [prefix + name] if not members else []
        for member in members:
            names += fields(member, f"{prefix}{name}.")
    return sorted(set(names))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is list:  # of runs within a run
        return []
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)]


@cache
def _tags() -> set[str]:
    """Return the names of all options, the discriminators of unions."""
    options = [option for info in RunConfig.model_fields.values() for option in _models(info.annotation)]
    names: list[Any] = [option.model_fields["name"].annotation for option in options if "name" in option.model_fields]
    return {str(tag) for name in names for tag in getattr(name, "__args__", ())}


def _nearest(schema: type[BaseModel], field: str) -> str:
    if field in fields(schema):
        return f"it belongs to another option of {field.split('.')[0]!r}"
    return suggestion(field, fields(schema))
