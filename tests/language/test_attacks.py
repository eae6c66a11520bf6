"""Membership inference against its definitions, of short texts too."""

import math
from typing import Any

import language_oracles as oracles
import numpy as np
import pytest
import torch
from tiny_gpt import gpt, texts

import turnover
from turnover.errors import RefusedInput

N = 60
TOKENS = texts(N)
TEXTS = [" ".join(map(str, row)) for row in oracles.rows(TOKENS, -1)]


def losses(model: Any) -> list[list[float]]:
    return [oracles.token_losses(model, text) for text in oracles.rows(TOKENS, -1)]


@pytest.mark.parametrize("k", [0.1, 0.2, 0.5, 1.0])
def test_min_k_takes_one_token_at_least(k: float) -> None:
    assert {len(text) for text in oracles.rows(TOKENS, -1)} >= {2, 3, 4, 5}
    found = turnover.language.membership(gpt(), TOKENS, -1, attack="min_k", k=k)
    assert found.tolist() == pytest.approx([oracles.min_k(row, k) for row in losses(gpt())], abs=1e-10)


def test_loss_and_zlib_and_reference() -> None:
    means = [np.mean(row) for row in losses(gpt())]
    of = turnover.language.membership
    assert of(gpt(), TOKENS, -1).tolist() == pytest.approx([-mean for mean in means], abs=1e-10)
    found = of(gpt(), TOKENS, -1, attack="zlib", texts=TEXTS)
    expected = [oracles.zlib_score(row, text) for row, text in zip(losses(gpt()), TEXTS, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    others = [np.mean(row) for row in losses(gpt(1))]
    found = of(gpt(), TOKENS, -1, attack="reference", reference=gpt(1))
    assert found.tolist() == pytest.approx(list(np.subtract(others, means)), abs=1e-10)


def test_a_likelihood_ratio_is_that_of_normal_densities() -> None:
    draw = np.random.default_rng(0)
    included = np.stack([draw.permutation(12) < 6 for _ in range(N)], 1)
    networks = draw.normal(3.0, 0.3, (12, N)) - included * 0.5
    found = turnover.language.membership(gpt(), TOKENS, -1, attack="lira", losses=networks, included=included)
    split = [
        [(-networks[included[:, i], i]).tolist(), (-networks[~included[:, i], i]).tolist()] for i in range(N)
    ]  # of fewer than 32 networks the variance is the mean over texts
    spread = tuple(float(np.mean([np.var(parts[kind], ddof=1) for parts in split])) for kind in range(2))
    for i, row in enumerate(losses(gpt())):
        inside, outside = split[i]
        expected = oracles.likelihood_ratio(-float(np.mean(row)), inside, outside, (spread[0], spread[1]))
        assert float(found[i]) == pytest.approx(expected, rel=1e-9)


def test_members_are_told_from_others_by_every_attack() -> None:
    torch.manual_seed(0)
    model = gpt(sharp=1.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    x = TOKENS[::2]
    for _ in range(80):
        loss = torch.nn.functional.cross_entropy(
            model(x[:, :-1].clamp(min=0)).flatten(0, 1), x[:, 1:].flatten(), ignore_index=-1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inside = np.arange(N) % 2 == 0
    attacks: list[dict[str, Any]] = [
        {},
        {"attack": "min_k"},
        {"attack": "zlib", "texts": TEXTS},
        {"attack": "reference", "reference": gpt(1, sharp=1.0)},
    ]
    for given in attacks:
        found = turnover.language.membership(model, TOKENS, -1, **given).numpy()
        pairs = found[inside][:, None] > found[~inside][None]
        assert pairs.mean() > 0.8, given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attack": "los"}, "attack = 'los': allowed: loss, zlib, min_k, reference, lira"),
        ({"attack": "zlib"}, "needs texts: give texts too"),
        ({"attack": "zlib", "texts": TEXTS[1:]}, "texts must be a list of strings, one for each of 60 rows"),
        ({"attack": "reference"}, "needs reference"),
        ({"attack": "lira", "losses": np.zeros((4, N))}, "needs included"),
        (
            {"attack": "lira", "losses": np.zeros((4, N)), "included": np.arange(4)[:, None] + np.zeros(N) < 1},
            "1 networks were trained on them or were not: each text needs 2",
        ),
        (
            {"attack": "lira", "losses": np.zeros((4, 3)), "included": np.zeros((4, 3), dtype=bool)},
            r"must be \[networks, 60\]",
        ),
        ({"attack": "min_k", "k": 0}, "k = 0: must be a share"),
        ({"attack": "min_k", "k": math.nan}, "k = nan: must be a share"),
    ],
)
def test_what_an_attack_lacks_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        turnover.language.membership(gpt(), TOKENS, -1, **given)
