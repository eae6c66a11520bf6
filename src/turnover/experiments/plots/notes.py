"""What a reader must know about a figure's runs: data, network, training, seeds, subsets, what was reduced."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnover.config.compose import varied
from turnover.config.estimators import score_of
from turnover.config.options import (
    ConvConfig,
    CvTConfig,
    ExampleTiedConfig,
    GPTConfig,
    MLPConfig,
    TurnoverConfig,
    VGG11Config,
)
from turnover.config.run import PrunedSubsets, RunConfig, ScoreSubsets
from turnover.config.subset_options import LabelSubsets, NoSubsets, TableSubsets
from turnover.config.training_options import AdamWConfig, SGDConfig
from turnover.experiments.plots.differences import Recorded, by_fields, fields, in_words, is_seed, reduced, unlike_paper
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_subsets

_SCHEDULES = {
    "constant": "constant",
    "multistep": "falling in steps",
    "cosine": "falling as a cosine",
    "linear": "falling to 0",
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


def notes(configs: Sequence[RunConfig], recorded: Recorded, scale: str, overrides: Sequence[str] = ()) -> Notes:
    """Return the lines under a figure of these runs, made with these overrides of their experiment."""
    if not configs:
        return Notes(["Masks of seed 0, p = 0.5; nothing is trained, so every scale shows the same."])
    lines = list(dict.fromkeys(line for config in configs for line in _setting(config, configs, recorded)))
    lines += dict.fromkeys(line for config in configs for line in [_subsets(config, recorded)] if line)
    lines += [f"Not as the experiment says: {', '.join(overrides)}."] if overrides else []
    several = len(set(map(pair, configs))) > 1
    differences = unlike_paper(configs, several) if scale == "paper" else reduced(configs, overrides, recorded, several)
    paper, than = (
        ("paper", "not as in the paper")
        if scale == "paper"
        else ("paper scale", "against this repository's paper scale")
    )
    lines.append(f"{scale.capitalize()} scale" + (f", {than}: {in_words(differences)}." if differences else "."))
    if scale == "smoke":
        lines.append(SMOKE)
    first, *rest = (fields(config, recorded) for config in configs)
    same = {name: value for name, value in first.items() if all(repr(run.get(name)) == repr(value) for run in rest)}
    return Notes(lines, same, by_fields(differences, paper))


def network(config: RunConfig) -> str:
    """Return the name of a run's network as papers write it."""
    match config.model:
        case MLPConfig(hidden=hidden):
            sizes = (math.prod(config.dataset.shape), *hidden, config.dataset.classes)
            return f"MLP {'-'.join(map(str, sizes))}"
        case VGG11Config(width=width):
            return "VGG-11" if width == 64 else f"VGG-11 of width {width}"
        case ConvConfig(width=width):
            return f"conv net {width}-{2 * width}-{4 * width}"
        case CvTConfig(depth=depth, convolutions=convolutions, dim=dim):
            return f"CCT-{depth}/3x{convolutions}, {dim} channels"
        case GPTConfig(layers=layers, dim=dim):
            return f"GPT, {layers} blocks of {dim} channels"


def pair(config: RunConfig) -> str:
    """Return data and network, for example "MNIST, MLP 784-4096-10"."""
    return f"{config.dataset.info.title}, {network(config)}"


def momentum(config: RunConfig) -> str:
    """Return the momentum of SGD, or the betas of AdamW, in words."""
    match config.optimizer:
        case SGDConfig(momentum=value):
            return f"momentum {value:g}"
        case AdamWConfig(betas=betas):
            return f"betas {' and '.join(f'{beta:g}' for beta in betas)}"


def trained_on(config: RunConfig) -> int:
    """Return how many examples a run's network is trained on; where a table names them, of a finished run."""
    if not isinstance(config.subsets, TableSubsets) or config.subsets.train_on == "all":
        return config.trained_size
    table = read_subsets(Run(config).folder)
    return int(((table["split"] == "train") & (table["subset"] == config.subsets.train_on)).sum())


def _setting(config: RunConfig, among: Sequence[RunConfig], recorded: Recorded) -> list[str]:
    runs = [run for run in among if pair(run) == pair(config)]
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    sizes = " or ".join(f"{size:,}" for size in sorted({trained_on(run) for run in runs}))
    rates = ", ".join(f"{rate:g}" for rate in sorted({run.optimizer.lr for run in runs}))
    schedules = " or ".join(dict.fromkeys(_SCHEDULES[run.schedule.name] for run in runs))
    epochs = ", ".join(str(number) for number in sorted({run.epochs for run in runs}))
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[config.optimizer.name]
    included = " (test examples among them)" if config.dataset.include_test else ""
    methods = " or ".join(dict.fromkeys(run.method.name.replace("_", " ") for run in runs))
    method = "" if methods == "plain" else f", training {methods}"
    lines = [
        f"{config.dataset.info.title}, {sizes} training examples{included}{_wrong_labels(runs)}; "
        f"{network(config)}; {epochs} epochs of {optimizer} in batches of {config.batch_size}, learning rate {rates} "
        f"({schedules}), {momentum(config)}{method}; seed{'s' if ',' in seeds else ''} {seeds}{_own(runs)}."
    ]
    masked = [run for run in runs if isinstance(run.turnover, TurnoverConfig)]
    if config in masked and all(is_seed(name) or name == "subsets.runs" for name in varied(masked)[0]):
        some = "" if len(masked) == len(runs) else "some with "
        lines.append(f"{pair(config)}: {some}{masks(config)}{_judged(masked, recorded)}.")
    return lines


