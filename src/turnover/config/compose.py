"""Composing of configs and sweeps: the runs that `train.py -m` makes, before it makes them."""

import copy
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, get_args

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from turnover.common.files import checkout
from turnover.common.text import flatten, suggestion
from turnover.config.estimator_names import ALIASES
from turnover.config.parse import parse
from turnover.config.probe_run import ProbeRun
from turnover.config.probes import PROBES
from turnover.config.resolvers import RESOLVERS, has_masks
from turnover.config.run import LATER, RunConfig, run_name
from turnover.errors import RefusedInput

for _resolver in RESOLVERS:
    OmegaConf.register_new_resolver(_resolver.__name__, _resolver, replace=True)
for _name, _alias in ALIASES.items():
    ConfigStore.instance().store(_name, {"defaults": [_alias.base], **_alias.fields}, group="estimator")
for _name, _probe in PROBES.items():
    ConfigStore.instance().store(_name, {"name": _name, **_probe.options}, group="probe")


def resolved(config: DictConfig, overrides: Sequence[str] = ()) -> RunConfig:
    """Return a composed config as a checked run.

    Args:
        overrides: those that it was composed with, which take precedence over its variant.
    """
    values = plain(_varied(config, overrides))
    _settle_masks(values)
    subsets = values.get("subsets")
    if isinstance(subsets, dict) and isinstance(subsets.get("runs"), list):
        runs = _parents("subsets.runs", subsets["runs"], values, "score")
        subsets["runs"] = [run.model_dump() for run in runs]
    return parse(RunConfig, values)


def of_probe(config: DictConfig) -> ProbeRun:
    """Return a composed conf/probe.yaml as a checked probe of runs."""
    values = plain(config)
    if not isinstance(values["runs"], list) or not values["runs"]:
        raise RefusedInput(f"runs = {values['runs']!r}: must be a list of overrides of scripts/train.py")
    runs = _parents("runs", values["runs"], values, "train")
    return ProbeRun.of(values["probe"], runs, values["device"], values["scale"])


def _varied(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the config with the values of its `variant` merged in, one of its `variants`, and then the overrides."""
    if "variants" not in config:
        return config
    variants, name = config.variants, config.variant
    if name not in variants:
        raise RefusedInput(f"variant = {name!r}: {suggestion(str(name), list(map(str, variants)))}")
    with open_dict(config):
        config = OmegaConf.merge(config, variants[name])  # type: ignore[assignment]
        _set(config, _parsed(overrides))
        del config["variants"], config["variant"]
    return config


def _set(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Set the values that overrides name; those that choose options are ignored."""
    for override in filter(_is_plain_value, overrides):
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)


