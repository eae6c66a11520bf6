"""Ordinary dropout inside the own masks, in training alone, against one unit of one example after another."""

import copy
import math
from typing import cast

import oracles
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import turnover
from turnover.core.evaluation import own_units
from turnover.errors import TurnOverError
from turnover.gradients.per_example import gradients

P, D, SEED = 0.5, 0.25, 3
IDS = torch.tensor([7, 0, 2**40, 59_999, 12])
GROUPS = [None, 2]


def network(name: str = "mlp") -> nn.Sequential:
    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 3)]
        return nn.Sequential(*layers).double()
    maps = [nn.Conv2d(3, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 20, 2), nn.ReLU()]
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(80, 3)).double()


UNITS = {"mlp": (40, 30), "conv": (12, 20)}


def batch(name: str = "mlp") -> Tensor:
    shape = (6,) if name == "mlp" else (3, 8, 8)
    return torch.randn(len(IDS), *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def masks(name: str, groups: int | None = None) -> list[Tensor]:
    return [turnover.mask(IDS, units, layer, SEED, P, groups=groups) for layer, units in enumerate(UNITS[name])]


def draws(name: str, seed: int) -> list[Tensor]:
    """The units that ordinary dropout leaves, drawn in the order of the layers; bool [batch, units] a layer."""
    torch.manual_seed(seed)
    return [F.dropout(torch.ones(len(IDS), units).double(), D) > 0 for units in UNITS[name]]


def gradients_of(model: nn.Module, logits: Tensor) -> list[Tensor]:
    error = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=logits.dtype)
    return list(torch.autograd.grad(logits, list(model.parameters()), error, retain_graph=True))


def own_logits(model: nn.Module, x: Tensor, seed: int, ids: Tensor = IDS) -> Tensor:
    torch.manual_seed(seed)
    with turnover.own(model, ids):
        logits: Tensor = model(x)
    return logits


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("name", UNITS)
def test_a_step_is_that_of_one_unit_after_another(name: str, groups: int | None) -> None:
    model = turnover.attach(network(name), P, SEED, groups=groups, dropout=D)
    plain, x = network(name), batch(name)
    own_logits(model, x, seed=9)  # the first pass looks at the network
    for seed in (4, 5):
        logits, own, left = own_logits(model, x, seed), masks(name, groups), draws(name, seed)
        slow = torch.cat(
            [
                oracles.thinned(plain, x[i : i + 1], [m[i] for m in own], [b[i] for b in left], p=P, dropout=D)
                for i in range(len(IDS))
            ]
        )
        assert torch.allclose(logits, slow, rtol=1e-12, atol=1e-14)
        for ours, theirs in zip(gradients_of(model, logits), gradients_of(plain, slow), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", UNITS)
def test_units_outside_the_own_mask_get_no_gradient_and_those_inside_do_in_some_step(name: str) -> None:
    model = turnover.attach(network(name), P, SEED, dropout=D)
    for i in range(len(IDS)):
        x, ids = batch(name)[i : i + 1], IDS[i : i + 1]
        steps = [gradients_of(model, own_logits(model, x, seed, ids)) for seed in range(20)]
        for layer, own in enumerate(masks(name)):
            reached = [step[2 * layer].flatten(1).ne(0).any(1) for step in steps]  # of each unit's weights
            assert not any((rows & ~own[i]).any() for rows in reached)
            assert any(not torch.equal(rows, reached[0]) for rows in reached), "other units are dropped in every step"


@pytest.mark.parametrize("name", UNITS)
def test_the_mean_over_steps_is_the_own_subnetwork(name: str) -> None:
    """Of activations: they are multiplied by independent draws of mean 1."""
    model, x, n = turnover.attach(network(name), P, SEED, dropout=D), batch(name), 4000
    first = model[:2](x)  # before any mask
    found: list[Tensor] = []
    model[2].register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].detach()))
    model.eval()
    own_logits(model, x, seed=0)
    expected = found[-1]
    model.train()
    found.clear()
    for seed in range(n):
        own_logits(model, x, seed)
    assert first.shape == expected.shape
    steps = torch.stack(found[-n:])
    error = expected.abs() * math.sqrt(D / (1 - D) / n)  # a step's standard deviation is √(D / (1 - D)) of the mean
    assert ((steps.mean(0) - expected).abs() <= 5 * error + 1e-12).all()
    dropped = (steps == 0)[:, expected != 0].double().mean()
    assert dropped.item() == pytest.approx(D, abs=0.01)


