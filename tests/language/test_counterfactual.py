"""Counterfactual memorization of texts: the losses of the very networks, copies that stay together, every estimator."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import language_oracles as oracles
import numpy as np
import pandas as pd
import pytest
import torch
from tiny_gpt import TinyGPT, shifted, texts
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput
from turnover.estimators import networks

N = 24
TOKENS = texts(N, shortest=4)
OPTIONS: dict[str, dict[str, Any]] = {
    "blocks": {"blocks": 6},
    "subsampling": {"models": 16, "fractions": [0.5]},
    "c_score": {"models": 12, "fractions": [0.5]},
    "membership": {"models": 40},
}


class Counting(TinyGPT):
    """Counts the rows that it trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Counter[tuple[int, ...]] = Counter()

    def forward(self, tokens: Tensor) -> Any:
        if self.training and torch.is_grad_enabled():
            self.rows.update(map(tuple, tokens.tolist()))
        return super().forward(tokens)


def memorized(
    tokens: Tensor = TOKENS,
    estimator: str = "blocks",
    ids: Any = None,
    make_model: Callable[[], nn.Module] = TinyGPT,
    **given: Any,
) -> pd.DataFrame:
    usual: dict[str, Any] = {"epochs": 4, "lr": 3e-3, "batch_size": 8, "seeds": 1, "progress": False, "pad": -1}
    options = OPTIONS.get(estimator)
    return turnover.language.memorization(
        make_model, tokens, ids, **usual | {"estimator": estimator, "options": options} | given
    )


def with_networks(*given: Any, **named: Any) -> tuple[pd.DataFrame, list[tuple[nn.Module, Tensor]]]:
    """The table, and all networks with what each was trained on."""
    trained: list[tuple[nn.Module, Tensor]] = []
    real = networks.train_block

    def noted(task: Any, config: Any, ensemble: Any, block: Any, on_step: Any) -> list[nn.Module]:
        models = real(task, config, ensemble, block, on_step)
        trained.extend(zip(models, ensemble.included[block], strict=True))
        return models

    with patch.object(networks, "train_block", noted):
        return memorized(*given, **named), trained


@pytest.mark.parametrize("estimator", ["blocks", "subsampling"])
def test_scores_are_the_losses_of_the_networks(estimator: str) -> None:
    table, trained = with_networks(estimator=estimator)
    for i, text in enumerate(oracles.rows(TOKENS, -1)):
        losses = [np.mean(oracles.token_losses(model, text)) for model, _ in trained]
        inside = [bool(included[i]) for _, included in trained]
        within, without = (
            [loss for loss, is_in in zip(losses, inside, strict=True) if is_in == asked] for asked in (True, False)
        )
        assert table["in_loss"][i] == pytest.approx(np.mean(within), rel=1e-4)
        assert table["out_loss"][i] == pytest.approx(np.mean(without), rel=1e-4)
        assert table["memorization_loss"][i] == pytest.approx(np.mean(without) - np.mean(within), abs=1e-4)
        if estimator == "blocks":
            half = len(trained) // 2
            pairs = [losses[k] - losses[k + half] for k in range(half)]
            excess = np.array([-pair if inside[k] else pair for k, pair in enumerate(pairs)])
            left_out = [np.delete(excess, k).mean() for k in range(half)]
            jackknife = np.sqrt((half - 1) * np.mean((left_out - np.mean(left_out)) ** 2))
            assert table["memorization_se"][i] == pytest.approx(jackknife, rel=1e-3)
            assert table["score"][i] == table["memorization_loss"][i]
            continue
        right = [
            np.mean([int(oracles.following(model)(text[:t]).argmax()) == text[t] for t in range(1, len(text))])
            for model, _ in trained
        ]
        share = [
            np.mean([each for each, is_in in zip(right, inside, strict=True) if is_in == asked])
            for asked in (True, False)
        ]
        assert table["memorization"][i] == table["score"][i] == pytest.approx(share[0] - share[1], abs=1e-6)
    assert (table["tokens"] == [len(text) for text in oracles.rows(TOKENS, -1)]).all()


@pytest.mark.parametrize("estimator", ["blocks", "subsampling"])
def test_copies_are_trained_on_and_held_out_together(estimator: str) -> None:
    tokens = torch.cat([TOKENS, TOKENS[5:6], TOKENS[3:4], TOKENS[5:6]])
    copies = [1, 1, 1, 2, 1, 3] + [1] * (N - 6)
    table, trained = with_networks(tokens, estimator, make_model=Counting, epochs=2)
    assert table["copies"].tolist() == copies
    assert len(table) == N
    for model, included in trained:
        assert isinstance(model, Counting)
        assert int(included.sum()) == N // 2
        assert model.rows == {
            tuple(text): 2 * many
            for text, many, inside in zip(TOKENS[:, :-1].clamp(min=0).tolist(), copies, included, strict=True)
            if inside
        }
    assert np.isfinite(table["score"]).all()


def test_with_more_copies_a_text_is_memorized_more() -> None:
    tokens = torch.cat([TOKENS, *[TOKENS[:4]] * 6])
    table = memorized(tokens, epochs=8)
    assert table["memorization_loss"][:4].mean() > table["memorization_loss"][4:].mean() + 0.5


@pytest.mark.parametrize(
    "estimator", ["turnover", "cumulative_loss", "final_loss", "grand", "membership", "c_score", "subsampling"]
)
def test_every_estimator_that_has_a_meaning_for_texts_scores_them(estimator: str) -> None:
    tokens = torch.cat([TOKENS, TOKENS[5:6]])
    names = [f"text {i}" for i in range(N)] + ["text 5"]
    table = memorized(tokens, estimator, names)
    assert table.index.tolist() == names[:N]
    assert np.isfinite(table["score"]).all()
    assert table["score"].nunique() > N / 2
    assert table["copies"].tolist() == [1] * 5 + [2] + [1] * (N - 6)
    assert "label" not in table


@pytest.mark.parametrize("estimator", ["forgetting", "first_learning", "aum", "el2n", "vog", "second_split"])
def test_others_are_refused_with_one_that_works(estimator: str) -> None:
    with pytest.raises(
        RefusedInput, match=f"estimator = '{estimator}' needs .*which loss='tokens' does not give: take"
    ):
        memorized(estimator=estimator)


def test_masks_are_shared_and_thinned_unless_asked_for() -> None:
    usual, asked, other = (
        memorized(estimator="turnover", **given)
        for given in ({}, {"groups": 16, "dropout": 0.5}, {"groups": None, "dropout": 0.0})
    )
    pd.testing.assert_frame_equal(usual, asked)
    assert not np.allclose(usual["score"], other["score"])
    assert usual.attrs["leakage"]["probed"] > 0


def test_it_is_the_estimate_of_the_general_function() -> None:
    x, y = shifted(TOKENS)
    training = {
        "optimizer": {"name": "adamw", "betas": [0.9, 0.95]},
        "schedule": {"name": "cosine", "by": "step", "warmup": 0},
    }
    given: dict[str, Any] = {"epochs": 4, "lr": 3e-3, "batch_size": 8, "seeds": 1, "progress": False}
    general = turnover.memorization(
        TinyGPT, x, y, **given, estimator="blocks", options=OPTIONS["blocks"], loss="tokens", training=training
    )
    np.testing.assert_allclose(memorized()["score"], general["score"], atol=1e-5)
    assert general.attrs["estimator"] == memorized().attrs["estimator"] == "memorization_loss"
    sgd = memorized(training={"optimizer": "sgd"}, lr=0.1)
    assert not np.allclose(sgd["score"], general["score"])
