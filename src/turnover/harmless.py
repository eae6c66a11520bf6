"""A config cannot run code: what Hydra would call, or hand to a shell, is refused unless it is known here.

Hydra calls whatever a `_target_` names, Python's logging whatever stands under "()", Slurm's launcher runs `setup` in a
shell. A config, perhaps sent by someone else, may only choose among what is known. The rest of it is data, and typed.
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from turnover.errors import RefusedInput

_TARGETS = {
    "hydra.callbacks.plan": {"turnover.plan.AnnouncePlan"},
    "hydra.sweeper": {"hydra._internal.core_plugins.basic_sweeper.BasicSweeper"},
    "hydra.launcher": {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    },
}
_SHELL = {  # what is not plain data; a job has the environment of the command that submits it
    "hydra.launcher.setup": "give such commands in the shell before this one",
    "hydra.launcher.submitit_folder": "it lies in the folder of the sweep",
    "hydra.job.env_set": "set it in the shell before this command",
}
_FOLDER = "${hydra.sweep.dir}/.submitit/%j"
_LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
_SILENT = ("version", "root", "disable_existing_loggers")


def guard() -> None:
    """From now on every config that Hydra composes is checked before anything in it is used."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    load = ConfigLoaderImpl.load_configuration
    if getattr(load, "guarded", False):
        return

    def checked(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
        config = load(self, *arguments, **options)
        refuse_code(config)
        return config

    checked.guarded = True  # type: ignore[attr-defined]
    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]


def refuse_code(config: DictConfig) -> None:
    """Refuse a composed config in which anything could be run that is not known.

    Raises:
        RefusedInput: names the field and what it says.
    """
    for field, value in _leaves(OmegaConf.to_container(config, resolve=False), ""):
        group, _, name = field.rpartition(".")
        if name == "_target_" and value not in _TARGETS.get(group, ()):
            raise RefusedInput(f"{field} = {value}: a config cannot name code to run; remove it")
        for forbidden, instead in _SHELL.items():
            if f"{field}.".startswith(f"{forbidden}.") and value not in (None, _FOLDER):
                raise RefusedInput(f"{field} = {value}: a config cannot say what to run; {instead}")
        if field.startswith("hydra.launcher.") and value != _FOLDER:
            said = _resolved(config, field, value)
            if any(mark in f"{field}{said}" for mark in "\n\r"):
                raise RefusedInput(f"{field} = {said!r}: has more than one line, and would end up in a shell script")
        if group.startswith(tuple(f"{each}." for each in _LOGGING)) or (group in _LOGGING and name not in _SILENT):
            raise RefusedInput(f"{field} = {value}: a config cannot say how to log; every run keeps its own log")


def _resolved(config: DictConfig, field: str, value: Any) -> Any:
    """What a launcher would be given: a value may only point at one that has more than one line."""
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        return OmegaConf.select(config, field)
    except OmegaConfBaseException:
        raise RefusedInput(f"{field} = {value}: cannot be resolved; write what it stands for") from None


def _leaves(values: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping and no list, with the dotted name of its field."""
    inside = enumerate(values) if isinstance(values, list) else values.items() if isinstance(values, dict) else None
    if inside is None:
        yield field, values
        return
    for name, each in inside:
        yield from _leaves(each, f"{field}.{name}" if field else str(name))