def _own(runs: Sequence[RunConfig]) -> str:
    """Return what no two seeds share besides initial weights, order and masks."""
    relabelled = [run for run in runs if run.corruption.count and not run.corruption.sizes]
    drawn = {
        "examples": {(run.seed, run.dataset.seed) for run in runs},
        "labels": {(run.seed, run.corruption.seed) for run in relabelled},
    }
    # runs may also draw several sets of examples, the same ones for every seed
    own = [
        name
        for name, pairs in drawn.items()
        if len({seed for seed, _ in pairs}) == len({of for _, of in pairs}) == len(pairs) > 1
    ]
    return f", each with its own {' and '.join(own)}" if own else ""


def _wrong_labels(runs: Sequence[RunConfig]) -> str:
    """Return how many labels of these runs are not the real ones; empty if runs differ in that or subsets name it."""
    first = runs[0]
    kinds = [(run.corruption.model_copy(update={"seed": first.corruption.seed}), run.train_size) for run in runs]
    same = all(kind == kinds[0] for kind in kinds)
    if same and first.corruption.path:
        return f", labels of {Path(first.corruption.path).name}"
    if not same or not first.corruption.count or isinstance(first.subsets, LabelSubsets):
        return ""
    class_dependent = "wrong (the next class: class-dependent noise)"
    if first.corruption.kind == "input_noise":
        return f", {first.corruption.count:,} of {first.train_size:,} images noisy"
    kind = {"random": "random", "pair": class_dependent}.get(first.corruption.kind, "wrong")
    return f", {first.corruption.count:,} of {first.train_size:,} labels {kind}"


def _judged(runs: Sequence[RunConfig], recorded: Recorded) -> str:
    """Return the accuracy of sub-networks in score runs, a mean, if it is known, and verdicts on leakage but "none"."""
    judged = [recorded.get(Run(run).name, {}).get("leakage") or {} for run in runs]
    own, flipped = (
        sum(leakage.get(f"{kind}_accuracy", math.nan) for leakage in judged) / len(judged)
        for kind in ("own", "flipped")
    )
    verdicts = " and ".join(sorted({leakage.get("verdict", "none") for leakage in judged} - {"none"}))
    accuracies = "" if math.isnan(own + flipped) else f"; own accuracy {own:.2f}, flipped {flipped:.2f}"
    return accuracies + (f"; {verdicts}" if verdicts else "")


def _subsets(config: RunConfig, recorded: Recorded) -> str:
    """Return which examples are easy and difficult, and the score runs that rank them."""
    name, size = config.dataset.info.title, f"{config.subset_size:,}"
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
        case PrunedSubsets(runs=runs):
            how = f"{score_of(runs[0].estimator)}, {runs[0].epochs} epochs, the mean of {len(runs)} score runs"
            return f"{name}: examples are ranked by {how}; of every class as many are kept as these last."
        case ScoreSubsets(runs=runs):
            first = runs[0]
            classes = ", as many of every class" if config.subsets.balanced else ""
            how = f"{masks(first)}, {first.epochs} epochs{_judged(runs, recorded)}"
            if not isinstance(first.turnover, TurnoverConfig):
                how = f"{score_of(first.estimator)}, {first.epochs} epochs"
            whose = f"the mean of {len(runs)} score runs" if len(runs) > 1 else "of one score run"
            return f"{name}: easy and difficult are the {size} lowest and highest scores{classes}, {whose} ({how})."


def masks(config: RunConfig) -> str:
    """Return where and how turn-over dropout is applied, in a few words."""
    turnover = config.turnover
    if not isinstance(turnover, TurnoverConfig):
        return "no turn-over dropout"
    where = "all hidden layers" if turnover.layers is None else " and ".join(turnover.layers)
    words = [f"turn-over dropout in {where}", f"p = {turnover.p:g}"]
    words += [f"{turnover.shared:g} of the units shared"] if isinstance(turnover, ExampleTiedConfig) else []
    words += [f"{turnover.groups} shared masks"] if turnover.groups else []
    words += [f"dropout {turnover.dropout:g} inside the masks"] if turnover.dropout else []
    words += [f"after {turnover.plain_epochs} plain epochs"] if turnover.plain_epochs else []
    return ", ".join(words)
