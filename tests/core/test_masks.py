"""Masks: their statistics, their invariances, and agreement with the bit-by-bit oracle."""

import math
import subprocess
import sys

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import turnover
from turnover.core.masks import Balance, MaskRule, mask
from turnover.errors import TurnOverError

PS = (0.1, 0.3, 0.5, 0.9)
FAR_IDS = [0, 1, 2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1, 2**31, 2**40, 2**40 + 1]


@given(
    ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=4),
    units=st.integers(1, 200),
    layer=st.integers(0, 30),
    seed=st.integers(0, 2**63 - 1),
    p=st.floats(1e-4, 1 - 1e-4),
    groups=st.none() | st.integers(1, 50),
)
def test_bits_equal_the_oracle(ids: list[int], units: int, layer: int, seed: int, p: float, groups: int | None) -> None:
    fast = mask(torch.tensor(ids), units, layer, seed, p, groups=groups)
    slow = [[oracles.own_bit(seed, layer, id, unit, p, groups) for unit in range(units)] for id in ids]
    assert fast.tolist() == slow


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("groups", [None, 4096])
def test_keep_rate(p: float, groups: int | None) -> None:
    bits = mask(torch.arange(20_000), 500, 0, 0, p, groups=groups)
    independent = min(groups or 20_000, 20_000) * 500
    assert abs(bits.double().mean() - p) < 4 * math.sqrt(p * (1 - p) / independent)


@pytest.mark.parametrize("p", PS)
def test_every_example_and_every_unit_has_the_keep_rate(p: float) -> None:
    bits = mask(torch.arange(4_000), 4_000, 1, 3, p).double()
    error = math.sqrt(p * (1 - p) / 4_000)
    for rates in (bits.mean(0), bits.mean(1)):
        deviations = (rates - p) / error
        assert deviations.abs().max() < 5  # the largest of 4,000 normal numbers is about 3.6
        assert abs(deviations.std() - 1) < 0.06


@pytest.mark.parametrize("balance", ["bernoulli", "exact"])
@pytest.mark.parametrize("p", PS)
def test_flipped_is_the_exact_complement(balance: str, p: float) -> None:
    rule = MaskRule(p, 0, balance=balance)  # type: ignore[arg-type]
    ids = torch.arange(300)
    own = rule.own(ids, 130, 2)
    up = rule.multiplier(ids, 130, 2, flipped=False, dtype=torch.float64)
    down = rule.multiplier(ids, 130, 2, flipped=True, dtype=torch.float64)
    assert torch.equal(up != 0, own)
    assert torch.equal(down != 0, ~own)
    keep = own.double().mean().item() if balance == "exact" else round(p * 2**16) / 2**16
    assert torch.allclose(up[own], torch.tensor(1 / keep, dtype=torch.float64), rtol=1e-12)
    assert torch.allclose(down[~own], torch.tensor(1 / (1 - keep), dtype=torch.float64), rtol=1e-12)


