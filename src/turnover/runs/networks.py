"""The network of a finished run, as probes take it: its weights, its examples, and how it was trained."""

from functools import partial

import torch
from torch import nn

from turnover.config.run import RunConfig, ScoreSubsets
from turnover.config.text_options import TextConfig
from turnover.core.examples import Examples
from turnover.errors import RefusedInput, RunFailed
from turnover.estimators.registry import of_several_networks
from turnover.probes.trained import State, Trained, split
from turnover.runs import checkpoint
from turnover.runs.build import build
from turnover.runs.pipeline import settled
from turnover.runs.store.run import Run, require
from turnover.runs.store.tables import read_scores
from turnover.training.fit import fit


def trained(config: RunConfig, device: torch.device) -> Trained:
    """Return the network of a finished run.

    Raises:
        RefusedInput: the run trained several networks, whose weights it did not keep.
        RunFailed: it is not finished, or damaged.
    """
    run = Run(config)
    if of_several_networks(config) is not None:
        raise RefusedInput(
            f"runs: {run.name} has estimator = {config.estimator.name!r}, which trains several networks and keeps "
            "none: name runs that train one, for example with estimator=one_run"
        )
    if isinstance(config.dataset, TextConfig):
        raise RefusedInput(f"runs: {run.name} is of text; probes are of networks that classify")
    folder, ours = require(run, "make it with scripts/train.py"), settled(run, device)
    task = build(ours, device)
    initial = {name: value.clone() for name, value in task.model.state_dict().items()}
    if checkpoint.load(folder / "checkpoint.pt", task.model, task.optimizer) is None:
        raise RunFailed(
            f"{folder / 'checkpoint.pt'} is damaged: scripts/runs.py gc {run.name} --damaged --yes, make it anew"
        )
    groups, truth = split(task.train, torch.tensor(task.known["true_label"].to_numpy(), device=device))
    if ("test", "all") in task.groups:
        groups["test"] = task.groups["test", "all"]
        truth["test"] = groups["test"].labels
    by_scores = isinstance(config.subsets, ScoreSubsets)
    kept = {epoch: partial(checkpoint.kept_weights, folder, epoch, device) for epoch in config.tracking.keep}
    return Trained(
        name=run.name,
        model=task.model,
        groups=groups,
        truth=truth,
        epoch=config.epochs,
        earlier={0: partial(_given, initial), **kept},
        fit=partial(_fit, ours) if ours.method.networks == 1 else None,  # the second one would be trained whole
        scores=read_scores(folder) if (folder / "scores.parquet").exists() else None,
        difficult=task.groups["train", "difficult"] if by_scores and config.subsets.train_on == "all" else None,
    )


def _given(state: State) -> State:
    return state


def _fit(config: RunConfig, model: nn.Module, examples: Examples, epochs: int | None = None) -> None:
    for _ in fit(config, model, examples, epochs=epochs):
        pass
