"""Floating-point operations that a run's network takes for one example, counted by PyTorch on shapes alone."""

from functools import cache

import torch
from pydantic import TypeAdapter
from torch.utils.flop_counter import FlopCounterMode

from turnover.common.seeding import seeded
from turnover.config.datasets import DATASETS
from turnover.config.options import ModelConfig
from turnover.config.run import RunConfig
from turnover.models import build as build_model


def of_training(config: RunConfig) -> int:
    """Count operations of matrix products and convolutions, forwards and backwards."""
    return _counted(config.dataset.name, config.model.model_dump_json(), backwards=True)


def of_scoring(config: RunConfig) -> int:
    """Count the same, forwards alone."""
    return _counted(config.dataset.name, config.model.model_dump_json(), backwards=False)


@cache
def _counted(dataset: str, model: str, *, backwards: bool) -> int:
    facts = DATASETS[dataset]
    with seeded(0, "init"):
        network = build_model(TypeAdapter(ModelConfig).validate_json(model), facts.shape, facts.classes).to("meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.set_grad_enabled(backwards):
        logits = network(torch.empty(1, *facts.shape, device="meta"))
        if backwards:
            logits.sum().backward()
    return int(counter.get_total_flops())
