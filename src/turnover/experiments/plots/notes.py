"""What a reader must know about a figure's runs: data, network, training, seeds, subsets, what was reduced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnover.common.text import flatten
from turnover.config.compose import sweep, varied
from turnover.config.datasets import DATASETS
from turnover.config.estimators import score_of
from turnover.config.options import (
    ConvConfig,
    CvTConfig,
    LabelSubsets,
    MLPConfig,
    NoSubsets,
    TableSubsets,
    TurnoverConfig,
    VGG11Config,
)
from turnover.config.run import RunConfig, ScoreSubsets
from turnover.errors import RefusedInput
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_subsets

_NO_REDUCTION = ("subsets.runs", "estimator.epochs")  # told of the score runs themselves; costs no accuracy
_PAPER: dict[str, dict[str, Any]] = {  # appendix A and section 3.1, of what an experiment here may do in another way
    "mnist": {"epochs": 200, "schedule.name": "constant", "turnover.layers": None},
    "cifar10": {"epochs": 200, "schedule.name": "multistep", "turnover.layers": None},
}
SMOKE = "Smoke scale proves that all works; its numbers and verdicts mean nothing."


@dataclass(frozen=True)
class Source:
    """A finished run that a figure draws."""

    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class Notes:
    """The lines under a figure, and the same as data for its json."""

    lines: list[str]
    settings: dict[str, Any] = field(default_factory=dict)  # of fields that all runs share
    reduced: list[str] = field(default_factory=list)  # what differs from the paper's setting


def notes(sources: Sequence[Source], scale: str, overrides: Sequence[str] = ()) -> Notes:
    """What stands under a figure of these runs, made with these overrides of their experiment."""
    if not sources:
        return Notes(["Masks of seed 0, p = 0.5; nothing is trained, so every scale shows the same."])
    configs = [source.config for source in sources]
    lines = list(dict.fromkeys(line for config in configs for line in _setting(config, configs)))
    lines += dict.fromkeys(line for config in configs for line in [_subsets(config)] if line)
    reduced = [] if scale == "paper" else _reduced(configs, overrides)
    lines += [f"Not as the experiment says: {', '.join(overrides)}."] if overrides else []
    unlike = _unlike_paper(configs) if scale == "paper" else []
    told = {"; reduced: ": reduced, ", not as in the paper: ": unlike}
    lines.append(f"{scale} scale" + "".join(f"{word}{'; '.join(found)}" for word, found in told.items() if found) + ".")
    if scale == "smoke":
        lines.append(SMOKE)
    first, *others = map(_fields, configs)
    same = {name: value for name, value in first.items() if all(repr(each.get(name)) == repr(value) for each in others)}
    return Notes(lines, same, reduced + unlike)


def network(config: RunConfig) -> str:
    """The name of a run's network as papers write it."""
    facts = DATASETS[config.dataset.name]
    match config.model:
        case MLPConfig(hidden=hidden):
            channels, height, width = facts.shape
            return f"MLP {'-'.join(str(size) for size in (channels * height * width, *hidden, facts.classes))}"
        case VGG11Config(width=width):
            return "VGG-11" if width == 64 else f"VGG-11 of width {width}"
        case ConvConfig(width=width):
            return f"conv net {width}-{2 * width}-{4 * width}"
        case CvTConfig(depth=depth, convolutions=convolutions, dim=dim):
            return f"CCT-{depth}/3x{convolutions}, {dim} channels"


def pair(config: RunConfig) -> str:
    """Data and network, for example "MNIST, MLP 784-4096-10"."""
    return f"{DATASETS[config.dataset.name].title}, {network(config)}"


def trained_on(config: RunConfig) -> int:
    """Number of examples that the network of a finished run trained on."""
    only = config.subsets.train_on
    if only == "all":
        return config.trained_size
    left_out = isinstance(config.subsets, ScoreSubsets) and only.startswith("without_")
    table = read_subsets(Run(config).folder)
    subset = only.removeprefix("without_") if left_out else only
    named = int(((table["split"] == "train") & (table["subset"] == subset)).sum())
    return config.train_size - named if left_out else named


def _setting(config: RunConfig, among: Sequence[RunConfig]) -> list[str]:
    alike = [other for other in among if pair(other) == pair(config)]
    seeds = ", ".join(str(seed) for seed in sorted({other.seed for other in alike}))
    sizes = " or ".join(f"{size:,}" for size in sorted({trained_on(other) for other in alike}))
    rates = ", ".join(f"{rate:g}" for rate in sorted({other.optimizer.lr for other in alike}))
    schedules = ", ".join(dict.fromkeys(other.schedule.name for other in alike))
    epochs = ", ".join(str(number) for number in sorted({other.epochs for other in alike}))
    included = " (test examples among them)" if config.dataset.include_test else ""
    lines = [
        f"{DATASETS[config.dataset.name].title}, {sizes} training examples{included}{_wrong_labels(alike)}; "
        f"{network(config)}; SGD lr {rates} {schedules}, momentum {config.optimizer.momentum:g}, "
        f"batch {config.batch_size}, {epochs} epochs; seed{'s' if ',' in seeds else ''} {seeds}."
    ]
    if isinstance(config.turnover, TurnoverConfig) and set(varied(alike)[0]) <= {"seed"}:
        lines.append(f"{pair(config)}: {masks(config)}; {_judged(alike)}.")
    return lines


