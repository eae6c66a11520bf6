"""Ordinary dropout in the networks: where it is, and that without it they are as they were."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from turnover.config.options import ModelConfig
from turnover.models import build

SIZES: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8, 6]},
    "conv": {"width": 4, "channels_last": False},
    "vgg11": {"width": 4, "bias": True, "channels_last": False},
    "cvt": {"dim": 8, "depth": 1, "heads": 2, "mlp_ratio": 1, "convolutions": 1, "channels_last": False},
}
PLACES = {"mlp": ["3", "6"], "conv": ["dropout"], "vgg11": ["dropout"]}


def network(name: str, dropout: float) -> nn.Module:
    torch.manual_seed(5)
    config = TypeAdapter[Any](ModelConfig).validate_python({"name": name, "dropout": dropout, **SIZES[name]})
    return build(config, (1, 32, 32), 3).double()


def dropouts(model: nn.Module) -> dict[str, float]:
    return {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}


@pytest.mark.parametrize("name", PLACES)
def test_dropout_comes_before_linear_layers_that_read_hidden_units_and_none_is_there_at_0(name: str) -> None:
    assert dropouts(network(name, 0.0)) == {}
    model = network(name, 0.25)
    assert dropouts(model) == dict.fromkeys(PLACES[name], 0.25)
    layers = [module for module in model.modules() if not list(module.children())]
    for before, after in pairwise(layers):
        if isinstance(before, nn.Dropout):
            assert isinstance(after, nn.Linear)


def test_a_transformer_has_it_for_tokens_hidden_units_and_what_blocks_add_and_not_for_attention_weights() -> None:
    assert set(dropouts(network("cvt", 0.0)).values()) == {0.0}
    found = dropouts(network("cvt", 0.25))
    assert [name for name, p in found.items() if p == 0] == ["classifier.blocks.0.self_attn.attn_drop"]
    assert set(found.values()) == {0.0, 0.25}


@pytest.mark.parametrize("name", SIZES)
def test_dropout_changes_no_weight_at_the_start_and_no_evaluation(name: str) -> None:
    without, model = network(name, 0.0), network(name, 0.5)
    for a, b in zip(without.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    x = torch.randn(4, 1, 32, 32, dtype=torch.float64)
    assert torch.equal(without.eval()(x), model.eval()(x))
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(without.train()(x), without(x))
