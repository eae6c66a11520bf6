"""What a validation consists of, assembled from finished runs, or from some that are added to an earlier validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from turnover.config.datasets import DATASETS
from turnover.config.estimators import BlocksEstimator
from turnover.config.run import RunConfig
from turnover.experiments.plots.notes import SMOKE, momentum, network
from turnover.experiments.validation.earlier import Earlier
from turnover.experiments.validation.estimates import Condition, gather
from turnover.experiments.validation.other_truths import (
    against_leave_one_out,
    exposure,
    influence_agreement,
    split_seeds,
)
from turnover.experiments.validation.table import ordered, rows
from turnover.experiments.validation.truth import Truth, examples, sub_network_runs, truth


@dataclass(frozen=True)
class Parts:
    """Numbers of a validation, before they are drawn and written."""

    tables: dict[str, pd.DataFrame]  # table, exposure, leave_one_out
    examples: dict[str, pd.DataFrame]  # by data set
    truths: dict[str, Truth]  # by data set
    leave_one_out: dict[str, Any]  # by data set: reliability
    influence: dict[str, Any]  # by data set: agreement
    settings: list[str]  # data, networks, ground truth in words


def assembled(
    of_truth: Sequence[RunConfig],
    of_estimates: Sequence[RunConfig],
    left_out: Sequence[RunConfig],
    of_influence: Sequence[RunConfig],
) -> Parts:
    """Assemble all from finished runs of each kind."""
    truths = {Condition.of(config): truth(config) for config in of_truth}
    estimates = gather(of_estimates, of_truth)
    conditions = [(config, Condition.of(config)) for config in left_out]
    exact = [against_leave_one_out(config, estimates[of], truths[of]) for config, of in conditions]
    exposed = [exposure(config, truths[Condition.of(config)]) for config in of_truth]
    masked = {of: sub_network_runs(of, of_estimates) for of in truths}  # at smoke scale not of every data set
    by_dataset = {of.dataset: of_condition for of, of_condition in truths.items()}
    return Parts(
        {
            "table": ordered(pd.DataFrame(rows(estimates, truths))),
            "exposure": pd.concat(exposed, ignore_index=True),
            "leave_one_out": pd.concat(exact, ignore_index=True),
        },
        {of.dataset: examples(runs, estimates[of], truths[of]) for of, runs in masked.items() if runs},
        by_dataset,
        {config.dataset.name: {"reliability": split_seeds(config)} for config in left_out},
        _influence(of_truth, of_influence),
        [*_settings(of_truth, of_estimates, by_dataset), *_settings_of_blocks(of_estimates)],
    )


def added(earlier: Earlier, of_estimates: Sequence[RunConfig], of_truth: Sequence[RunConfig]) -> Parts:
    """Add the estimates of finished runs to an earlier validation, of which all else is kept.

    Args:
        of_truth: of the runs behind its ground truth, which need not be there.
    """
    truths, estimates = earlier.truths(), gather(of_estimates, of_truth)
    kept = earlier.values
    settings = [line for line in kept["settings"] if line not in scale_lines(kept["scale"])]
    return Parts(
        {
            "table": earlier.with_rows(pd.DataFrame(rows(estimates, truths))),
            "exposure": earlier.csv("exposure"),
            "leave_one_out": earlier.csv("leave_one_out"),
        },
        earlier.with_scores(estimates),
        {of.dataset: of_condition for of, of_condition in truths.items()},
        kept["leave_one_out"],
        kept["influence"],
        list(dict.fromkeys([*settings, *_settings_of_blocks(of_estimates)])),
    )


def _influence(of_truth: Sequence[RunConfig], of_influence: Sequence[RunConfig]) -> dict[str, dict[str, float]]:
    """Return the agreement of influences, of every data set with several runs."""
    agreements: dict[str, dict[str, float]] = {}
    for config in of_truth:
        runs = [run for run in of_influence if Condition.of(run) == Condition.of(config)]
        if len(runs) > 1:
            agreements[config.dataset.name] = influence_agreement(config, runs)
    return agreements


def _settings(
    of_truth: Sequence[RunConfig], of_estimates: Sequence[RunConfig], truths: Mapping[str, Truth]
) -> list[str]:
    """Return a line for each data set: examples, networks, ground truth."""
    lines = []
    for config in of_truth:
        name, networks = DATASETS[config.dataset.name].title, truths[config.dataset.name].networks
        wrong_labels = f" with {config.corruption.count:,} wrong labels" if config.corruption.count else ""
        same_data = (run for run in of_estimates if run.dataset.name == config.dataset.name)
        masked = next((run for run in same_data if run.turnover.name != "off"), None)
        layers = masked.turnover.layers if masked else None
        lines.append(
            f"{name}: {config.train_size:,} examples, {network(config)} (with turn-over dropout "
            + (network(masked) if masked else "none")
            + (f", masks in {', '.join(layers)}" if layers else "")
            + f"), lr {config.optimizer.lr:g}, {momentum(config)}, batch {config.batch_size}, "
            f"{config.epochs} epochs; ground truth{wrong_labels} by {networks} networks, each trained on "
            f"{config.estimator.fractions[0]:.0%} of them."  # type: ignore[union-attr]
        )
    return lines


def scale_lines(scale: str) -> list[str]:
    """Return the last lines under every picture."""
    return [f"{scale} scale.", *([SMOKE] if scale == "smoke" else [])]


def _settings_of_blocks(of_estimates: Sequence[RunConfig]) -> list[str]:
    """Return a line for each way to train blocks."""
    datasets: dict[str, dict[str, None]] = {}
    for config in of_estimates:
        if isinstance(config.estimator, BlocksEstimator):
            words = (
                f"{config.estimator.blocks} of {network(config)}, lr {config.optimizer.lr:g} falling to 0, "
                f"{momentum(config)}, batch {config.batch_size}, {config.epochs} epochs on halves."
            )
            datasets.setdefault(words, {})[DATASETS[config.dataset.name].title] = None
    return [f"Blocks of {' and '.join(titles)}: {words}" for words, titles in datasets.items()]
