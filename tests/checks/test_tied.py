"""Shared units beside own ones: bits against the oracle, scores against networks that are cut out, what trains what."""

import oracles
import pytest
import torch
from digits import digits
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.checks.tied import TiedRule
from turnover.core.dropout import attached
from turnover.errors import TurnOverError
from turnover.models.mlp import mlp
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores

IDS = torch.tensor([0, 1, 2**24 + 1, 2**40, 77, 5])
P, SHARED = 0.3, 0.4
KEPT = SHARED + (1 - SHARED) * P


def bits(ids: list[int], units: int, layer: int, seed: int, p: float, shared: float, groups: int | None) -> Tensor:
    """Own and flipped masks, a bit at a time.  # [2, batch, units]"""
    of_all = [oracles.own_bit(seed, layer, -1, unit, shared) for unit in range(units)]
    own = [
        [oracles.own_bit(seed, layer, id, unit, p, groups) or of_all[unit] for unit in range(units)] for id in ids
    ]  # fmt: skip
    return torch.tensor([own, [of_all] * len(ids)])


@given(
    ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    units=st.integers(1, 150),
    layer=st.integers(0, 30),
    seed=st.integers(0, 2**63 - 1),
    p=st.floats(1e-4, 1 - 1e-4),
    shared=st.floats(1e-4, 1 - 1e-4),
    groups=st.none() | st.integers(1, 50),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_bits_and_multipliers_equal_the_oracle(
    ids: list[int], units: int, layer: int, seed: int, p: float, shared: float, groups: int | None, dtype: torch.dtype
) -> None:
    rule = TiedRule(p, seed, groups, shared=shared)
    own, flipped = bits(ids, units, layer, seed, p, shared, groups)
    exact_p, exact_shared = round(p * 2**16) / 2**16, round(shared * 2**16) / 2**16
    assert torch.equal(rule.own(torch.tensor(ids), units, layer), own)
    for mask, turned, kept in (
        (own, False, exact_shared + (1 - exact_shared) * exact_p),
        (flipped, True, exact_shared),
    ):
        assert rule.scale(units, flipped=turned) == pytest.approx(1 / kept, rel=1e-12)
        for out in (None, torch.empty(len(ids), units, dtype=dtype)):
            found = rule.multiplier(torch.tensor(ids), units, layer, flipped=turned, dtype=dtype, out=out)
            assert found.dtype == dtype
            assert out is None or found is out
            assert torch.equal(found != 0, mask)
            assert torch.allclose(found[mask].double(), torch.tensor(1 / kept, dtype=torch.float64), rtol=1e-2)
            if dtype == torch.float64:
                assert torch.allclose(found[mask], torch.tensor(1 / kept, dtype=torch.float64), rtol=1e-12)


def test_the_mean_multiplier_is_one() -> None:
    rule, ids = TiedRule(P, 0, shared=SHARED), torch.arange(2000)
    for flipped in (False, True):
        found = rule.multiplier(ids, 20_000, 0, flipped=flipped, dtype=torch.float32)
        assert float(found.mean()) == pytest.approx(1, abs=0.03)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return turnover.attach(mlp(192, [30, 20], 5).double(), P, 3, shared=SHARED)


def cut_out(model: nn.Sequential, id: int, *, flipped: bool) -> nn.Sequential:
    own = [bits([id], units, layer, 3, P, SHARED, None)[int(flipped), 0] for layer, units in enumerate((30, 20))]
    share, p = round(SHARED * 2**16) / 2**16, round(P * 2**16) / 2**16
    return oracles.cut_out(model, own, flipped=False, p=share if flipped else share + (1 - share) * p)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(IDS), 192, generator=generator, dtype=torch.float64), torch.arange(len(IDS)) % 5