def test_evaluation_flipped_and_full_networks_have_none() -> None:
    model, plain, x = turnover.attach(network(), P, SEED, dropout=D), turnover.attach(network(), P, SEED), batch()
    before = torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        with turnover.flipped(model, IDS):
            flipped = model(x)
        with turnover.flipped(plain, IDS):
            assert torch.equal(flipped, plain(x))
        assert torch.equal(model(x), plain(x))
    assert torch.equal(own_logits(model, x, 1), own_logits(plain, x, 2))
    scores = turnover.score(model.train(), x, torch.tensor([0, 1, 2, 0, 1]), IDS)
    assert scores.equals(turnover.score(plain, x, torch.tensor([0, 1, 2, 0, 1]), IDS))
    torch.set_rng_state(before)
    with torch.no_grad(), turnover.own(model.train(), IDS):
        assert not torch.equal(model(x), plain(x)), "training mode is what counts, as of nn.Dropout"


def test_without_it_nothing_is_drawn_and_no_bit_is_another() -> None:
    x, results = batch(), []
    for model in (turnover.attach(network(), P, SEED), turnover.attach(network(), P, SEED, dropout=0.0)):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        with turnover.own(model, IDS):
            logits = model(x)
        assert torch.equal(torch.get_rng_state(), before)
        results.append([logits, *gradients_of(model, logits)])
    by_hand, own = network(), masks("mlp")
    h = F.relu(by_hand[0](x)) * (own[0] * 2.0)
    logits = by_hand[4](F.relu(by_hand[2](h)) * (own[1] * 2.0))
    results.append([logits, *gradients_of(by_hand, logits)])
    for ours, default, hand in zip(*results, strict=True):
        assert torch.equal(ours, default)
        assert torch.equal(ours, hand)


def test_examples_of_one_id_or_of_a_shared_mask_are_dropped_apart() -> None:
    model = turnover.attach(network(), P, SEED, groups=1, dropout=D)
    x = batch()[:1].expand(2, -1)
    assert not torch.equal(*own_logits(model, x, 0, IDS[:1].expand(2)))
    assert not torch.equal(*own_logits(model, x, 0, IDS[:2]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.5, 0.3])
