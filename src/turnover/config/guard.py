"""A config cannot run code: what it says to Hydra is what `conf/` and Hydra's own defaults say, but for plain settings.

Hydra calls whatever a `_target_` names, Python's logging whatever stands under "()", Slurm's launcher writes its values
into a shell script, and Hydra writes into the folders that it is told. So everything below `hydra` must be, character
for character and with nothing resolved, what this repository composes; a few settings, listed here, may have another
plain value. All else in a config, perhaps sent by someone else, is data, and typed.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from turnover.common.files import checkout, outputs_root
from turnover.errors import RefusedInput

Field = tuple[str, ...]  # names from the root; a name may itself hold a dot

LAUNCHERS = ("basic", "joblib", "slurm", "submitit_slurm", "submitit_local")
LAUNCHER_SETTINGS = """
    account array_parallelism comment constraint cpus_per_gpu cpus_per_task exclude gpus_per_node gpus_per_task gres
    max_num_timeout mem_gb mem_per_cpu mem_per_gpu n_jobs name nodes partition qos signal_delay_s tasks_per_node
    timeout_min
""".split()
_SETTINGS = {
    ("hydra", "verbose"),
    ("hydra", "job", "name"),
    *(("hydra", "launcher", name) for name in LAUNCHER_SETTINGS),
}
_NOTES = [  # what Hydra notes of the command itself; overrides are composed and checked in their turn
    ("hydra", "runtime"),
    ("hydra", "overrides"),
    ("hydra", "mode"),
    ("hydra", "job", "config_name"),
    ("hydra", "job", "override_dirname"),
    ("hydra", "sweeper", "params"),
]
_SWEEP_FOLDER = ("hydra", "sweep", "dir")
_PLAIN = re.compile(r"[\w.,:;@+*|&()\[\]=/!-]*", re.ASCII)  # no space, no quote, no line: nothing for a shell


class GuardedLoader(ConfigLoaderImpl):
    """Composes configs as Hydra does, and refuses code in them; other processes get it with their job."""

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        """A composed config, checked before anything in it is used."""
        config = super().load_configuration(*arguments, **options)
        refuse_code(config)
        return config


def guard() -> None:
    """From now on every config that Hydra composes is checked."""
    hydra._internal.hydra.ConfigLoaderImpl = GuardedLoader  # type: ignore[attr-defined]


def refuse_code(config: DictConfig) -> None:
    """Refuse a composed config, `hydra` included, that says anything to Hydra which could run code or write anywhere.

    Raises:
        RefusedInput: names the field and what it says.
    """
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher not in LAUNCHERS:
        raise RefusedInput(f"hydra/launcher = {launcher}: allowed: {', '.join(LAUNCHERS)}")
    ours = _ours(config.hydra.job.config_name, launcher)
    for field, value in _leaves(OmegaConf.to_container(config, resolve=False), ()):
        told = f"{'.'.join(field)} = {value!r}"
        if field[0] != "hydra":
            if field[-1] == "_target_":
                raise RefusedInput(f"{told}: a config cannot name code to run; remove it")
            continue
        if (field in ours and ours[field] == value) or any(field[: len(note)] == note for note in _NOTES):
            continue
        if field in _SETTINGS:
            if not _plain(value):
                raise RefusedInput(f"{told}: must be a number or a plain word, as it may end up in a shell script")
        elif field == _SWEEP_FOLDER:
            if not _plain(value) or not _below_outputs(Path(str(value))):
                raise RefusedInput(f"{told}: must be a folder below {outputs_root()}, outside of runs, without spaces")
        else:
            raise RefusedInput(f"{told}: a config cannot change this part of Hydra; {_advice(field)}")


@cache
def _ours(name: str, launcher: str) -> dict[Field, Any]:
    """What the configs of this repository say to Hydra, nothing resolved."""
    folder = checkout() / "conf"
    known = name if (folder / f"{name}.yaml").is_file() else "train"
    loader = ConfigLoaderImpl(create_config_search_path(str(folder)))
    config = loader.load_configuration(known, [f"hydra/launcher={launcher}"], RunMode.MULTIRUN)  # without a figure too
    return dict(_leaves(OmegaConf.to_container(config, resolve=False), ()))


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float) or bool(_PLAIN.fullmatch(str(value)))


def _below_outputs(path: Path) -> bool:
    root, where = outputs_root().resolve(), path.resolve()
    return root in where.parents and root / "runs" not in (where, *where.parents)


def _advice(field: Field) -> str:
    if field[1] == "launcher":
        return f"of a launcher it may set {', '.join(LAUNCHER_SETTINGS)}; set the rest in the shell before this command"
    if field[1:3] == ("job", "env_set"):
        return "set it in the shell before this command"
    return "remove it"


def _leaves(values: Any, field: Field) -> Iterator[tuple[Field, Any]]:
    """Every value that is no mapping and no list, with the names that lead to it."""
    inside = enumerate(values) if isinstance(values, list) else values.items() if isinstance(values, dict) else None
    if inside is None:
        yield field, values
        return
    for name, each in inside:
        yield from _leaves(each, (*field, str(name)))