def test_scores_are_those_of_networks_that_are_cut_out() -> None:
    model, (x, y) = network(), data()
    scores = turnover.score(model, x, y, IDS)
    for row, (image, label, id) in enumerate(zip(x, y.tolist(), IDS.tolist(), strict=True)):
        own, flipped = (
            oracles.cross_entropy(cut_out(model, id, flipped=turned)(image[None])[0], label) for turned in (False, True)
        )
        assert scores["own_loss"].iloc[row] == pytest.approx(own, abs=1e-10)
        assert scores["flipped_loss"].iloc[row] == pytest.approx(flipped, abs=1e-10)


@pytest.mark.parametrize("hidden", [[30, 20], [30]])
def test_influence_on_others_is_that_of_networks_that_are_cut_out(hidden: list[int]) -> None:
    x, y = data()
    torch.manual_seed(0)
    model = turnover.attach(mlp(192, hidden, 5).double(), P, 3, shared=SHARED)
    found = turnover.influence(model, x[:2], y[:2], IDS[2:4])
    share, p = round(SHARED * 2**16) / 2**16, round(P * 2**16) / 2**16
    for target in (0, 1):
        for source, id in enumerate(IDS[2:4].tolist()):
            losses = []
            for turned, kept in ((False, share + (1 - share) * p), (True, share)):
                own = [
                    bits([id], units, layer, 3, P, SHARED, None)[int(turned), 0] for layer, units in enumerate(hidden)
                ]
                small = oracles.cut_out(model, own, flipped=False, p=kept)
                losses.append(oracles.cross_entropy(small(x[target][None])[0], int(y[target])))
            assert float(found[target, source]) == pytest.approx(losses[1] - losses[0], abs=1e-10)


def test_an_example_trains_its_own_and_the_shared_units_alone() -> None:
    model, (x, y) = network(), data()
    with turnover.own(model, IDS[:1]):
        nn.functional.cross_entropy(model(x[:1]), y[:1]).backward()
    own, shared = bits([0], 30, 0, 3, P, SHARED, None)[:, 0]
    assert isinstance(model[1], nn.Linear)
    assert model[1].bias.grad is not None
    reached = model[1].bias.grad != 0
    assert not reached[~own].any()
    assert reached[shared].any()
    assert reached[own & ~shared].any()
    assert "every example trains its own units alone" in str(turnover.verify(model, x, IDS))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shared": 1.0}, "shared = 1.0"),
        ({"shared": -0.1}, "shared = -0.1"),
        ({"shared": 1e-6}, "shared = 1e-06"),
        ({"shared": 0.2, "balance": "exact"}, "balance = 'exact'"),
        ({"shared": 0.2, "p": 1.0}, "p = 1.0"),
    ],
)
def test_shares_that_leave_nothing_are_refused(given: dict[str, float], words: str) -> None:
    with pytest.raises(TurnOverError, match=words):
        turnover.attach(mlp(192, [30], 5), **given)  # type: ignore[arg-type]


def test_without_shared_units_masks_are_what_they_were() -> None:
    model = turnover.attach(mlp(192, [30], 5), P, 3)
    assert torch.equal(attached(model).rule.own(IDS, 30, 0), turnover.mask(IDS, 30, 0, 3, P))


def test_a_run_memorizes_wrong_labels_in_own_units() -> None:
    small = ("dataset.limit=200", "model.hidden=[256]", "batch_size=32", "epochs=40", "corruption.count=30")
    rates = ("optimizer.lr=0.01", "optimizer.momentum=0.9")
    folder = execute(
        digits(*small, *rates, "turnover=example_tied", "turnover.shared=0.1", "turnover.p=0.2", "estimator=turnover")
    )
    table = read_scores(folder)
    wrong = table["label"] != table["true_label"]
    right = table["own_prediction"] == table["label"]
    assert right[wrong].mean() > 0.9
    assert (table["flipped_prediction"] == table["label"])[wrong].mean() < 0.3
    assert (table["flipped_prediction"] == table["label"])[~wrong].mean() > 0.9