def _wrong_labels(runs: Sequence[RunConfig]) -> str:
    """How many labels of all these runs are not the real ones; nothing where runs differ in that or subsets tell it."""
    first = runs[0]
    alike = all(run.corruption == first.corruption and run.train_size == first.train_size for run in runs)
    if not alike or not first.corruption.count or isinstance(first.subsets, LabelSubsets):
        return ""
    kind = {"random": "random", "symmetric": "wrong", "pair": "wrong (the next class)"}[first.corruption.kind]
    return f", {first.corruption.count:,} of {first.train_size:,} labels {kind}"


def _judged(runs: Sequence[RunConfig]) -> str:
    """What sub-networks reach in score runs, a mean over them, and every verdict on leakage but that of none."""
    found = [Run(run).manifest.get("leakage") or {} for run in runs]
    own, flipped = (
        sum(each.get(f"{kind}_accuracy", float("nan")) for each in found) / len(found) for kind in ("own", "flipped")
    )
    leaks = " and ".join(sorted({each["verdict"] for each in found if each.get("verdict", "none") != "none"}))
    return f"own accuracy {own:.2f}, flipped {flipped:.2f}" + (f"; {leaks}" if leaks else "")


def _subsets(config: RunConfig) -> str:
    """Which examples are easy and difficult here, and what is known of the runs that say so."""
    name, size = DATASETS[config.dataset.name].title, f"{config.subset_size:,}"
    match config.subsets:
        case NoSubsets():
            return ""
        case TableSubsets(path=path):
            return f"Subsets as listed in {path}."
        case LabelSubsets():
            random = config.corruption.count
            return (
                f"Easy: {size} of the {config.train_size - random:,} examples with real labels; "
                f"difficult: {size} of the {random:,} with random ones; both chosen at random."
            )
        case ScoreSubsets(runs=runs):
            first = runs[0]
            classes = ", as many of every class" if config.subsets.balanced else ""
            how = f"{masks(first)}, {first.epochs} epochs; {_judged(runs)}"
            if not isinstance(first.turnover, TurnoverConfig):
                how = f"{score_of(first.estimator)}, {first.epochs} epochs"
            whose = f"the mean of {len(runs)} score runs" if len(runs) > 1 else "of one score run"
            return f"{name}: easy and difficult are the {size} lowest and highest scores{classes}, {whose} ({how})."


def masks(config: RunConfig) -> str:
    """Where and how turn-over dropout sits, in a few words."""
    turnover = config.turnover
    if not isinstance(turnover, TurnoverConfig):
        return "no turn-over dropout"
    where = "all hidden layers" if turnover.layers is None else " and ".join(turnover.layers)
    words = [f"turn-over dropout in {where}", f"p {turnover.p:g}"]
    words += [f"{turnover.groups} shared masks"] if turnover.groups else []
    words += [f"after {turnover.plain_epochs} plain epochs"] if turnover.plain_epochs else []
    return ", ".join(words)


def _reduced(configs: Sequence[RunConfig], overrides: Sequence[str]) -> list[str]:
    """Every field in which the runs, or the score runs behind them, differ from the paper's scale."""
    found: dict[str, None] = {}  # a set that keeps its order
    several = len({pair(config) for config in configs}) > 1
    for experiment in dict.fromkeys(config.experiment for config in configs):
        ours = [config for config in configs if config.experiment == experiment]
        try:
            theirs = sweep([f"+experiment={experiment}", "scale=paper", *overrides])
        except RefusedInput:  # with these overrides there is no such run at the paper's scale
            continue
        for here, there in _pairs(ours, theirs):
            prefix = f"{DATASETS[here.dataset.name].title} " if several else ""
            found |= dict.fromkeys(prefix + text for text in _differences(here, there))
            for our_parent, their_parent in zip(here.parents, there.parents, strict=True):
                found |= dict.fromkeys(
                    f"{prefix}score runs' {text}"
                    for text in _differences(our_parent, their_parent)
                    if text not in _differences(here, there)
                )
    return list(found)


def _pairs(ours: Sequence[RunConfig], theirs: Sequence[RunConfig]) -> list[tuple[RunConfig, RunConfig]]:
    """Each run with the one that stands for it at the paper's scale; a smaller sweep leaves some of those out."""
    if len(ours) == len(theirs):
        return list(zip(ours, theirs, strict=True))
    pairs = []
    for here, special in zip(ours, varied(ours), strict=True):
        alike = (there for there in theirs if special.items() <= flatten(there.science()).items())
        pairs += [(here, there) for there in [next(alike, None)] if there is not None]
    return pairs


def _unlike_paper(configs: Sequence[RunConfig]) -> list[str]:
    """Where the runs, or the score runs behind them, are not as the paper's are at any scale."""
    found: dict[str, None] = {}
    runs = [("", config) for config in configs]
    runs += [("score runs' ", parent) for config in configs for parent in config.parents]
    for prefix, config in runs:
        ours = flatten(config.science())
        found |= dict.fromkeys(
            f"{prefix}{name} {_said(ours[name])} (paper: {_said(theirs)})"
            for name, theirs in _PAPER.get(config.dataset.name, {}).items()
            if name in ours and ours[name] != theirs
        )
    return list(found)


def _fields(config: RunConfig) -> dict[str, Any]:
    """Every field by its dotted name, with what `precision=auto` was in the run, if it is finished."""
    fields = flatten(config.science())
    if config.precision == "auto":
        fields["precision"] = Run(config).manifest.get("precision", fields["precision"])
    return fields


def _differences(ours: RunConfig, theirs: RunConfig) -> list[str]:
    here, there = _fields(ours), _fields(theirs)
    return [
        f"{name} {_said(here[name])} (paper scale: {_said(there.get(name))})"
        for name in here
        if here[name] != there.get(name) and name not in _NO_REDUCTION
    ]


def _said(value: Any) -> str:
    return "all" if value is None else str(value)
