"""Exposure: ranks among all codes, looked at one by one; and their estimate from a sample."""

import math
from typing import Any

import language_oracles as oracles
import numpy as np
import pytest
import torch
from scipy.stats import skewnorm, spearmanr
from tiny_gpt import gpt, texts
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput
from turnover.language.skew_normal import log_cdf

DIGITS = torch.arange(4, 14)


class Bigrams(nn.Module):
    """A table of log-probabilities of the next token by the last one."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.log())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def codes(n: int, digits: int = 3, seed: int = 0) -> Tensor:
    return DIGITS[torch.randint(10, (n, digits), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("batch_size", [None, 7])
def test_an_exact_rank_is_that_among_a_thousand_codes(batch_size: int | None) -> None:
    model, before, true = gpt(), texts(3), codes(3)
    found = turnover.language.exposure(model, before, true, DIGITS, pad=-1, batch_size=batch_size)
    for bits, text, code in zip(found, oracles.rows(before, -1), true.tolist(), strict=True):
        rank = oracles.rank(oracles.following(model), text, code, DIGITS.tolist())
        assert float(bits) == pytest.approx(math.log2(1000 / rank), abs=1e-12)
    assert found.std() > 0.1


def test_a_table_of_bigrams_has_known_ranks() -> None:
    """After token 0: a twice as probable as b and c; after a: c; after b: a; after c: all alike."""
    a, b, c = 1, 2, 3
    rows = [[0.2, 0.4, 0.2, 0.2], [0.1, 0.1, 0.1, 0.7], [0.1, 0.6, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]]
    table = torch.tensor(rows, dtype=torch.float64)
    # ac .28 | ba .12 | ca cb cc .05 | aa ab .04 | bb .04 | bc .02
    given = torch.tensor([[a, c], [b, a], [c, b], [a, a], [b, b], [b, c]])
    found = turnover.language.exposure(Bigrams(table), torch.zeros(6, 1, dtype=torch.long), given, [a, b, c])
    ranks = [1, 2, 3, 6, 6, 9]  # those as probable do not count
    assert found.tolist() == pytest.approx([math.log2(9 / rank) for rank in ranks])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_that_are_all_alike_are_no_better_than_each_other(dtype: torch.dtype) -> None:
    model = gpt().to(dtype)
    model.head.weight.data.zero_()
    model.head.bias.data.copy_(torch.linspace(-3, 3, len(model.head.bias)))
    model.head.bias.data[DIGITS] = 1.7
    found = turnover.language.exposure(model, texts(3), codes(3), DIGITS, pad=-1, batch_size=7)
    assert found.tolist() == pytest.approx([math.log2(1000)] * 3)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_a_code_that_is_hardly_more_probable_is_ahead(dtype: torch.dtype, apart: float) -> None:
    a, b = 1, 2
    table = torch.tensor([[0.2, 0.4 * (1 + apart), 0.4], [0.2, 0.4, 0.4], [0.2, 0.4, 0.4]], dtype=torch.float64)
    given = torch.tensor([[a, a], [b, b]])  # aa and ab are alike, and hardly more probable than ba and bb
    found = turnover.language.exposure(Bigrams(table).to(dtype), torch.zeros(2, 1, dtype=torch.long), given, [a, b])
    assert found.tolist() == pytest.approx([2, math.log2(4 / 3)])


def test_padding_of_what_comes_before_does_not_matter() -> None:
    model, before, true = gpt(), texts(4), codes(4)
    one_by_one = [
        turnover.language.exposure(model, torch.tensor([text]), code[None], DIGITS)
        for text, code in zip(oracles.rows(before, -1), true, strict=True)
    ]
    found = turnover.language.exposure(model, before, true, DIGITS, pad=-1)
    assert found.tolist() == pytest.approx(torch.cat(one_by_one).tolist())


def test_a_sample_estimates_the_rank() -> None:
    model, before, true = gpt(), texts(40), codes(40)
    exact = turnover.language.exposure(model, before, true, DIGITS, pad=-1)
    sampled = turnover.language.exposure(model, before, true, DIGITS, exact=False, pad=-1)
    assert spearmanr(exact, sampled).statistic > 0.97
    assert (exact - sampled).abs().median() < 0.2
    again = turnover.language.exposure(model, before, true, DIGITS, exact=False, pad=-1, batch_size=3)
    torch.testing.assert_close(again, sampled)
    assert not torch.equal(turnover.language.exposure(model, before, true, DIGITS, False, pad=-1, seed=1), sampled)


@pytest.mark.parametrize("alpha", [-4.0, 0.0, 0.5, 6.0])
def test_the_distribution_is_that_of_scipy(alpha: float) -> None:
    sample = skewnorm.rvs(alpha, 3.0, 2.0, size=200_000, random_state=0)
    values = np.linspace(-3, 9, 13) if alpha < 1 else np.linspace(2.5, 9, 13)
    found = log_cdf(torch.from_numpy(values), torch.from_numpy(sample).expand(13, -1))
    expected = skewnorm.logcdf(values, alpha, 3.0, 2.0)
    likely = expected > math.log(1e-4)
    np.testing.assert_allclose(found[likely], expected[likely], atol=0.15)
    assert (found.diff() >= -1e-12).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"codes": torch.full((3, 3), 15)}, "each digit must be a token of its own"),
        ({"codes": codes(2)}, "codes must be .*one for each of 3 rows"),
        ({"alphabet": [4, 4, 5]}, "two or more different tokens"),
        ({"alphabet": "45"}, "give the numbers of its tokens"),
        ({"codes": codes(3, 7)}, "are 10000000, more than 1000000 .*exact=False"),
        ({"before": torch.ones(3, 4)}, "before must be integers"),
        ({"before": torch.full((3, 4), -1)}, "before: rows 0, 1, 2 are empty"),
    ],
)
def test_what_is_no_code_is_refused(changed: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"before": texts(3), "codes": codes(3), "alphabet": DIGITS, "pad": -1} | changed
    with pytest.raises(RefusedInput, match=message):
        turnover.language.exposure(gpt(), **given)


def test_the_advice_on_codes_works() -> None:
    before, true = texts(3), torch.full((3, 3), 15)
    true[0, 0] = 3
    assert turnover.language.exposure(gpt(), before, true, true.unique(), pad=-1).shape == (3,)
    long = codes(3, 7)
    assert turnover.language.exposure(gpt(), before, long, DIGITS, exact=False, pad=-1, samples=50).isfinite().all()
