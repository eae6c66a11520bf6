"""Scores of every finished score run, under one name for each estimator, and their cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from turnover.config.datasets import DATASETS
from turnover.config.estimators import BlocksEstimator, OneRunEstimator, SubsamplingEstimator, TurnoverEstimator
from turnover.config.options import ExampleTiedConfig
from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.estimators.blocks import block_estimates
from turnover.estimators.gradient_scores import window
from turnover.estimators.subsampling import memorization
from turnover.experiments.validation.operations import of_scoring, of_training
from turnover.models import build as build_model
from turnover.runs.store.members import read_members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_metrics, read_scores

TITLES = {
    "blocks": "blocks: held-out log odds",
    "blocks_memorization": "blocks: memorization",
    "turnover": "turn-over dropout: flipped - own loss",
    "turnover_tuned": "turn-over dropout, tuned on MNIST",
    "turnover_probability": "turn-over dropout: own - flipped probability",
    "turnover_flipped": "turn-over dropout: flipped loss alone",
    "tied": "example-tied dropout: shared - own loss",
    "tied_probability": "example-tied dropout: own - shared probability",
    "cumulative_loss": "cumulative loss",
    "aum": "AUM",
    "forgetting": "forgetting events",
    "first_learning": "first learning epoch",
    "second_split": "second-split forgetting",
    "el2n": "EL2N",
    "grand": "GraNd",
    "vog": "variance of gradients",
    "vog_early": "variance of gradients, early",
    "vog_late": "variance of gradients, late",
    "vog_probability": "variance of gradients of the probability",
    "vog_probability_early": "variance of gradients of the probability, early",
    "vog_probability_late": "variance of gradients of the probability, late",
    "final_loss": "final loss",
    "confidence": "final confidence",
    "confident_learning": "confident learning (5 folds)",
    "inconsistency": "C-score",
    "memorization": "subsampling ensemble",
    "memorization_loss": "subsampling ensemble: loss",
    "membership": "membership (LiRA)",
}
BUDGETS = (10, 20, 40, 80)  # networks of a small ensemble
FEWEST_PAIRS = 3  # of blocks
SIZES = (
    "memorization",
    "blocks_memorization",
    "turnover_probability",
    "tied_probability",
)  # those that are differences of probabilities


def title(name: str) -> str | None:
    """Return the title of an estimate, el2n/3 being el2n after epoch 3; None if there is no such estimate."""
    known, _, epoch = name.partition("/")
    return f"{TITLES[known]} after epoch {epoch}" if epoch and known in TITLES else TITLES.get(known)


@dataclass(frozen=True)
class Condition:
    """Which labels of which examples are wrong."""

    dataset: str
    noise: str  # symmetric or pair
    wrong: int  # labels
    examples: int
    augmentation: str

    @classmethod
    def of(cls, config: RunConfig) -> "Condition":
        """Return the condition under which a run scores."""
        noise, augmentation = config.corruption, config.augmentation.name
        return cls(config.dataset.name, noise.kind, noise.count, config.train_size, augmentation)


@dataclass(frozen=True)
class Estimate:
    """One estimator's scores of all examples, by one run."""

    name: str  # a key of TITLES, or one with an epoch: el2n/3
    seed: int
    networks: int
    scores: pd.Series  # index "id"; high: memorized or wrong; those without a score have the median
    scored: int  # examples that have one
    wrong: pd.Series  # bool, index "id"
    cost: float  # arithmetic of training, of blocks of scoring too, in ordinary trainings on all examples
    seconds: float  # of the run, which may give other scores too
    memory: float  # peak resident memory of the process, in MB; of all that it did
    epoch: int | None = None  # after which the score is taken, if not after training
    accuracy: float | None = None  # on the training examples, over that epoch


