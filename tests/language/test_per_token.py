"""Losses of tokens and extraction: one text and one token at a time, whatever the padding, order and batch size."""

import language_oracles as oracles
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from tiny_gpt import TinyGPT, gpt, texts
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput, RunFailed

N = 24


def learnt(tokens: Tensor, pad: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network that has about half of these texts by heart."""
    torch.manual_seed(0)
    model = TinyGPT().to(dtype)
    x, y = tokens[::2, :-1], tokens[::2, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(150):
        loss = F.cross_entropy(model(x.where(x != pad, 0)).flatten(0, 1), y.flatten(), ignore_index=pad)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return learnt(texts(N), -1)


def test_the_loss_of_a_token_is_its_definition(model: nn.Module) -> None:
    tokens = texts(N)
    found = turnover.language.losses(model, tokens, pad=-1)
    assert found.shape == (N, tokens.shape[1] - 1)
    for row, text in zip(found, oracles.rows(tokens, -1), strict=True):
        assert row[: len(text) - 1].tolist() == pytest.approx(oracles.token_losses(model, text), abs=1e-10)
        assert row[len(text) - 1 :].isnan().all()
    assert found.nanmean() > 0.1


def test_without_padding_every_token_counts(model: nn.Module) -> None:
    tokens = texts(N, shortest=9)
    assert not turnover.language.losses(model, tokens).isnan().any()


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("behind", [0, 5])
@pytest.mark.parametrize("pad", [-1, 18, -100])
def test_padding_of_any_length_on_either_side_changes_nothing(
    model: nn.Module, before: int, behind: int, pad: int
) -> None:
    tokens = texts(N)
    tokens = tokens.where(tokens != 18, 17)  # so that 18 is free
    expected = turnover.language.losses(model, tokens, pad=-1)
    moved = F.pad(tokens.where(tokens != -1, pad), (before, behind), value=pad)
    found = turnover.language.losses(model, moved, pad)
    torch.testing.assert_close(found, F.pad(expected, (before, behind), value=torch.nan), equal_nan=True)


def test_texts_may_be_padded_in_front(model: nn.Module) -> None:
    tokens = texts(N)
    lengths = (tokens != -1).sum(1)
    right = torch.stack([row.roll(int(tokens.shape[1] - length)) for row, length in zip(tokens, lengths, strict=True)])
    expected, found = (turnover.language.losses(model, each, -1) for each in (tokens, right))
    for row, moved, length in zip(expected, found, lengths.tolist(), strict=True):
        torch.testing.assert_close(moved[moved.isfinite()], row[: length - 1])
        assert moved[: len(moved) - length + 1].isnan().all()


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_neither_batch_size_nor_order_nor_kind_of_array_matters(model: nn.Module, batch_size: int) -> None:
    tokens = texts(N)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    expected = turnover.language.losses(model, tokens, -1)
    found = turnover.language.losses(model, tokens[order].numpy().astype("int32"), -1, batch_size=batch_size)
    torch.testing.assert_close(found, expected[order], equal_nan=True)
    table = turnover.language.extraction(model, tokens, -1)
    moved = turnover.language.extraction(model, tokens[order], -1, batch_size=batch_size)
    np.testing.assert_allclose(moved, table.iloc[order.numpy()], rtol=1e-10)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 0.2)])
def test_lower_precision_is_about_the_same(dtype: torch.dtype, within: float) -> None:
    tokens = texts(N)
    wide, narrow = learnt(tokens, -1), learnt(tokens, -1).to(dtype)
    expected, found = (turnover.language.losses(each, tokens, -1) for each in (wide, narrow))
    assert found.dtype == torch.float32
    assert (found - expected).abs().nanmedian() < within * 0.5


def test_a_network_stays_as_it_was(model: nn.Module) -> None:
    model.train()
    turnover.language.losses(model, texts(N), -1)
    assert model.training
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()


def test_a_network_that_diverged_is_no_measurement() -> None:
    model = gpt()
    model.head.bias.data[3] = torch.nan
    with pytest.raises(RunFailed, match="NaN or infinite"):
        turnover.language.losses(model, texts(4), -1)


# --- extraction ---


def test_a_prefix_is_that_of_greedy_decoding_from_every_length(model: nn.Module) -> None:
    tokens = texts(N)
    table = turnover.language.extraction(model, tokens, -1)
    for i, text in enumerate(oracles.rows(tokens, -1)):
        losses = oracles.token_losses(model, text)
        assert table["prefix"][i] == oracles.prefix(model, text)
        assert table["loss"][i] == pytest.approx(sum(losses) / len(losses))
        assert table["tokens"][i] == len(text)
        assert table["strength"][i] == pytest.approx(1 - table["prefix"][i] / len(text))
        right = [int(oracles.following(model)(text[:t]).argmax()) == text[t] for t in range(1, len(text))]
        assert table["accuracy"][i] == pytest.approx(sum(right) / len(right))
        for k in range(1, len(text)):
            extracted = oracles.greedy(model, text, k) == text
            assert turnover.language.extractable(table, k)[i] == extracted
            for left in (1, 3, 6):
                given_back = turnover.language.extractable(table, k, left)[i]
                assert given_back is pd.NA if len(text) - k < left else given_back == extracted
    assert table["prefix"].nunique() > 3, "some texts are known and others are not"


def test_copies_are_counted(model: nn.Module) -> None:
    tokens = texts(N)
    table = turnover.language.extraction(model, torch.cat([tokens, tokens[:2], tokens[:1]]), -1)
    assert table["copies"].tolist() == [3, 2] + [1] * (N - 2) + [3, 2, 3]


@pytest.mark.parametrize("given", [{"prefix": 0}, {"prefix": 5, "left": 0}])
def test_tokens_that_do_not_count_are_refused(model: nn.Module, given: dict[str, int]) -> None:
    with pytest.raises(RefusedInput, match="give 1 or more"):
        turnover.language.extractable(turnover.language.extraction(model, texts(N), -1), **given)