def test_relu_and_mask_in_one_operation_are_the_same_bits(dtype: torch.dtype, dropout: float) -> None:
    class Clamped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp_min(0)  # never fused

    results = []
    for activation in (nn.ReLU, Clamped):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 50), activation(), nn.Linear(50, 3)).to(dtype)
        turnover.attach(model, 0.3, SEED, dropout=dropout)
        logits = own_logits(model, batch().to(dtype), seed=1)
        results.append([logits, *gradients_of(model, logits)])
    for fused, apart in zip(*results, strict=True):
        assert torch.equal(fused, apart)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_drops_the_same_units_again(reentrant: bool, whole: bool) -> None:
    model = turnover.attach(network(), P, SEED, dropout=D)
    x = batch().requires_grad_()
    right = gradients_of(model, own_logits(model, x, seed=1))

    class Part(nn.Module):
        def __init__(self, inner: nn.Sequential) -> None:
            super().__init__()
            self.body, self.head = inner[:4], inner[4]

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(checkpoint(self.body, x, use_reentrant=reentrant))
            return logits

    net: nn.Module = model
    if not whole:
        net = turnover.attach(Part(turnover.detach(model)), P, SEED, dropout=D)
    own_logits(net, x, seed=0)
    torch.manual_seed(1)
    with turnover.own(net, IDS):
        logits = checkpoint(net, x, use_reentrant=reentrant) if whole else net(x)
    own_logits(net.eval(), x, seed=77)  # between the two passes, of which the second is in training mode again
    net.train()
    logits.backward(torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=logits.dtype))
    for parameter, gradient in zip(model.parameters(), right, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


def test_a_compiled_network_drops_and_keeps_to_the_masks() -> None:
    torch._dynamo.reset()
    model = turnover.attach(network(), P, SEED, dropout=D)
    x = batch()
    own_logits(model, x, seed=0)
    compiled = cast(nn.Module, torch.compile(model, backend="aot_eager"))
    first, second = (own_logits(compiled, x[:1], seed, IDS[:1]) for seed in (1, 2))
    assert not torch.equal(first, second)
    for logits in (first, second):
        weight = gradients_of(model, logits)[0]
        assert not (weight.ne(0).any(1) & ~masks("mlp")[0][0]).any()
    model.eval()
    assert torch.allclose(own_logits(compiled, x[:1], 1, IDS[:1]), own_logits(model, x[:1], 2, IDS[:1]), rtol=1e-12)


def test_gradients_of_single_examples_are_those_of_the_step() -> None:
    model, x, y = turnover.attach(network(), P, SEED, dropout=D), batch(), torch.tensor([0, 1, 2, 0, 1])
    own_logits(model, x, seed=0)
    torch.manual_seed(1)
    found = gradients(model, x, y, own_units(IDS)).total(torch.full((5,), 0.2, dtype=torch.float64))
    step = torch.autograd.grad(F.cross_entropy(own_logits(model, x, 1), y), list(model.parameters()))
    for ours, theirs in zip(found.values(), step, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_under_torch_func_it_is_as_nn_dropout_is() -> None:
    """One gradient of a function draws as a pass does; `vmap` draws for every row, if it is allowed to."""
    model, x = turnover.attach(network(), P, SEED, dropout=D), batch()
    own_logits(model, x, seed=0)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        total: Tensor = torch.func.functional_call(model, weights, (row[None],)).square().sum()
        return total

    one, rows = IDS[:1], x[:1].expand(6, -1)
    torch.manual_seed(1)
    with turnover.own(model, one):
        found = torch.func.grad(loss)(weights, x[0])
    step = torch.autograd.grad(own_logits(model, x[:1], 1, one).square().sum(), list(model.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found.values(), step, strict=True))
    with pytest.raises(RuntimeError, match="randomness"), turnover.own(model, one):
        torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, rows)
    with turnover.own(model, one):
        by_row = torch.func.vmap(torch.func.grad(loss), (None, 0), randomness="different")(weights, rows)["0.weight"]
    assert not torch.equal(by_row[0], by_row[1])  # [units, inputs]
    assert not (by_row.ne(0).any(2) & ~masks("mlp")[0][0]).any()


def test_a_look_and_a_copy_leave_it_as_it_is() -> None:
    model, plain, x = turnover.attach(network(), P, SEED, dropout=D), turnover.attach(network(), P, SEED), batch()
    torch.manual_seed(1)
    report = turnover.verify(model, x, IDS)
    with turnover.own(model, IDS):
        logits = model(x)
    assert torch.equal(logits, own_logits(model, x, 1)), "the look draws no number"
    assert torch.equal(logits, own_logits(copy.deepcopy(model), x, 1))
    assert report.parameters.equals(turnover.verify(plain, x, IDS).parameters), "it looks at all own units"


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1, math.nan, math.inf])
def test_impossible_shares_are_refused(dropout: float) -> None:
    with pytest.raises(TurnOverError, match=f"dropout = {dropout}: must be at least 0"):
        turnover.attach(network(), dropout=dropout)
