"""Where runs differ from the paper's: in fields of their configs, and the same in words."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from turnover.common.text import flatten
from turnover.config.compose import sweep, varied
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.runs.store.run import Run

Recorded = Mapping[str, Mapping[str, Any]]  # what runs wrote into their manifests, by the names of the runs
Difference = tuple[str, str, Any, Any]  # of which runs, if not of all; field, its value, and the paper's
# shown with the score runs themselves; costs no accuracy; watches more
_NO_REDUCTION = ("subsets.runs", "estimator.epochs", "tracking.steps")
_PAPER: dict[str, dict[str, Any]] = {  # appendix A and section 3.1, of what an experiment here may do in another way
    "mnist": {"epochs": 200, "schedule.name": "constant", "turnover.layers": None},
    "cifar10": {"epochs": 200, "schedule.name": "multistep", "turnover.layers": None},
}
_WORDS = {  # for the fields of a config, where they differ from the paper's
    "batch_size": "batch",
    "corruption.count": "random labels",
    "dataset.limit": "training examples",
    "dataset.test_limit": "test examples",
    "estimator.models": "networks",
    "estimator.targets": "test images looked at",
    "model.hidden": "hidden units",
    "model.width": "width",
    "optimizer.lr": "learning rate",
    "optimizer.momentum": "momentum",
    "precision": "arithmetic",
    "schedule.milestones": "lower rates after epochs",
    "schedule.name": "schedule",
    "subsets.size": "size of a subset",
    "tracking.every": "epochs from one accuracy to the next",
    "tracking.examples": "examples of an accuracy",
    "turnover.layers": "masked layers",
}


def recorded(configs: Sequence[RunConfig]) -> dict[str, dict[str, Any]]:
    """Return the manifests of these runs by their names."""
    return {Run(config).name: Run(config).manifest for config in configs}


def reduced(
    configs: Sequence[RunConfig], overrides: Sequence[str], recorded: Recorded, several: bool
) -> list[Difference]:
    """Return every field in which the runs, or the score runs behind them, differ from the paper's scale.

    Args:
        several: whether they have several data sets or networks, so that differences name the data set.
    """
    differences: list[Difference] = []
    for experiment in dict.fromkeys(config.experiment for config in configs):
        ours = [config for config in configs if config.experiment == experiment]
        try:
            theirs = sweep([f"+experiment={experiment}", "scale=paper", *overrides])
        except RefusedInput:  # with these overrides there is no such run at the paper's scale
            continue
        for here, there in _pairs(ours, theirs):
            prefix = f"{here.dataset.info.title} " if several else ""
            own = _differences(here, there, recorded)
            differences += [(prefix, *difference) for difference in own]
            for our_parent, their_parent in zip(here.parents, there.parents, strict=True):
                of_parent = _differences(our_parent, their_parent, recorded)
                differences += [
                    (f"{prefix}score runs' ", *difference) for difference in of_parent if difference not in own
                ]
    return _once(differences)


def _pairs(ours: Sequence[RunConfig], theirs: Sequence[RunConfig]) -> list[tuple[RunConfig, RunConfig]]:
    """Return a run of each setting with one at the paper's scale, whatever their seeds; a sweep may leave some out."""
    ours, theirs = _settings(ours), _settings(theirs)
    if len(ours) == len(theirs):
        return list(zip(ours, theirs, strict=True))
    pairs = []
    for here, special in zip(ours, varied(ours), strict=True):
        same = (
            there
            for there in theirs
            if all(
                flatten(there.science()).get(name) == value
                for name, value in special.items()
                if name not in _NO_REDUCTION
            )
        )
        pairs += [(here, there) for there in itertools.islice(same, 1)]
    return pairs


def _settings(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the first of those runs that differ in their seeds alone."""
    settings: dict[str, RunConfig] = {}
    for config in configs:
        fields = {name: value for name, value in flatten(config.science()).items() if not is_seed(name)}
        settings.setdefault(repr(fields), config)
    return list(settings.values())


def is_seed(name: str) -> bool:
    """Return whether a dotted field is a seed, of whatever it is."""
    return name.rpartition(".")[2] == "seed"


def unlike_paper(configs: Sequence[RunConfig], several: bool) -> list[Difference]:
    """Return where the runs, or the score runs behind them, are not as the paper's are at any scale.

    Args:
        several: whether they have several data sets or networks, so that differences name the data set.
    """
    differences: list[Difference] = []
    runs = [("", config) for config in configs]
    runs += [("score runs' ", parent) for config in configs for parent in config.parents]
    for prefix, config in runs:
        ours = flatten(config.science())
        for name, theirs in _PAPER.get(config.dataset.name, {}).items():
            if ours.get(name, theirs) != theirs:
                title = f"{config.dataset.info.title} " if several else ""
                differences.append((f"{title}{prefix}", name, ours[name], theirs))
    return _once(differences)


def _once(differences: Sequence[Difference]) -> list[Difference]:
    return list({repr(difference): difference for difference in differences}.values())


def in_words(differences: Sequence[Difference]) -> str:
    """Return differences in words; fields of the same runs together, and a field's values of several runs too."""
    by_runs: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for of, name, ours, theirs in differences:
        by_runs.setdefault(of, {}).setdefault(name, []).append((_worded(ours), _worded(theirs)))
    texts = []
    for of, fields in by_runs.items():
        words = []
        for name, values in fields.items():
            words.append(f"{_WORDS.get(name, name)} {_paired(list(dict.fromkeys(values)))}")
        texts.append(of + ", ".join(words))
    return "; ".join(texts)


def _paired(values: list[tuple[str, str]]) -> str:
    """Return values with the paper's: in the same order if all are different, else together by the paper's."""
    if len({ours for ours, _ in values}) == len({theirs for _, theirs in values}) == len(values):
        return " instead of ".join(", ".join(side) for side in zip(*values, strict=True))
    groups = {theirs: [ours for ours, of in values if of == theirs] for _, theirs in values}
    return " and ".join(f"{', '.join(ours)} instead of {theirs}" for theirs, ours in groups.items())


def by_fields(found: Sequence[Difference], paper: str) -> list[str]:
    """Return differences by the names of fields."""
    return [f"{of}{name} {all_if_none(ours)} ({paper}: {all_if_none(theirs)})" for of, name, ours, theirs in found]


def fields(config: RunConfig, recorded: Recorded) -> dict[str, Any]:
    """Return every field by its dotted name; `precision=auto` as it was in the run, if that is finished."""
    fields = flatten(config.science())
    if config.precision == "auto":
        fields["precision"] = recorded.get(Run(config).name, {}).get("precision") or fields["precision"]
    return fields


def _differences(ours: RunConfig, theirs: RunConfig, recorded: Recorded) -> list[tuple[str, Any, Any]]:
    here, there = fields(ours, recorded), fields(theirs, recorded)
    return [
        (name, value, there.get(name))
        for name, value in here.items()
        if value != there.get(name) and name not in _NO_REDUCTION and not is_seed(name)
    ]


def all_if_none(value: Any) -> str:
    """Return the text of a value; of None, as a limit is if there is none, "all"."""
    return "all" if value is None else str(value)


def _worded(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(_worded, value))
    return f"{value:,}" if isinstance(value, int) else all_if_none(value)