def _settle_masks(values: dict[str, Any]) -> None:
    """Replace `turnover=auto` by what the estimator needs, in place; refuse options of masks if there are none."""
    turnover, estimator = values.get("turnover"), values.get("estimator")
    if not isinstance(turnover, dict) or not isinstance(estimator, dict) or turnover.get("name") not in ("auto", "off"):
        return
    if has_masks(turnover["name"], estimator.get("name", "")):
        values["turnover"] = turnover | {"name": "all_layers"}
        return
    usual = OmegaConf.to_container(OmegaConf.load(checkout() / "conf" / "turnover" / "all_layers.yaml"))
    assert isinstance(usual, dict)
    for name, value in turnover.items():
        if name != "name" and (name not in usual or usual[name] != value):
            raise RefusedInput(
                f"turnover.{name} = {value!r}: there is no turn-over dropout without estimator=turnover; choose that, "
                "or set turnover=all_layers"
            )
    values["turnover"] = {"name": "off"}


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a composed config as plain values, with interpolations resolved."""
    _refuse_unknown_scale(config)
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return values


def _refuse_unknown_scale(config: DictConfig) -> None:
    scales = get_args(RunConfig.model_fields["scale"].annotation)
    if config.scale not in scales:
        raise RefusedInput(f"scale = {config.scale!r}: allowed: {', '.join(scales)}")


def _parents(field: str, overrides: list[Any], child: dict[str, Any], entry: str) -> list[RunConfig]:
    """Compose the runs that a run names by overrides of an entry point, at its own scale and on its device."""
    if not all(isinstance(override, str) for override in overrides):
        raise RefusedInput(f"{field} = {overrides!r}: must be overrides of scripts/{entry}.py, a list of strings")
    named = {override.lstrip("+").split("=")[0] for override in overrides}
    inherited = [f"{name}={child[name]}" for name in ("scale", "device") if name not in named]
    try:
        runs = sweep([*overrides, *inherited], entry)
    except RefusedInput as error:
        raise RefusedInput(f"{field} = {overrides!r}, of a {entry} run: {error}") from None
    except HydraException as error:
        message = str(error).partition("\n")[0]
        example = f'{field}=["dataset={child.get("dataset", {"name": "mnist"})["name"]}","seed=0,1,2"]'
        raise RefusedInput(f"{field} = {overrides!r}: {message}; name {entry} runs, for example {example}") from None
    return [parse(RunConfig, parent.model_dump() | {"logger": child["logger"]}) for parent in runs]


def sweep(overrides: Sequence[str], config_name: str = "train") -> list[RunConfig]:
    """Return the distinct runs of `scripts/train.py -m` with these overrides, in order, sweeps of experiments included.

    Raises:
        RefusedInput: a run of the sweep is not allowed.
    """
    return list(_swept(tuple(overrides), config_name))


@lru_cache(maxsize=500)  # the runs of a figure are asked for again and again, score runs by every run that needs them
def _swept(overrides: tuple[str, ...], config_name: str) -> tuple[RunConfig, ...]:
    parsed = _parsed(overrides)
    params = _params([str(each.input_line) for each in parsed if not each.is_sweep_override()], config_name)
    batches = BasicSweeper.split_arguments([*_parsed(params), *parsed], max_batch_size=None)
    configs = [resolved(composed(job, config_name), job) for job in itertools.chain(*batches)]
    if not configs:
        raise RefusedInput(f"{' '.join(overrides)}: a sweep over no value, so there is nothing to do")
    return tuple({run_name(config): config for config in configs}.values())


def composed(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """Return a config, composed with the options that overrides choose, then updated with their values."""
    config = copy.deepcopy(_base(config_name, _options(overrides))[0])
    try:
        _set(config, _parsed(overrides))
    except OmegaConfBaseException:  # Hydra says better what is wrong
        with _hydra():
            return compose(config_name, overrides=list(overrides))
    return config


def _params(overrides: Sequence[str], config_name: str) -> list[str]:
    """Return what a config with these overrides sweeps over by itself, as overrides."""
    config = composed(overrides, config_name)
    _refuse_unknown_scale(config)
    with open_dict(config):  # their values may follow from those of the config
        config.params = _base(config_name, _options(overrides))[1]
    return [f"{key}={value}" for key, value in config.params.items()]


def _options(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that choose which files are composed."""
    return tuple(str(each.input_line) for each in _parsed(overrides) if not _is_plain_value(each))


def quoted(text: str) -> str:
    """Return text in quotes, as the value of an override, in which Hydra takes every character as it is."""
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    return str(QuotedString(literal, Quote.double).with_quotes())


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return [_override(text) for text in overrides]


@lru_cache(maxsize=10_000)
def _override(text: str) -> Override:
    [parsed] = OverridesParser.create().parse_overrides([text])
    return parsed


@lru_cache(maxsize=500)
def _base(config_name: str, options: tuple[str, ...]) -> tuple[DictConfig, dict[Any, Any]]:
    """Compose a config with these options, cached as that takes long; return also what it sweeps over, unresolved."""
    with _hydra():
        config = compose(config_name, overrides=list(options), return_hydra_config=True)
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create())
    assert isinstance(params, dict)
    with open_dict(config):
        del config["hydra"]
    return config, params


def _is_plain_value(override: Override) -> bool:
    """Return True if an override changes an existing value of a run, and not which files are composed."""
    plain, key = override.type == OverrideType.CHANGE and override.package is None, override.key_or_group
    return plain and "/" not in key and not key.startswith("hydra.") and not _is_group(key)


@lru_cache(maxsize=1000)
def _is_group(name: str) -> bool:
    return (checkout() / "conf" / name).is_dir()


def varied(configs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    """Return the dotted fields in which runs differ, with their values in every run: `{"seed": 1}`.

    An option that came later is None where it does nothing.
    """
    flat = [flatten(config.science()) for config in configs]
    known = dict.fromkeys(name for values in flat for name in values if name in flat[0] or name in LATER)
    names = [name for name in known if len({repr(values.get(name)) for values in flat}) > 1]
    return [{name: values.get(name) for name in names} for values in flat]


@contextmanager
def _hydra() -> Iterator[None]:
    if GlobalHydra.instance().is_initialized():  # inside a script that Hydra started
        yield
    else:
        with initialize_config_dir(str(checkout() / "conf"), version_base="1.3"):
            yield
