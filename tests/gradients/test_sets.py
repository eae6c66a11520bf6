"""Mean cosines and contributions of sets of any size, against pairs of built gradients in float64."""

from contextlib import AbstractContextManager

import oracles
import pytest
import torch
from gradient_networks import CASES, made
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.core.evaluation import own_units
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.gradients import backpack
from turnover.gradients.sets import contributions, set_gradients, sum_of_squares
from turnover.models.mlp import mlp


def examples(name: str, n: int) -> tuple[nn.Module, Examples]:
    model, x, y = made(CASES[name], n)
    return model, Examples(x, y, torch.arange(n) * 17)


def built(model: nn.Module, some: Examples, *, masked: bool = False) -> dict[str, Tensor]:
    def inside(i: int) -> AbstractContextManager[None]:
        return turnover.own(model, some.ids[i : i + 1])

    return oracles.example_gradients(model, some.inputs, some.labels, inside if masked else None)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch_size", [3, 7, 100])
def test_mean_cosine_of_a_set_is_that_of_its_pairs(name: str, batch_size: int) -> None:
    model, some = examples(name, 7)
    found = set_gradients(model, some, layers=True, batch_size=batch_size)
    rows = built(model, some)
    assert float(found.cosine()) == pytest.approx(oracles.mean_cosine(torch.cat(list(rows.values()), dim=1)), abs=1e-10)
    layers = found.layer_cosines()
    used = {name for name, each in rows.items() if each.any()}
    assert used <= set(layers) <= set(rows)
    for name, each in layers.items():
        if 0 < float(rows[name].abs().max()) < 1e-12:
            continue  # 0 but for rounding: a bias before a softmax
        assert float(each) == pytest.approx(oracles.mean_cosine(rows[name]), abs=1e-10), name


@pytest.mark.parametrize("name", CASES)
def test_contributions_are_projections(name: str) -> None:
    model, some = examples(name, 7)
    part = some.select(torch.tensor([4, 0, 6]))
    update = set_gradients(model, some, batch_size=4).mean()
    rows = torch.cat(list(built(model, some).values()), dim=1)
    g = rows.mean(dim=0)
    expected = [oracles.contribution(rows[i], g) for i in range(7)]
    assert contributions(model, some, update, batch_size=4).tolist() == pytest.approx(expected, abs=1e-10)
    assert float(set_gradients(model, some).contribution(update)) == pytest.approx(sum(expected) / 7, abs=1e-10)
    mean = (expected[4] + expected[0] + expected[6]) / 3
    assert float(set_gradients(model, part).contribution(update)) == pytest.approx(mean, abs=1e-10)


def test_contributions_are_derivatives_along_the_update() -> None:
    """Forward-mode differentiation along g gives the same."""
    model, some = examples("cvt", 5)
    update = set_gradients(model, some).mean()
    weights = {name: each.detach() for name, each in model.named_parameters()}

    def losses(parameters: dict[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(model, parameters, some.inputs)
        return nn.functional.cross_entropy(logits, some.labels, reduction="none")

    along = torch.func.jvp(losses, (weights,), (update,))[1]
    found = contributions(model, some, update) * sum_of_squares(update).sqrt()
    torch.testing.assert_close(found, along, rtol=1e-10, atol=1e-10)


def test_own_sub_networks_have_cosines_of_their_own() -> None:
    model, some = examples("vgg11", 5)
    turnover.attach(model, seed=1)
    rows = built(model, some, masked=True)
    found = set_gradients(model, some, own_units, batch_size=2)
    assert float(found.cosine()) == pytest.approx(oracles.mean_cosine(torch.cat(list(rows.values()), dim=1)), abs=1e-10)


@given(
    n=st.integers(2, 12),
    batch_size=st.integers(1, 13),
    copies=st.integers(0, 3),
    blank=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_duplicates_and_zero_gradients(n: int, batch_size: int, copies: int, blank: int, seed: int) -> None:
    """A network without biases has no gradient at a blank image; its cosine with every other is 0."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)).double()
    x = torch.randn(n, 6, dtype=torch.float64)
    x[: min(blank, n)] = 0
    if copies:
        x[-copies:] = x[-1]
    some = Examples(x, torch.randint(3, (n,)), torch.arange(n))
    rows = torch.cat(list(built(model, some).values()), dim=1)
    found = set_gradients(model, some, batch_size=batch_size)
    assert float(found.cosine()) == pytest.approx(oracles.mean_cosine(rows), abs=1e-10)
    g = rows.mean(dim=0)
    expected = sum(oracles.contribution(row, g) for row in rows) / n
    assert float(found.contribution(found.mean())) == pytest.approx(expected, abs=1e-10)


def test_a_set_without_any_gradient() -> None:
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)).double()
    some = Examples(torch.zeros(4, 6, dtype=torch.float64), torch.arange(4) % 3, torch.arange(4))
    found = set_gradients(model, some, layers=True)
    assert float(found.cosine()) == 0
    assert float(found.contribution(found.mean())) == 0
    assert contributions(model, some, found.mean()).tolist() == [0, 0, 0, 0]
    assert all(float(each) == 0 for each in found.layer_cosines().values())


def test_equal_gradients_have_cosine_one() -> None:
    model, some = examples("mlp", 1)
    alike = some.select(torch.zeros(6, dtype=torch.int64))
    assert float(set_gradients(model, alike, batch_size=4).cosine()) == pytest.approx(1, abs=1e-12)


def test_one_example_has_no_pairs() -> None:
    model, some = examples("mlp", 1)
    with pytest.raises(RefusedInput, match="at least two"):
        set_gradients(model, some).cosine()


def test_order_and_precision_change_little() -> None:
    torch.manual_seed(0)
    model = mlp(16, [32], 4)
    some = Examples(torch.randn(300, 16), torch.randint(4, (300,)), torch.arange(300))
    one = set_gradients(model, some, batch_size=64).cosine()
    other = set_gradients(model, some.select(torch.randperm(300)), batch_size=37).cosine()
    exact = set_gradients(model.double(), Examples(some.inputs.double(), some.labels, some.ids)).cosine()
    assert float(one) == pytest.approx(float(exact), abs=1e-6)
    assert float(other) == pytest.approx(float(exact), abs=1e-6)


def test_training_mode_is_put_back_and_dropout_is_off() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, 3)).double().train()
    some = Examples(torch.randn(5, 6, dtype=torch.float64), torch.arange(5) % 3, torch.arange(5))
    assert set_gradients(model, some).cosine() == set_gradients(model, some).cosine()
    assert model.training


def test_backpack_gives_the_same() -> None:
    model, some = examples("vgg11", 6)
    ours = set_gradients(model, some, batch_size=4, layers=True)
    theirs = set_gradients(model, some, batch_size=4, layers=True, backend=backpack.gradients)
    assert float(ours.cosine()) == pytest.approx(float(theirs.cosine()), abs=1e-10)
    for name, each in ours.layer_cosines().items():
        assert float(each) == pytest.approx(float(theirs.layer_cosines()[name]), abs=1e-10)
