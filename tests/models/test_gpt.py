"""The GPT, against one by hand in float64: causal attention, and own and flipped sub-networks that are cut out."""

import pytest
import torch
from gpt_oracles import logits, mean_loss
from oracles import own_bit
from torch import nn

import turnover
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS, UNCOUNTED
from turnover.models.gpt import GPT

VOCABULARY, CONTEXT, HIDDEN = 23, 11, 24


def network() -> GPT:
    torch.manual_seed(0)
    model = GPT(VOCABULARY, CONTEXT, layers=2, dim=8, heads=2, mlp_ratio=3).double()
    for parameter in model.parameters():  # far from where it starts, biases and norms too
        nn.init.normal_(parameter, std=0.6)
    return model


def tokens(n: int, length: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (n, length), generator=torch.Generator().manual_seed(1))


def test_it_is_the_network_by_hand() -> None:
    model = network()
    with torch.no_grad():
        found = model(tokens(3, 9))
    for row, sequence in zip(found, tokens(3, 9).tolist(), strict=True):
        torch.testing.assert_close(row, logits(model, sequence), rtol=1e-10, atol=1e-10)


def test_a_token_sees_none_that_follow() -> None:
    model, changed = network(), tokens(2, 9)
    changed[:, 5:] = (changed[:, 5:] + 1) % VOCABULARY
    before, after = model(tokens(2, 9)), model(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-12)
    assert (before[:, 5] - after[:, 5]).abs().max() > 0.1


@pytest.mark.parametrize("groups", [None, 3])
def test_own_and_flipped_are_networks_that_are_cut_out(groups: int | None) -> None:
    model = turnover.attach(network(), p=0.25, seed=5, groups=groups)
    x, ids = tokens(4, 7), torch.tensor([3, 10**6, 17, 0])
    y = tokens(4, 8)[:, 1:].clone()
    lengths = [7, 4, 1, 6]
    for row, length in zip(y, lengths, strict=True):
        row[length:] = UNCOUNTED
    with torch.no_grad():
        with turnover.own(model, ids):
            own = model(x)
        with turnover.flipped(model, ids):
            flipped = model(x)
    examples = Examples(x, y, ids, loss=TOKENS)
    losses = [outcome.loss for outcome in evaluate(model, examples, (own_units, flipped_units))]
    for row, id in enumerate(ids.tolist()):
        masks = [
            torch.tensor([own_bit(5, layer, id, unit, 0.25, groups) for unit in range(HIDDEN)]) for layer in range(2)
        ]
        cut = logits(model, x[row].tolist(), masks, 4.0)
        rest = logits(model, x[row].tolist(), [~mask for mask in masks], 4 / 3)
        torch.testing.assert_close(own[row], cut, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(flipped[row], rest, rtol=1e-10, atol=1e-10)
        for found, by_hand in zip(losses, (cut, rest), strict=True):
            expected = mean_loss(by_hand[: lengths[row]], y[row, : lengths[row]].tolist())
            assert float(found[row]) == pytest.approx(expected, abs=1e-10)


def test_units_outside_of_the_own_mask_get_no_gradient() -> None:
    model = turnover.attach(network(), p=0.5, seed=0)
    with turnover.own(model, torch.tensor([7])):
        model(tokens(1, 9)).square().sum().backward()
    for layer, block in enumerate(model.blocks):
        assert isinstance(block.up, nn.Linear)
        assert block.up.weight.grad is not None
        mask = turnover.mask(torch.tensor([7]), units=HIDDEN, layer=layer, seed=0, p=0.5)[0]
        assert torch.equal(block.up.weight.grad.abs().sum(1) > 0, mask)


def test_sizes_and_the_scale_of_first_weights() -> None:
    torch.manual_seed(0)
    model = GPT(1024, 64, layers=2, dim=64, heads=4, mlp_ratio=8)
    block = 3 * 64 * 65 + 64 * 65 + 512 * 65 + 64 * 513 + 4 * 64
    assert sum(parameter.numel() for parameter in model.parameters()) == 1024 * 64 + 64 * 64 + 2 * block + 2 * 64
    assert model(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 1024)
    spread = {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.ndim > 1}
    for name, value in spread.items():
        assert value == pytest.approx(0.01 if name.endswith(("out.weight", "down.weight")) else 0.02, rel=0.05)
    with torch.no_grad():
        losses = TOKENS(model(tokens(8, 11)), tokens(8, 11) + VOCABULARY)  # others than are read
    assert float(losses.mean()) == pytest.approx(6.93, abs=0.1)  # nothing is known: log(1024)
