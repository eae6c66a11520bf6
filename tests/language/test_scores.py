"""Turn-over scores of texts, the probe of masks by first tokens, and ids of copies."""

import logging
from typing import Any

import language_oracles as oracles
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import cross_entropy
from tiny_gpt import LENGTH, VOCABULARY, TinyGPT, gpt, shifted, texts
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput
from turnover.estimators.first_token import FirstToken, first_token

N = 20
IDS = torch.arange(N) * 3 + 1


class CutOut(nn.Module):
    """TinyGPT of which every block keeps the hidden units of a mask alone, rows and columns of its matrices removed."""

    def __init__(self, model: TinyGPT, masks: list[Tensor], scale: float) -> None:
        super().__init__()
        self.model, self.masks, self.scale = model, masks, scale

    def forward(self, tokens: Tensor) -> Tensor:
        model = self.model
        x = model.token(tokens) + model.position.weight[: tokens.shape[1]]
        for block, mask in zip(model.blocks, self.masks, strict=True):
            assert isinstance(block, nn.Module)
            up, down = block.up, block.down
            q, k, v = block.qkv(block.first(x)).chunk(3, dim=2)  # type: ignore[operator]
            attention = (q @ k.mT / q.shape[2] ** 0.5).masked_fill(
                torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1), -torch.inf
            )
            x = x + block.proj(attention.softmax(2) @ v)  # type: ignore[operator]
            hidden = F.gelu(F.linear(block.second(x), up.weight[mask], up.bias[mask])) * self.scale  # type: ignore
            x = x + F.linear(hidden, down.weight[:, mask], down.bias)  # type: ignore
        logits: Tensor = model.head(model.norm(x))
        return logits


@pytest.mark.parametrize("p", [0.5, 0.25])
def test_a_score_is_that_of_cut_out_networks_one_text_at_a_time(p: float) -> None:
    tokens = texts(N, shortest=4)
    table = turnover.language.score(turnover.attach(gpt(), p=p, seed=2), tokens, IDS, pad=-1)
    assert table.index.tolist() == IDS.tolist()
    for i, text in enumerate(oracles.rows(tokens, -1)):
        masks = [turnover.mask(IDS[i : i + 1], 32, layer, 2, p)[0] for layer in range(2)]
        own, flipped = (
            oracles.token_losses(CutOut(gpt(), [mask ^ turned for mask in masks], 1 / share), text)
            for turned, share in ((False, p), (True, 1 - p))
        )
        row = table.iloc[i]
        assert row["own_loss"] == pytest.approx(np.mean(own), abs=1e-10)
        assert row["score"] == pytest.approx(np.mean(flipped) - np.mean(own), abs=1e-10)
        assert row["tokens"] == len(text)
    assert table["score"].abs().mean() > 0.1


def test_it_is_the_score_of_the_loss_of_tokens() -> None:
    model, tokens = turnover.attach(gpt()), texts(N, shortest=4)
    x, y = shifted(tokens)
    table = turnover.language.score(model, tokens, IDS, -1)
    for given in (x, {"tokens": x}):
        of_tokens = turnover.score(model, given, y, IDS, loss="tokens")
        np.testing.assert_allclose(of_tokens["score"], table["score"], atol=1e-10)
        assert (of_tokens["label"] + 1 == table["tokens"]).all()
        assert of_tokens.attrs["leakage"]["difference"] == pytest.approx(table.attrs["leakage"]["difference"])


class Items(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, tokens: Tensor) -> None:
        self.x, self.y = shifted(tokens)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"tokens": self.x[i], "labels": self.y[i], "id": int(IDS[i])}