def estimates(config: RunConfig, larger: float) -> Iterator[Estimate]:
    """Yield every estimate of a finished run, whose network takes `larger` ordinary trainings."""
    run = Run(config)
    table = read_scores(run.folder)
    manifest = run.manifest
    mislabelled = table["label"] != table["true_label"]
    memory = manifest["peak_memory"]["host"] / 1e6
    networks = manifest.get("networks", 1)
    trained = manifest.get("examples_trained", config.train_size * config.epochs)
    cost = trained / (config.train_size * config.epochs) * larger

    def estimate(
        name: str,
        scores: pd.Series,
        *,
        passes: float = 1.0,
        used: int | None = None,
        epoch: int | None = None,
        accuracy: float | None = None,
    ) -> Estimate:
        filled = scores.fillna(scores.median())  # of very few networks all or none may have seen an example
        count = used or networks
        share = count / networks  # of the run's networks
        seconds = manifest["seconds"] * share
        scored = int(scores.notna().sum())
        arithmetic = cost * passes * share
        return Estimate(
            name, config.seed, count, filled, scored, mislabelled, arithmetic, seconds, memory, epoch, accuracy
        )

    match config.estimator:
        case TurnoverEstimator():
            if config.experiment == "validate_tuned":
                yield estimate("turnover_tuned", table["score"])
                return
            tied = isinstance(config.turnover, ExampleTiedConfig)  # whose flipped sub-networks are the shared units
            for form, scores in turnover_forms(table).items():
                name = form.replace("turnover", "tied") if tied else form
                if name in TITLES:
                    yield estimate(name, scores)
        case OneRunEstimator() as estimator:
            accuracies = _accuracies(run)
            for score in estimator.scores:
                for column, epoch in estimator.columns(score).items():
                    name = _variant(estimator) if score == "vog" else column
                    passes = _passes(estimator, score, epoch or config.epochs, config.epochs)
                    accuracy = None if epoch is None else accuracies[epoch]
                    yield estimate(name, table[column], passes=passes, epoch=epoch, accuracy=accuracy)
        case SubsamplingEstimator(score="memorization"):
            members = read_members(run.folder)
            for budget in sorted({min(budget, networks) for budget in BUDGETS}):
                for start in range(0, networks - budget + 1, budget):
                    some = slice(start, start + budget)
                    memorized = memorization(members.right[some], members.included[some]).numpy()
                    yield estimate("memorization", pd.Series(memorized, pd.Index(members.ids, name="id")), used=budget)
            for name in ("memorization_loss", "membership"):
                if name in table:  # membership needs a few networks with and without every example
                    yield estimate(name, table[name])
        case SubsamplingEstimator():
            yield estimate("inconsistency", table["inconsistency"])
        case BlocksEstimator(blocks=blocks):  # each scores all examples once, which is much beside its few epochs
            scoring = networks * config.train_size * of_scoring(config) / (trained * of_training(config))
            members = read_members(run.folder)
            for pairs in sorted({max(blocks // 4, FEWEST_PAIRS), blocks // 2}):  # half of them alone, and all
                both = torch.cat([torch.arange(pairs), torch.arange(pairs) + blocks // 2])
                of_some = block_estimates(members.confidence[both].double(), members.included[both])
                for name, column in (("blocks", "blocks"), ("blocks_memorization", "memorization")):
                    scores = pd.Series(of_some[column].numpy(), pd.Index(members.ids, name="id"))
                    yield estimate(name, scores, passes=1 + scoring, used=2 * pairs)
        case _:
            yield estimate(config.estimator.name, table["score"])


def _passes(estimator: OneRunEstimator, score: str, last: int, epochs: int) -> float:
    """Return the arithmetic of a score after epoch `last`, in trainings; a gradient pass costs an epoch."""
    match score:
        case "grand":
            return (last + 1) / epochs
        case "vog":
            compared = window(epochs, estimator.vog_epochs)
            return (compared[-1] + len(compared)) / epochs
        case _:
            return last / epochs


def _variant(estimator: OneRunEstimator) -> str:
    """Return the name of a variance of gradients: vog is that of the logit, over all epochs."""
    neutral = {"logit", "all"}
    return "_".join(["vog", *(part for part in (estimator.vog_of, estimator.vog_epochs) if part not in neutral)])


def _accuracies(run: Run) -> dict[int, float]:
    """Return the training accuracy of every epoch of a finished run, over all examples while the weights move."""
    table = read_metrics(run.folder)
    of_all = (table["split"] == "train") & (table["subset"] == "all") & (table["metric"] == "accuracy")
    return dict(zip(table["epoch"][of_all], table["value"][of_all], strict=True))


def turnover_forms(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return scores from losses of sub-networks: their difference, that of probabilities, the flipped alone."""
    return {
        "turnover": table["score"],
        "turnover_probability": np.exp(-table["own_loss"]) - np.exp(-table["flipped_loss"]),
        "turnover_flipped": table["flipped_loss"],
    }


def gather(configs: Sequence[RunConfig], ordinary: Sequence[RunConfig]) -> dict[Condition, list[Estimate]]:
    """Return all estimates by the condition under which they were made.

    Args:
        configs: of finished runs.
        ordinary: of runs of the same data sets, finished or not, whose networks cost 1 to train.

    Raises:
        RunFailed: a data set has no ordinary network.
    """
    by_condition: dict[Condition, list[Estimate]] = {}
    operations = {config.dataset.name: _operations(config) for config in ordinary}
    for config in {Run(config).name: config for config in configs}.values():
        if config.dataset.name not in operations:
            raise RunFailed(f"{Run(config).name}: of {config.dataset.name}, of which no experiment of truth is")
        larger = _operations(config) / operations[config.dataset.name]
        by_condition.setdefault(Condition.of(config), []).extend(estimates(config, larger))
    return by_condition


def _operations(config: RunConfig) -> int:
    """Return the operations of a training of the run's network, for each example."""
    return config.epochs * of_training(config)


def parameters(config: RunConfig) -> int:
    """Return the number of parameters of a run's network."""
    facts = DATASETS[config.dataset.name]
    with torch.device("meta"):
        network = build_model(config.model, facts.shape, facts.classes)
    return sum(parameter.numel() for parameter in network.parameters())
