"""Tokens, padding, ids and networks that would give wrong numbers: what the message says to do is done, and works."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_gpt import TinyGPT, gpt, texts
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput

N = 12
TOKENS = texts(N, shortest=4)
L = turnover.language


def refusal(model: nn.Module, tokens: Any, pad: Any = -1) -> str:
    with pytest.raises(RefusedInput) as refused:
        L.losses(model, tokens, pad)
    return str(refused.value)


# tokens, pad, a part of the message that is code for what comes after
STEPS: dict[str, tuple[Any, Any, str]] = {
    "floats": (TOKENS.double(), -1, "tokens = torch.as_tensor(tokens).long()"),
    "floats of numpy": (TOKENS.numpy().astype(float), -1, "tokens = torch.as_tensor(tokens).long()"),
    "one text": (TOKENS[0], -1, "tokens = torch.as_tensor(tokens).reshape(1, -1)"),
    "padding that is not named": (TOKENS, None, "pad=-1"),
    "other padding": (TOKENS.where(TOKENS != -1, -100), None, "pad=-100"),
    "an empty text": (
        torch.cat([TOKENS, torch.full_like(TOKENS[:1], -1)]),
        -1,
        "keep = (torch.as_tensor(tokens) != -1).sum(1) >= 2; tokens = tokens[keep]",
    ),
    "a text of one token": (
        torch.cat([TOKENS, F.pad(TOKENS[:1, :1], (0, TOKENS.shape[1] - 1), value=-1)]),
        -1,
        "keep = (torch.as_tensor(tokens) != -1).sum(1) >= 2; tokens = tokens[keep]",
    ),
    "rows of different lengths": (
        [[1, 4, 3], [1, 2]],
        None,
        "rows = [torch.as_tensor(row) for row in tokens]; "
        "tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1); pad=-1",
    ),
    "texts longer than the context": (texts(N, length=40, shortest=4), -1, "tokens = tokens[:, :25]"),
    "texts padded in front, longer than the context": (texts(N, length=40, shortest=4).flip(1), -1, "[:, -25:]"),
}


@pytest.mark.parametrize("case", STEPS)
def test_tokens_of_another_kind(case: str) -> None:
    tokens, pad, step = STEPS[case]
    assert step in refusal(gpt(), tokens, pad)
    scope = {"tokens": tokens, "pad": pad, "torch": torch}
    exec(f"tokens = tokens{step}" if step.startswith("[") else step, scope)
    found = L.losses(gpt(), scope["tokens"], scope["pad"])
    assert found.isfinite().any(1).all()


def test_how_many_texts_are_longer_than_the_context_is_said() -> None:
    tokens = texts(N, length=40, shortest=4)
    longer = int(((tokens != -1).sum(1) > 25).sum())
    assert refusal(gpt(), tokens).startswith(f"{longer} of {N} texts are longer than 25 tokens")


@pytest.mark.parametrize("pad", ["-1", 1.0, True, [0]])
def test_padding_is_a_number_or_none(pad: Any) -> None:
    assert "must be the number that tokens are padded with, or None" in refusal(gpt(), TOKENS, pad)


def test_padding_inside_of_a_text_is_refused() -> None:
    """As of packed rows whose texts end with the token that they are padded with."""
    texts_ = [[1, 4, 3, 0, 1, 5, 6, 0], [1, 7, 0, 0, 0, 0, 0, 0]]
    message = refusal(gpt(), texts_, 0)
    assert "rows 0 hold pad = 0 between other tokens" in message
    rows = [torch.tensor(text) for text in ([1, 4, 3, 0], [1, 5, 6, 0], [1, 7, 0])]
    scope = {"rows": rows, "torch": torch}
    exec(message.partition("as tensors; ")[2].partition(";")[0], scope)
    assert L.losses(gpt(), scope["tokens"], -1).isfinite().sum(1).tolist() == [3, 3, 2]


def test_an_id_for_each_token_of_packed_rows_is_refused() -> None:
    with pytest.raises(RefusedInput, match=r"an id for each token.*give each text a row of its own") as refused:
        L.score(turnover.attach(gpt()), TOKENS, torch.zeros_like(TOKENS), -1)
    scope: dict[str, Any] = {"texts": [row[row != -1] for row in TOKENS], "torch": torch}
    exec(str(refused.value).partition("one id: ")[2], scope)
    assert len(L.score(turnover.attach(gpt()), scope["tokens"], torch.arange(N), scope["pad"])) == N


@pytest.mark.parametrize("ids", [torch.arange(N - 1), torch.arange(N)[:, None], torch.tensor(3)])
def test_ids_are_one_for_each_row(ids: Tensor) -> None:
    with pytest.raises(RefusedInput, match=f"one for each of {N} rows"):
        L.score(turnover.attach(gpt()), TOKENS, ids, -1)


class Wrapped(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.model, self.change = TinyGPT(), change

    def forward(self, tokens: Tensor) -> Any:
        return self.change(self.model(tokens))


@pytest.mark.parametrize(
    "change",
    [lambda z: z.mean(1), lambda z: z[:, -1], lambda z: z[..., 0], lambda z: z.transpose(0, 1), lambda z: z.mean()],
    ids=["of a text", "of the last token", "one number", "tokens first", "a loss"],
)
def test_networks_without_logits_of_every_token_are_refused(change: Any) -> None:
    assert "must give logits [n, tokens, vocabulary]" in refusal(Wrapped(change), TOKENS)
    with pytest.raises(RefusedInput, match=r"must give logits \[n, tokens, vocabulary\]"):
        L.memorization(lambda: Wrapped(change), TOKENS, pad=-1, epochs=1, lr=1e-3, progress=False)


def test_a_network_that_gives_more_than_logits_is_told_to_give_them_alone() -> None:
    assert "the network gives a tuple, not logits alone" in refusal(Wrapped(lambda z: (z, None)), TOKENS)


def test_tokens_beyond_the_vocabulary_are_named() -> None:
    for row, place in ((3, 0), (3, 1), (0, 1)):
        tokens = TOKENS.clone()
        tokens[row, place] = 30
        assert f"tokens hold 30 in rows {row}, but the network has logits of tokens 0 to 18" in refusal(gpt(), tokens)
        assert L.losses(TinyGPT(31), tokens, -1).isfinite().any()

    class Fewer(TinyGPT):  # an embedding of more tokens than there are logits
        def __init__(self) -> None:
            super().__init__(31)
            self.head = nn.Linear(16, 19)

    assert "tokens hold 30 in rows 0, but the network has logits of tokens 0 to 18" in refusal(Fewer(), tokens)


def test_a_network_that_sees_later_tokens_is_refused() -> None:
    class Bidirectional(TinyGPT):
        def forward(self, tokens: Tensor) -> Tensor:
            return super().forward(tokens) + super().forward(tokens).mean(1, keepdim=True)

    for model in (Bidirectional(), Bidirectional().double()):
        assert "depend on tokens that come later" in refusal(model, TOKENS)


def test_a_network_that_takes_no_tokens_is_refused_with_its_own_words() -> None:
    assert "the network cannot take" in refusal(nn.Linear(8, 3), TOKENS)


# --- y of loss="tokens" ---


def targets(tokens: Tensor) -> Tensor:
    return torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], -100)], 1).where(tokens != -1, -100)


X = TOKENS.clamp(min=0)
GOOD = torch.cat([TOKENS[:, 1:], TOKENS[:, :1] * 0 - 1], 1)
GOOD = GOOD.where(GOOD != -1, -100)


@pytest.mark.parametrize(
    ("y", "message", "step"),
    [
        (GOOD.double(), "its dtype is torch.float64", "y = y.long()"),
        (GOOD.numpy().astype(float), "its dtype is torch.float64", "y = y.astype('int64')"),
        (GOOD.where(GOOD != -100, -1), "y holds -1 in rows", "y[y < 0] = -100"),
        (
            TOKENS.where(TOKENS != -1, -100),
            "y holds the tokens of x themselves",
            "y = torch.as_tensor(y); y = torch.cat([y[:, 1:], torch.full_like(y[:, :1], -100)], 1)",
        ),
        (GOOD[:, 0], r"\[n, tokens\], got shape", ""),
        (X + 40, "token .* is to be predicted, but the network gives 19 logits", ""),
        (
            GOOD.where(torch.arange(N)[:, None] != 3, -100),
            "no token to be predicted in rows 3",
            "keep = (torch.as_tensor(y) != -100).any(1).cpu().numpy(); x, y = x[keep], y[keep]",
        ),
    ],
)
def test_targets_of_another_kind(y: Any, message: str, step: str) -> None:
    with pytest.raises(RefusedInput, match=message) as refused:
        turnover.score(turnover.attach(TinyGPT()), X, y, loss="tokens")
    scope: dict[str, Any] = {"x": X, "y": y, "torch": torch, "np": np}
    for part in step.split("; ")[-2:]:
        assert part in str(refused.value)
    exec(step, scope)
    if step:
        assert len(turnover.score(turnover.attach(TinyGPT()), scope["x"], scope["y"], loss="tokens")) in (N, N - 1)


def test_texts_that_say_one_thing_again_and_again_are_no_copies_of_x() -> None:
    same = torch.full((N, 6), 3)
    y = same.clone()
    y[:, -1] = -100
    assert len(turnover.score(turnover.attach(TinyGPT()), same, y, loss="tokens")) == N


@pytest.mark.parametrize("texts", ["a text", ["a text", "another one"], ("same", "size")])
def test_texts_that_are_not_tokenized_are_named(texts: Any) -> None:
    with pytest.raises(RefusedInput, match="tokens are strings: give the numbers that your tokenizer makes"):
        turnover.language.extraction(gpt(), texts, pad=-1)
