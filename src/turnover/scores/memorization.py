"""Memorization scores from data and a network alone: train with turn-over dropout, score, average over seeds."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from turnover.device import Precision, resolve
from turnover.dropout import attach
from turnover.errors import RefusedInput
from turnover.examples import user_examples
from turnover.scores.average import average
from turnover.scores.leakage import judge
from turnover.scores.turnover import score_examples
from turnover.seeding import seeded
from turnover.training.loop import steps_per_epoch, train


def memorization(
    make_model: Callable[[], nn.Module],
    x: Any,
    y: Any,
    epochs: int,
    lr: float,
    batch_size: int = 256,
    seeds: int | Sequence[int] = 10,
    device: str = "auto",
    *,
    ids: Any = None,
    p: float = 0.5,
    layers: list[str] | None = None,
    groups: int | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    precision: Precision = "float32",
    progress: bool = True,
) -> pd.DataFrame:
    """How much each example's label is memorized rather than inferred from the other examples.

    Trains `make_model()` once for each seed by SGD at a constant rate, with turn-over dropout, and averages
    score(z) = loss(flipped(z), z) - loss(own(z), z) over the seeds. High scores: wrong labels and rare examples.

    Args:
        make_model: makes a new network; called once for each seed, with PyTorch's generator seeded.
        x: inputs, ready for the network: a tensor or array.  # [n, ...]
        y: class numbers from 0.  # [n]
        seeds: how many, or which.
        ids: permanent ids of the examples; None: positions 0 .. n-1.  # [n]
        p, layers, groups: as in `turnover.attach`.

    Returns:
        A row for every example, index "id": score, own_loss, flipped_loss (means over seeds), own_prediction,
        flipped_prediction (most frequent), label. `attrs["leakage"]` holds the verdict with own and flipped accuracy
        of the seed whose masks tell most, `attrs["seeds"]` the seeds.

    Raises:
        RefusedInput: data of unequal lengths, of wrong dtype, or epochs, seeds or lr out of range.
        RunFailed: a loss became NaN or infinite.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    _check(epochs=epochs, batch_size=batch_size, seeds=len(chosen), lr=lr)
    where = resolve(device)
    with seeded(0, "init"):
        dtype = next(make_model().parameters()).dtype
    examples = user_examples(x, y, ids, device=where, dtype=dtype)
    steps = len(chosen) * epochs * steps_per_epoch(len(examples), batch_size)
    tables, found = [], []
    with tqdm(total=steps, unit="step", desc="memorization", disable=not progress) as bar:
        for seed in chosen:
            with seeded(seed, "init"):
                model = attach(make_model().to(where), p=p, seed=seed, layers=layers, groups=groups)
            optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
            for _ in train(
                model,
                examples,
                optimizer,
                lambda epoch: lr,
                epochs=epochs,
                batch_size=batch_size,
                seed=seed,
                precision=precision,
                on_step=bar.update,
            ):
                pass
            tables.append(score_examples(model, examples, precision=precision))
            found.append(judge(model, examples, tables[-1], precision=precision).as_dict())
    table = average(tables)
    table.attrs["seeds"] = chosen
    # of the worst seed: one leaking network in ten must not vanish in a mean
    table.attrs["leakage"] = min(found, key=lambda one: one["image_accuracy"] - one["mask_accuracy"])
    return table


def _check(*, epochs: int, batch_size: int, seeds: int, lr: float) -> None:
    for name, value in {"epochs": epochs, "batch_size": batch_size, "seeds": seeds}.items():
        if value < 1:
            raise RefusedInput(f"{name} = {value}: must be at least 1")
    if not (lr > 0 and math.isfinite(lr)):
        raise RefusedInput(f"lr = {lr}: must be a positive number")
