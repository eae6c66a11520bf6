"""Inputs that are several tensors, networks with `.logits`, and ids that are names."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.core import names
from turnover.core.names import numbers
from turnover.errors import RefusedInput

N = 40
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


class Plain(nn.Module):
    """A network of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)))


@dataclass
class Output:
    """As networks of Hugging Face give it."""

    logits: Tensor
    loss: Tensor | None = None


class Named(Plain):
    """The same network with arguments by name."""

    def forward(self, left: Tensor, right: Tensor, scale: Tensor | None = None) -> Output:  # type: ignore[override]
        return Output(super().forward(torch.cat([left, right], 1)))


class Placed(Plain):
    """The same network with two arguments."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([left, right], 1))


def run(network: type[nn.Module], x: Any, **given: Any) -> pd.DataFrame:
    usual: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 16, "seeds": 2, "progress": False}
    return turnover.memorization(network, x, Y, **usual | given)


@pytest.mark.parametrize("estimator", ["turnover", "one_run", "blocks", "second_split"])
def test_one_input_cut_in_two_gives_the_same_scores(estimator: str) -> None:
    options: dict[str, Any] = {
        "one_run": {"scores": ["cumulative_loss", "aum", "el2n", "grand"]},
        "blocks": {"blocks": 6},
    }
    given = {"estimator": estimator, "options": options.get(estimator)}
    expected = run(Plain, X, **given)
    by_name = run(Named, {"left": X[:, :2], "right": X[:, 2:]}, **given)
    by_place = run(Placed, (X[:, :2], X[:, 2:].numpy()), **given)
    pd.testing.assert_frame_equal(by_name, expected, check_exact=True)
    pd.testing.assert_frame_equal(by_place, expected, check_exact=True)


def test_a_loop_of_ones_own_and_its_scores() -> None:
    torch.manual_seed(0)
    model = turnover.attach(Named(), seed=3)
    x, ids = {"left": X[:, :2], "right": X[:, 2:]}, torch.arange(N)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        with turnover.own(model, ids):
            loss = nn.functional.cross_entropy(model(**x).logits, Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    plain = turnover.attach(Plain(), seed=3)
    plain.load_state_dict(model.state_dict())
    ours, theirs = turnover.score(model, x, Y), turnover.score(plain, X, Y)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert {**ours.attrs["leakage"]} == theirs.attrs["leakage"]
    influences = turnover.influence(model, {name: part[:5] for name, part in x.items()}, Y[:5], ids)
    torch.testing.assert_close(influences, turnover.influence(plain, X[:5], Y[:5], ids))


def test_what_a_hugging_face_network_takes_and_gives() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(
        vocab_size=30, max_position_embeddings=8, dim=16, n_layers=1, n_heads=2, hidden_dim=32, num_labels=3
    )
    tokens = torch.randint(1, 30, (N, 8), generator=torch.Generator().manual_seed(0))
    x = transformers.BatchEncoding({"input_ids": tokens, "attention_mask": (tokens > 3).long()})
    table = run(lambda: transformers.DistilBertForSequenceClassification(config), x, seeds=1)  # type: ignore[arg-type]
    assert len(table) == N
    assert np.isfinite(table["score"]).all()
    assert table["score"].nunique() > N / 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"left": X[:, :2]}, "cannot take .*missing.*'right'; a dict gives arguments of forward by their names"),
        ({"left": X[:, :2], "right": X[:9, 2:]}, "must have a row for each example: left has 40, right has 9"),
        ({"left": X[:, :2], "right": X[:, 2:] / 0}, r"x\['right'\] has values that are NaN or infinite, in rows 0, 1"),
        ({}, "must have a row for each example: there are none"),
    ],
)
def test_arguments_that_do_not_suit_are_refused(x: Any, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        run(Named, x)


@pytest.mark.parametrize("network", [Named, Placed])
def test_rows_that_are_not_finite_are_removed_from_all_arguments(network: Any) -> None:
    right = X[:, 2:].clone()
    right[5, 1] = torch.nan
    x: Any = {"left": X[:, :2], "right": right} if network is Named else (X[:, :2], right)
    with pytest.raises(RefusedInput, match="in rows 5: fill them in, or remove these") as refused:
        run(network, x)
    scope = {"x": x, "y": Y, "torch": torch}
    exec(str(refused.value).partition("remove these: ")[2], scope)
    table = turnover.memorization(network, scope["x"], scope["y"], 1, 0.1, seeds=1, progress=False)
    assert table["label"].tolist() == np.delete(Y.numpy(), 5).tolist()


@pytest.mark.parametrize("network", [Named, Placed])
def test_rows_without_a_label_are_removed_from_all_arguments(network: Any) -> None:
    y = np.where(np.arange(N) == 5, -1, Y)
    x: Any = {"left": X[:, :2], "right": X[:, 2:]} if network is Named else (X[:, :2], X[:, 2:])
    with pytest.raises(RefusedInput) as refused:
        turnover.memorization(network, x, y, 1, 0.1, seeds=1, progress=False)
    scope = {"x": x, "y": y, "numpy": np}
    exec("keep = " + str(refused.value).partition("keep = ")[2], scope)
    table = turnover.memorization(network, scope["x"], scope["y"], 1, 0.1, seeds=1, progress=False)
    assert table["label"].tolist() == np.delete(Y.numpy(), 5).tolist()


def test_a_tuple_of_rows_stays_one_input() -> None:
    pd.testing.assert_frame_equal(run(Plain, tuple(X)), run(Plain, X), check_exact=True)


# --- names ---

NAMES = ["a.png", "b.png", "ü/\udce9", "", "a.png "]


def test_names_have_the_same_numbers_in_every_process() -> None:
    ours = numbers(NAMES)
    assert len(set(ours.tolist())) == len(NAMES)
    assert int(ours.min()) >= 0
    assert int(ours.max()) < 1 << 62
    assert int(numbers(["a.png"])) == 0xE203797DE73BF656 >> 2  # as b2sum -l 64 gives it
    code = f"from turnover.core.names import numbers; print(numbers({NAMES!r}).tolist())"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == str(ours.tolist())


def test_two_names_of_one_hash_are_refused() -> None:
    with patch.object(names, "_BITS", 3), pytest.raises(RefusedInput, match="have the same hash, and would share"):
        numbers([f"{i}.png" for i in range(9)])


def test_a_table_keeps_names_and_masks_are_those_of_their_numbers() -> None:
    texts = [f"{i}.png" for i in range(N)]
    by_name, by_number = run(Plain, X, ids=texts), run(Plain, X, ids=numbers(texts))
    assert by_name.index.tolist() == texts
    assert by_name.index.name == "id"
    np.testing.assert_array_equal(by_name["score"], by_number["score"])
    torch.manual_seed(0)
    model = turnover.attach(Plain())
    with turnover.own(model, numbers(texts)):
        model(X).sum().backward()
    assert turnover.score(model, X, Y, texts).index.tolist() == texts
    assert turnover.influence(model, X[:3], Y[:3], texts).shape == (3, N)