def test_same_bits_for_any_integer_dtype_order_batch_and_subset() -> None:
    ids = torch.arange(1000)
    whole = mask(ids, 100, 0, 7)
    assert torch.equal(whole, mask(ids.int(), 100, 0, 7))
    assert torch.equal(whole[:200], mask(ids[:200].to(torch.uint8), 100, 0, 7))
    order = torch.randperm(1000)
    assert torch.equal(whole[order], mask(ids[order], 100, 0, 7))
    assert torch.equal(whole[5:6], mask(ids[5:6], 100, 0, 7))
    assert torch.equal(whole[:, :37], mask(ids, 37, 0, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
@pytest.mark.parametrize("p", PS)
def test_same_bits_for_every_dtype_of_the_network(dtype: torch.dtype, p: float) -> None:
    ids = torch.tensor(FAR_IDS)
    factors = MaskRule(p, 0).multiplier(ids, 333, 0, flipped=False, dtype=dtype)
    assert factors.dtype == dtype
    assert torch.equal(factors != 0, mask(ids, 333, 0, 0, p))


def test_far_ids_differ() -> None:
    bits = mask(torch.tensor(FAR_IDS), 256, 0, 0)
    agreement = (bits[:, None] == bits[None]).double().mean(-1) - torch.eye(len(FAR_IDS))
    assert agreement.max() < 0.5 + 5 * 0.5 / math.sqrt(256)


def test_no_row_is_repeated_among_a_million_ids() -> None:
    powers = 2 ** np.arange(63, dtype=np.uint64)
    for first in (0, 2**24 - 500_000):
        bits = mask(torch.arange(first, first + 1_000_000), 64, 0, 0).numpy()
        words = (bits[:, :63] * powers).sum(1, dtype=np.uint64) * np.uint64(2) + bits[:, 63]
        assert len(np.unique(words)) == 1_000_000


def _largest_correlation(columns: torch.Tensor) -> float:
    """Largest absolute correlation between two columns, in standard errors."""
    centred = columns.double() - columns.double().mean(0)
    centred = centred / centred.norm(dim=0)
    return float((centred.T @ centred).fill_diagonal_(0).abs().max() * math.sqrt(len(columns)))


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_units_are_uncorrelated(p: float) -> None:
    bits = mask(torch.arange(20_000), 256, 0, 0, p)
    assert _largest_correlation(bits) < 5.5  # of 32,640 pairs; 5.5 standard errors have probability 1e-3


def test_layers_and_seeds_are_uncorrelated() -> None:
    ids = torch.arange(20_000)
    bits = torch.cat([mask(ids, 16, layer, seed) for layer in range(8) for seed in range(2)], dim=1)
    assert _largest_correlation(bits) < 5.5


@pytest.mark.parametrize("step", [1, 2, 64, 2**20, 2**32])
def test_neighbouring_ids_are_uncorrelated(step: int) -> None:
    ids = torch.arange(64) * step
    bits = mask(ids, 20_000, 0, 0)
    assert _largest_correlation(bits.T) < 5.5


def test_exact_balance_keeps_exactly_a_share() -> None:
    for p, units, kept in [(0.5, 4096, 2048), (0.3, 10, 3), (0.01, 10, 1), (0.99, 10, 9), (0.5, 7, 4)]:
        bits = mask(torch.arange(500), units, 0, 0, p, balance="exact")
        assert bits.sum(1).unique().tolist() == [kept]
    assert _largest_correlation(mask(torch.arange(20_000), 200, 0, 0, balance="exact")) < 6.5  # -1/199 each by design


def test_groups_share_masks_in_every_layer() -> None:
    ids = torch.arange(5_000)
    first, second = (mask(ids, 64, layer, 0, groups=10) for layer in (0, 1))
    kinds, group = first.unique(dim=0, return_inverse=True)
    assert len(kinds) == 10
    assert all(len(second[group == number].unique(dim=0)) == 1 for number in range(10))
    sizes = group.bincount().double()
    assert (sizes - 500).abs().max() < 5 * math.sqrt(500)


def test_a_smaller_p_keeps_a_subset() -> None:
    ids = torch.arange(100)
    assert not (mask(ids, 100, 0, 0, 0.3) & ~mask(ids, 100, 0, 0, 0.7)).any()


def test_same_bits_in_another_process() -> None:
    code = "import torch, turnover; print(turnover.mask(torch.arange(50), 40, 2, 5, 0.3).int().flatten().tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(mask(torch.arange(50), 40, 2, 5, 0.3).int().flatten().tolist())


def test_bits_never_change() -> None:
    """Scores of old runs would lose their meaning: raise STAGE_VERSION if this must change."""
    bits = mask(torch.tensor([0, 1, 59_999, 2**40]), 16, 0, 0)
    rows = ["".join(str(int(bit)) for bit in row) for row in bits]
    assert rows == ["0011010000111011", "0000100001110010", "1001011010000100", "0110110101000111"]


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_ids_without_a_sign_are_taken(kind: torch.dtype) -> None:
    ids = torch.tensor([0, 5, 255])
    assert torch.equal(mask(ids.to(kind), 64, 0, 0), mask(ids, 64, 0, 0))
    model = turnover.attach(nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2)))
    with turnover.own(model, ids.to(kind)):
        found = model(torch.eye(3))
    with turnover.own(model, ids):
        assert torch.equal(model(torch.eye(3)), found)


def test_exact_balance_needs_two_units() -> None:
    with pytest.raises(TurnOverError, match="at least 2 units"):
        mask(torch.arange(3), 1, 0, 0, balance="exact")


@pytest.mark.parametrize("balance", ["bernoulli", "exact"])
def test_what_is_done_to_a_mask_changes_no_later_one(balance: Balance) -> None:
    rule, ids = MaskRule(0.5, 5, balance=balance), torch.arange(6)
    with FakeTensorMode() as mode:
        fake = rule.multiplier(mode.from_tensor(ids), 80, 0, flipped=True, dtype=torch.float64)
    assert isinstance(fake, FakeTensor)
    first = rule.multiplier(ids, 80, 0, flipped=True, dtype=torch.float64)
    before = first.clone()
    first.fill_(7)
    assert torch.equal(rule.multiplier(ids, 80, 0, flipped=True, dtype=torch.float64), before)
    assert torch.equal(before != 0, ~rule.own(ids, 80, 0))


def test_masks_made_in_a_fake_mode_leave_no_trace() -> None:
    rule, ids = MaskRule(0.3, 5), torch.arange(8)
    with FakeTensorMode(allow_non_fake_inputs=True):
        rule.multiplier(ids, 70, 0, flipped=True, dtype=torch.float64)
    mask = rule.multiplier(ids, 70, 0, flipped=True, dtype=torch.float64)
    assert type(mask) is torch.Tensor
    assert torch.equal(mask > 0, ~rule.own(ids, 70, 0))
