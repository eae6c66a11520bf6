"""Influences of training examples on others, against the definition, one pair at a time, in float64."""

import oracles
import pytest
import torch
import torch.nn.functional as F
from gradient_networks import CASES, made
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

import turnover
from turnover.checks.inputs import user_examples
from turnover.core.masks import Balance
from turnover.errors import RefusedInput, TurnOverError
from turnover.estimators import influence as module
from turnover.models.mlp import mlp


def trained(hidden: list[int], steps: int = 40) -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """An MLP that has fitted random labels, its data and ids."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 12, dtype=torch.float64), torch.randint(3, (30,))
    ids = torch.randint(2**40, (30,))
    model = turnover.attach(mlp(12, hidden, 3).double(), seed=4)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        with turnover.own(model, ids):
            F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, x, y, ids


@pytest.mark.parametrize("hidden", [[20], [20, 9]])
def test_influence_is_that_of_networks_with_units_cut_out(hidden: list[int]) -> None:
    model, x, y, ids = trained(hidden)
    found = turnover.influence(model, x[:4], y[:4], ids)
    assert found.shape == (4, 30)
    for i, id in enumerate(ids):
        masks = [turnover.mask(id.view(1), units, layer, 4)[0] for layer, units in enumerate(hidden)]
        parts = [oracles.cut_out(model, masks, flipped=turned, p=0.5) for turned in (True, False)]
        for t in range(4):
            without, with_it = (oracles.cross_entropy(part(x[t : t + 1])[0], int(y[t])) for part in parts)
            assert float(found[t, i]) == pytest.approx(without - with_it, abs=1e-10)


def test_of_several_networks_it_is_the_mean_and_says_whether_they_agree(caplog: pytest.LogCaptureFixture) -> None:
    first, x, y, ids = trained([20])
    second = turnover.attach(mlp(12, [20], 3).double(), seed=5)
    with turnover.own(second, ids):
        second(x)
    singles = [turnover.influence(model, x[:4], y[:4], ids) for model in (first, second)]
    assert not caplog.records
    torch.testing.assert_close(turnover.influence([first, first], x[:4], y[:4], ids), singles[0], rtol=0, atol=0)
    assert not caplog.records, "a network agrees with itself"
    torch.testing.assert_close(turnover.influence((first, second), x[:4], y[:4], ids), sum(singles) / 2)
    expected = sum(spearmanr(*pair).statistic for pair in zip(*singles, strict=True)) / 4
    assert f"Spearman correlation of {expected:.2f} " in caplog.text
    with pytest.raises(RefusedInput, match="give a trained network"):
        turnover.influence([], x, y, ids)


@pytest.mark.parametrize("hidden", [[20], [20, 9]])
def test_influence_on_itself_is_the_memorization_score(hidden: list[int]) -> None:
    model, x, y, ids = trained(hidden)
    scores = torch.from_numpy(turnover.score(model, x, y, ids)["score"].to_numpy())
    found = turnover.influence(model, x, y, ids)
    torch.testing.assert_close(found.diagonal(), scores, rtol=0, atol=1e-10)
    assert float(found.diagonal().mean()) > float(found.mean()) + 0.5, "random labels are learnt by heart"


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.05, 0.95),
    st.sampled_from(["bernoulli", "exact"]),
    st.sampled_from([None, 3]),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_the_matrix_product_gives_what_every_pair_gives(
    p: float, balance: Balance, groups: int | None, flat: bool, t: int, i: int
) -> None:
    torch.manual_seed(i)
    whole = mlp(6, [70], 4).double()
    model = turnover.attach(nn.Sequential(*list(whole)[flat:]), p, 2, groups=groups, balance=balance)
    x, y, ids = torch.randn(t, 6, dtype=torch.float64), torch.randint(4, (t,)), torch.randint(2**40, (i,))
    with torch.no_grad():
        expected = module.by_pairs(model, user_examples(x, y, None, device=x.device, dtype=x.dtype), ids)
    torch.testing.assert_close(turnover.influence(model, x, y, ids), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["mlp", "vgg11", "cvt"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_how_much_is_computed_at_once_changes_nothing(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = made(CASES[name], 3)
    turnover.attach(model, seed=1)
    ids = torch.tensor([9, 2**33, 4, 0])
    expected = torch.empty(3, 4, dtype=torch.float64)
    model.eval()
    with torch.no_grad():
        for t in range(3):
            for i in range(4):
                losses = []
                for part in (turnover.flipped, turnover.own):
                    with part(model, ids[i : i + 1]):
                        losses.append(F.cross_entropy(model(x[t : t + 1]), y[t : t + 1]))
                expected[t, i] = losses[0] - losses[1]
    model.train()
    monkeypatch.setattr(module, "_PAIRS", size)
    monkeypatch.setattr(module, "_NUMBERS", size)
    found = turnover.influence(model, x, y, ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert model.training
    assert not found.requires_grad


def test_an_argument_by_its_name_has_the_influences_of_the_argument_alone() -> None:
    torch.manual_seed(0)
    model, x, y, ids = turnover.attach(mlp(5, [8], 3), seed=0), torch.randn(6, 5), torch.arange(6) % 3, torch.arange(4)
    expected = turnover.influence(model, x, y, ids)
    torch.testing.assert_close(turnover.influence(model, {"input": x}, y, ids), expected)
    torch.testing.assert_close(turnover.influence(model, (x,), y, ids), expected)


def test_bad_input_is_refused() -> None:
    model, x, y, ids = trained([20], steps=1)
    with pytest.raises(TurnOverError, match="negative"):
        turnover.influence(model, x, y, ids - 2**41)
    with pytest.raises(TurnOverError, match="attach"):
        turnover.influence(mlp(12, [20], 3).double(), x, y, ids)
    with pytest.raises(RefusedInput, match="one length"):
        turnover.influence(model, x, y[:3], ids)


def test_low_precision_blurs_no_losses() -> None:
    model, x, y, ids = trained([20])
    expected = turnover.influence(model, x, y, ids)
    found = turnover.influence(model.to(torch.bfloat16), x, y, ids)
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())