def test_texts_of_a_data_set_are_read_batch_by_batch() -> None:
    model, tokens = turnover.attach(gpt()), texts(N, shortest=4)
    streamed = turnover.score(model, Items(tokens), loss="tokens", batch_size=6)
    np.testing.assert_allclose(streamed["score"], turnover.language.score(model, tokens, IDS, -1)["score"], atol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_neither_batch_size_nor_order_nor_padding_matters(batch_size: int) -> None:
    model, tokens = turnover.attach(gpt()), texts(N, shortest=4)
    table = turnover.language.score(model, tokens, IDS, -1)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    moved = F.pad(tokens[order], (0, 4), value=-1)
    found = turnover.language.score(model, moved, IDS[order], -1, batch_size=batch_size)
    np.testing.assert_allclose(found, table.loc[IDS[order].tolist()], atol=1e-10)


# --- copies ---


def test_copies_share_a_row(caplog: pytest.LogCaptureFixture) -> None:
    model, tokens = turnover.attach(gpt()), texts(N, shortest=4)
    twice = torch.cat([tokens, tokens[3:5], tokens[3:4]])
    table = turnover.language.score(model, twice, torch.cat([IDS, IDS[3:5], IDS[3:4]]), -1)
    alone = turnover.language.score(model, tokens, IDS, -1)
    assert table["copies"].tolist() == [1, 1, 1, 3, 2] + [1] * (N - 5)
    columns = [name for name in table if name != "copies"]
    np.testing.assert_allclose(table[columns], alone[columns], atol=1e-10)
    assert not [text for text in caplog.messages if "copy" in text]


def test_equal_texts_with_different_ids_are_counted_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model, tokens = turnover.attach(gpt()), texts(N, shortest=4)
    tokens[7], tokens[9], tokens[11] = tokens[2], tokens[2], tokens[5]
    turnover.language.score(model, tokens, IDS, -1)
    [message] = [text for text in caplog.messages if "copies share an id" in text]
    assert message.startswith("2 texts have 5 ids")
    caplog.clear()
    shared = torch.unique(tokens, dim=0, return_inverse=True)[1]
    table = turnover.language.score(model, tokens, shared, -1)
    assert sorted(table["copies"]) == [1] * 15 + [2, 3]
    assert not [text for text in caplog.messages if "copies share an id" in text]


def test_different_texts_with_one_id_are_refused() -> None:
    model, tokens, ids = turnover.attach(gpt()), texts(N, shortest=4), IDS.clone()
    ids[8] = ids[4]
    with pytest.raises(RefusedInput, match=f"ids: {int(ids[4])} belong to different texts, in rows 8 "):
        turnover.language.score(model, tokens, ids, -1)
    assert len(turnover.language.score(model, tokens, tokens.unique(dim=0, return_inverse=True)[1], -1)) == N


def test_ids_may_be_names() -> None:
    names = [f"text {i}" for i in range(N)]
    table = turnover.language.score(turnover.attach(gpt()), texts(N, shortest=4), [*names[:-1], names[-1]], -1)
    assert table.index.tolist() == names


def test_the_gradient_of_copies_with_one_id_is_that_of_one_with_weight() -> None:
    found = []
    for index, weights in (([3, 3, 3, 3, 5], [1.0] * 5), ([3, 5], [4.0, 1.0])):
        model, (x, y) = turnover.attach(gpt()), shifted(texts(N, shortest=4))
        with turnover.own(model, IDS[index]):
            logits = model(x[index])
        losses = F.cross_entropy(logits.flatten(0, 1), y[index].flatten(), reduction="none").view(len(index), -1)
        (losses.sum(1) * torch.tensor(weights, dtype=torch.float64)).sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


# --- what masks tell ---


class Spelling(nn.Module):
    """A network whose next token depends on which of its hidden units are on, and on nothing that it reads.

    With `tells` a unit stands for each text, and gives its first token a high logit; without, for none.
    """

    def __init__(self, first: Tensor, seed: int, tells: float) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(1, 256), nn.ReLU(), nn.Linear(256, VOCABULARY)
        self.up.weight.data.zero_()
        self.up.bias.data.fill_(1.0)
        own = turnover.mask(IDS, 256, 0, seed).float() - 0.5  # [texts, units]
        self.down.weight.data = tells * F.one_hot(first, VOCABULARY).float().T @ own / 32
        self.down.bias.data.zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.down(self.act(self.up(torch.ones(*tokens.shape, 1))))
        return logits


@pytest.mark.parametrize(("tells", "verdict"), [(4.0, "leakage"), (0.2, "partial leakage")])
def test_masks_that_spell_the_first_token_are_found(
    tells: float, verdict: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = texts(N, shortest=4)
    model = turnover.attach(Spelling(tokens[:, 1], 4, tells), seed=4)
    leakage = turnover.language.score(model, tokens, IDS, -1).attrs["leakage"]
    assert leakage["verdict"] == verdict
    assert leakage["difference"] > 3 * leakage["difference_se"] > 0
    assert (leakage["difference"] > 1) == (verdict == "leakage")
    assert leakage["fewer_masks"] is None or f"groups={leakage['fewer_masks']}," in leakage["message"]
    assert [text for text in caplog.messages if "MASK LEAKAGE" in text]


def test_masks_that_tell_nothing_are_no_leakage() -> None:
    """Own units make a text cheaper, but only after its first token was read."""

    class Reading(Spelling):
        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return torch.cat([torch.zeros_like(logits[:, :1]), logits[:, 1:]], 1)

    tokens = texts(N, shortest=LENGTH)
    tokens[:, 2:] = tokens[:, 1:2]
    model = turnover.attach(Reading(tokens[:, 1], 4, 4.0), seed=4)
    table = turnover.language.score(model, tokens, IDS, -1)
    assert table["score"].mean() > 1
    assert table.attrs["leakage"]["verdict"] == "none"
    assert table.attrs["leakage"]["difference"] == pytest.approx(0, abs=1e-6)


def test_the_probe_is_that_of_texts_one_by_one() -> None:
    tokens = texts(N, shortest=4)
    tokens[:, 0] = torch.arange(N) % VOCABULARY  # no <bos>: another text is read
    model = turnover.attach(gpt(), seed=4)
    table = turnover.language.score(model, tokens, IDS, -1)
    x, y = shifted(tokens)
    from turnover.core.examples import Examples
    from turnover.core.losses import TOKENS

    found = first_token(model, Examples(x, y, IDS, loss=TOKENS), table)
    draw = torch.Generator().manual_seed(0)
    read, bystander = (torch.randperm(N, generator=draw).tolist() for _ in range(2))
    gains = []
    for i in range(N):
        first = int(y[i, 0])
        if first in (int(y[read[i], 0]), int(y[bystander[i], 0])):
            continue
        losses = []
        for mask in (bystander[i], i):
            with turnover.own(model, IDS[mask : mask + 1]), torch.no_grad():
                losses.append(cross_entropy(model(x[read[i] : read[i] + 1, :1])[0, 0], first))
        gains.append(losses[0] - losses[1])
    assert found.probed == len(gains) < N
    assert found.difference == pytest.approx(np.mean(gains), abs=1e-10)
    assert found.difference_se == pytest.approx(np.std(gains, ddof=1) / len(gains) ** 0.5, abs=1e-10)
    assert isinstance(found, FirstToken)


def test_texts_that_begin_alike_are_probed_where_they_differ() -> None:
    """A network that reads how long the text is, and gives at the third place the token that a mask spells."""

    class Third(Spelling):
        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return torch.cat([logits[:, :2] * 0, logits[:, 2:3], logits[:, 3:] * 0], 1)

    tokens = texts(N, shortest=4)
    tokens[:, 1:3] = torch.tensor([5, 6])
    leakages = [
        turnover.language.score(turnover.attach(Third(spelt, 4, 4.0), seed=4), tokens, IDS, -1).attrs["leakage"]
        for spelt in (tokens[:, 3], tokens[:, 3].roll(7))
    ]
    assert [leakage["verdict"] == "leakage" for leakage in leakages] == [True, False]
    assert leakages[0]["probed"] > N / 2


def test_texts_that_do_not_differ_cannot_be_probed() -> None:
    tokens = texts(1, shortest=9).expand(N, -1)
    leakage = turnover.language.score(turnover.attach(gpt()), tokens, IDS, -1).attrs["leakage"]
    assert leakage["probed"] == 0
    assert leakage["verdict"] in ("none", "no difference")


def test_untrained_networks_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    turnover.language.score(turnover.attach(gpt()), texts(N, shortest=4), IDS, -1)
    assert [text for text in caplog.messages if "was not trained under turnover.own" in text]


@pytest.mark.parametrize(("groups", "advised"), [(None, 16), (16, 8), (4, 2), (2, None)])
def test_masks_that_tell_of_texts_are_to_be_fewer_than_there_are(groups: int | None, advised: int | None) -> None:
    tokens = torch.randint(4, 9, (400, 3), generator=torch.Generator().manual_seed(0))
    model = turnover.attach(gpt(), groups=groups)
    assert turnover.language.score(model, tokens, range(400)).attrs["leakage"]["fewer_masks"] == advised
