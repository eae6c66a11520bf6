"""The compact transformer: a bit a channel for all tokens, scores against a forward pass written out by hand."""

from typing import Any

import oracles
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.config.options import CvTConfig
from turnover.core.evaluation import _can_share, all_units, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.errors import TurnOverError
from turnover.models import build
from turnover.models.cvt import cvt

DIM, HIDDEN = 12, 24  # channels of a token, and hidden channels of a block
UNITS = (64, DIM, HIDDEN, HIDDEN)  # of each masked activation: two convolutions, of which the first has 64, two blocks


def network(seed: int = 0) -> Any:
    """A narrow one in double precision, with weights far from their small initial ones."""
    torch.manual_seed(seed)
    model = cvt((1, 12, 12), 5, dim=DIM, depth=2, heads=3, mlp_ratio=2, convolutions=2).double()
    for name, parameter in model.named_parameters():
        if "conv" not in name:
            nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.3)
    return model


def data() -> Examples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 1, 12, 12, generator=generator, dtype=torch.float64)
    return Examples(images, torch.randint(5, (4,), generator=generator), torch.tensor([7, 2**24 + 1, 0, 59_999]))


def factors(id: Tensor, kind: str, p: float) -> list[Tensor]:
    """What every channel of every masked layer is multiplied by."""
    own_masks = [turnover.mask(id.view(1), units, layer, 3, p)[0].double() for layer, units in enumerate(UNITS)]
    p = round(p * 2**16) / 2**16
    match kind:
        case "own":
            return [mask / p for mask in own_masks]
        case "flipped":
            return [(1 - mask) / (1 - p) for mask in own_masks]
        case _:
            return [torch.ones_like(mask) for mask in own_masks]


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_scores_equal_a_forward_pass_written_out_by_hand(p: float) -> None:
    examples, model = data(), turnover.attach(network(), p=p, seed=3)
    found = dict(
        zip(("own", "flipped", "full"), evaluate(model, examples, (own_units, flipped_units, all_units)), strict=True)
    )
    table = turnover.score(model, examples.inputs, examples.labels, examples.ids, batch_size=3)
    with torch.no_grad():
        for i, id in enumerate(examples.ids):
            losses = {}
            for kind, outcome in found.items():
                logits = oracles.masked_cct(model, examples.inputs[i], factors(id, kind, p))
                losses[kind] = oracles.cross_entropy(logits, int(examples.labels[i]))
                assert abs(float(outcome.loss[i]) - losses[kind]) < 1e-10
                assert int(outcome.prediction[i]) == int(logits.argmax())
            assert abs(table["score"].iloc[i] - (losses["flipped"] - losses["own"])) < 1e-10
    assert table["score"].abs().min() > 1e-3, "own and flipped differ"


def test_all_sub_networks_share_the_first_convolution() -> None:
    """The first mask lies before every skip connection, so the batch can be repeated there."""
    examples, model = data(), turnover.attach(network(), seed=3)
    assert _can_share(model, examples.select(torch.arange(3)), (own_units, flipped_units, all_units))


def test_it_has_no_noise_of_its_own() -> None:
    model = network().train()
    x = data().inputs
    assert torch.equal(model(x), model(x))
    assert torch.equal(model(x), model.eval()(x))


def test_the_network_of_the_paper_has_0_28_million_parameters_and_49_tokens() -> None:
    config = CvTConfig(
        name="cvt", dim=128, depth=2, heads=2, mlp_ratio=1, convolutions=2, dropout=0.0, channels_last=True
    )
    model: Any = build(config, (1, 28, 28), 10)
    dim, tokens = 128, 49
    tokenizer = 9 * 1 * 64 + 9 * 64 * dim
    block = (3 * dim * dim + dim * dim + dim) + 2 * (dim * dim + dim) + 2 * 2 * dim  # attention, MLP, two norms
    head = tokens * dim + 2 * dim + (dim + 1) + (dim + 1) * 10  # positions, norm, pooling, logits
    assert sum(each.numel() for each in model.parameters()) == tokenizer + 2 * block + head
    assert model.classifier.positional_emb.shape == (1, tokens, dim)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_memory_layout_changes_nothing_but_rounding() -> None:
    outputs: list[Tensor] = []
    for layout in (False, True):
        torch.manual_seed(0)
        config = CvTConfig(
            name="cvt", dim=16, depth=1, heads=2, mlp_ratio=1, convolutions=2, dropout=0.0, channels_last=layout
        )
        model = turnover.attach(build(config, (1, 12, 12), 10).double(), seed=3)
        weight = model.get_parameter("tokenizer.conv_layers.1.0.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last) == layout
        with turnover.own(model, data().ids):
            outputs.append(model(data().inputs))
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)


def test_as_many_tokens_as_channels_are_refused_and_not_masked_by_guess() -> None:
    model = turnover.attach(cvt((1, 12, 12), 5, dim=9, depth=1, heads=3, mlp_ratio=1, convolutions=2))
    with pytest.raises(TurnOverError, match="cannot tell which dimension"), turnover.own(model, torch.arange(2)):
        model(torch.zeros(2, 1, 12, 12))
