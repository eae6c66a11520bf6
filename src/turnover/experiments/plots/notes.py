"""What a reader must know about a figure's runs: data, network, training, seeds, subsets, what was reduced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnover.config.compose import varied
from turnover.config.datasets import FACTS
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
from turnover.experiments.plots.differences import Recorded, by_fields, fields, in_words, reduced, unlike_paper
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_subsets

_SCHEDULES = {"constant": "constant", "multistep": "falling in steps", "cosine": "falling as a cosine"}
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


def notes(configs: Sequence[RunConfig], recorded: Recorded, scale: str, overrides: Sequence[str] = ()) -> Notes:
    """What stands under a figure of these runs, made with these overrides of their experiment."""
    if not configs:
        return Notes(["Masks of seed 0, p = 0.5; nothing is trained, so every scale shows the same."])
    lines = list(dict.fromkeys(line for config in configs for line in _setting(config, configs, recorded)))
    lines += dict.fromkeys(line for config in configs for line in [_subsets(config, recorded)] if line)
    lines += [f"Not as the experiment says: {', '.join(overrides)}."] if overrides else []
    several = len(set(map(pair, configs))) > 1
    found = unlike_paper(configs) if scale == "paper" else reduced(configs, overrides, recorded, several)
    paper, than = ("paper", "not as in the paper") if scale == "paper" else ("paper scale", "smaller than the paper's")
    lines.append(f"{scale.capitalize()} scale" + (f", {than}: {in_words(found)}." if found else "."))
    if scale == "smoke":
        lines.append(SMOKE)
    first, *others = (fields(config, recorded) for config in configs)
    same = {name: value for name, value in first.items() if all(repr(each.get(name)) == repr(value) for each in others)}
    return Notes(lines, same, by_fields(found, paper))


def network(config: RunConfig) -> str:
    """The name of a run's network as papers write it."""
    facts = FACTS[config.dataset.name]
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
    return f"{FACTS[config.dataset.name].title}, {network(config)}"


def trained_on(config: RunConfig) -> int:
    """Number of examples that the network of a run trained on; where a table names them, of a finished one."""
    if not isinstance(config.subsets, TableSubsets) or config.subsets.train_on == "all":
        return config.trained_size
    table = read_subsets(Run(config).folder)
    return int(((table["split"] == "train") & (table["subset"] == config.subsets.train_on)).sum())


def _setting(config: RunConfig, among: Sequence[RunConfig], recorded: Recorded) -> list[str]:
    alike = [other for other in among if pair(other) == pair(config)]
    seeds = ", ".join(str(seed) for seed in sorted({other.seed for other in alike}))
    sizes = " or ".join(f"{size:,}" for size in sorted({trained_on(other) for other in alike}))
    rates = ", ".join(f"{rate:g}" for rate in sorted({other.optimizer.lr for other in alike}))
    schedules = " or ".join(dict.fromkeys(_SCHEDULES[other.schedule.name] for other in alike))
    epochs = ", ".join(str(number) for number in sorted({other.epochs for other in alike}))
    included = " (test examples among them)" if config.dataset.include_test else ""
    lines = [
        f"{FACTS[config.dataset.name].title}, {sizes} training examples{included}{_wrong_labels(alike)}; "
        f"{network(config)}; {epochs} epochs of SGD in batches of {config.batch_size}, learning rate {rates} "
        f"({schedules}), momentum {config.optimizer.momentum:g}; seed{'s' if ',' in seeds else ''} {seeds}."
    ]
    if isinstance(config.turnover, TurnoverConfig) and set(varied(alike)[0]) <= {"seed"}:
        lines.append(f"{pair(config)}: {masks(config)}; {_judged(alike, recorded)}.")
    return lines


def _wrong_labels(runs: Sequence[RunConfig]) -> str:
    """How many labels of all these runs are not the real ones; nothing where runs differ in that or subsets tell it."""
    first = runs[0]
    alike = all(run.corruption == first.corruption and run.train_size == first.train_size for run in runs)
    if not alike or not first.corruption.count or isinstance(first.subsets, LabelSubsets):
        return ""
    kind = {"random": "random", "symmetric": "wrong", "pair": "wrong (the next class)"}[first.corruption.kind]
    return f", {first.corruption.count:,} of {first.train_size:,} labels {kind}"


def _judged(runs: Sequence[RunConfig], recorded: Recorded) -> str:
    """What sub-networks reach in score runs, a mean over them, and every verdict on leakage but that of none."""
    found = [recorded.get(Run(run).name, {}).get("leakage") or {} for run in runs]
    own, flipped = (
        sum(each.get(f"{kind}_accuracy", float("nan")) for each in found) / len(found) for kind in ("own", "flipped")
    )
    leaks = " and ".join(sorted({each["verdict"] for each in found if each.get("verdict", "none") != "none"}))
    return f"own accuracy {own:.2f}, flipped {flipped:.2f}" + (f"; {leaks}" if leaks else "")


def _subsets(config: RunConfig, recorded: Recorded) -> str:
    """Which examples are easy and difficult here, and what is known of the runs that say so."""
    name, size = FACTS[config.dataset.name].title, f"{config.subset_size:,}"
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
            how = f"{masks(first)}, {first.epochs} epochs; {_judged(runs, recorded)}"
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
    words = [f"turn-over dropout in {where}", f"p = {turnover.p:g}"]
    words += [f"{turnover.groups} shared masks"] if turnover.groups else []
    words += [f"after {turnover.plain_epochs} plain epochs"] if turnover.plain_epochs else []
    return ", ".join(words)
