"""The one-line API on real data: it finds wrong labels."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

import turnover
from turnover.common.seeding import seeded
from turnover.core.examples import Examples
from turnover.data.corruption import corrupt
from turnover.errors import RefusedInput, RunFailed
from turnover.training.loop import train


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)[:1000]
    return (x - x.mean()) / x.std(), torch.tensor(data.target)[:1000]


def network(hidden: int = 256) -> nn.Module:
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def test_wrong_labels_have_high_scores() -> None:
    x, true = digits()
    y, _ = corrupt(true, 10, 100, seed=0)
    table = turnover.memorization(network, x, y, epochs=30, lr=0.1, batch_size=64, seeds=3, progress=False)
    assert table.index.name == "id"
    assert list(table.columns) == ["score", "own_loss", "flipped_loss", "own_prediction", "flipped_prediction", "label"]
    assert roc_auc_score((y != true).numpy(), table["score"]) > 0.97
    assert table.attrs["leakage"]["verdict"] == "none"
    assert table.attrs["seeds"] == [0, 1, 2]


def test_it_is_the_mean_of_single_seeds_and_the_same_every_time() -> None:
    x, y = digits()
    options: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 128, "progress": False}
    together = turnover.memorization(network, x, y, seeds=[4, 9], **options)
    torch.rand(3)  # the global generator must not matter
    single = [turnover.memorization(network, x, y, seeds=[seed], **options) for seed in (4, 9)]
    np.testing.assert_array_equal(together["score"], (single[0]["score"] + single[1]["score"]) / 2)
    assert not np.allclose(single[0]["score"], single[1]["score"])


def test_it_warns_where_its_scores_are_of_no_use(caplog: pytest.LogCaptureFixture) -> None:
    x, y = digits()
    options: dict[str, Any] = {"batch_size": 64, "seeds": 1, "progress": False}
    turnover.memorization(network, x, y, epochs=20, lr=0.1, **options)
    assert not caplog.records
    verdict = turnover.memorization(network, x, y, epochs=1, lr=1e-5, **options).attrs["leakage"]
    assert verdict["verdict"] == "not fitted"
    assert [record.message for record in caplog.records] == [verdict["message"]]


def test_ids_move_masks_with_their_examples() -> None:
    x, y = digits()
    options: dict[str, Any] = {"epochs": 1, "lr": 0.1, "batch_size": 1000, "seeds": 1, "progress": False}
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    a = turnover.memorization(network, x, y, ids=torch.arange(1000), **options)
    b = turnover.memorization(network, x[order], y[order], ids=order, **options)
    np.testing.assert_allclose(a["score"], b["score"].sort_index(), atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs = 0"),
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": []}, r"seeds = \[\]"),
        ({"seeds": [3, 3]}, r"seeds = \[3, 3\]"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"x": torch.full((1000, 64), torch.nan)}, "64000 values that are NaN or infinite"),
        ({"y": torch.full((1000,), 3)}, "y holds class 3 alone"),
        ({"make_model": lambda: nn.Sequential(network(), nn.Softmax(1))}, "must give logits, before any softmax"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, object], message: str) -> None:
    x, y = digits()
    usual: dict[str, Any] = {"make_model": network, "x": x, "y": y, "epochs": 1, "lr": 0.1, "seeds": 1}
    with pytest.raises(RefusedInput, match=message):
        turnover.memorization(**usual | {"progress": False} | change)


def test_numbers_too_large_to_be_learnt_are_to_be_scaled_and_then_are_learnt() -> None:
    x, _ = digits()
    y = 1e6 * x.sum(1)
    given: dict[str, Any] = {"epochs": 2, "lr": 0.05, "seeds": 1, "progress": False, "loss": "squared"}

    def one() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    with pytest.raises(RunFailed, match=r"\(lr\); y is up to .*, so scale it first, y = ") as failed:
        turnover.memorization(one, x, y, **given)
    scope = {"y": y}
    exec(str(failed.value).partition("scale it first, ")[2], scope)
    assert turnover.memorization(one, x, scope["y"], **given).attrs["curve"]["loss"][-1] < 1
    with pytest.raises(RunFailed, match=r"\(lr\)$"):
        turnover.memorization(one, x, scope["y"], **given | {"lr": 1e30})


def test_a_diverging_run_says_where() -> None:
    x, y = digits()
    with pytest.raises(RunFailed, match=r"epoch 1, step \d+ of 4, at learning rate 1e\+30"):
        turnover.memorization(network, x, y, epochs=2, lr=1e30, seeds=1, progress=False)


def test_one_seed_is_attach_train_and_score_with_that_seed() -> None:
    x, y = digits()
    found = turnover.memorization(network, x.double().numpy(), y.int(), epochs=2, lr=0.1, seeds=[4], progress=False)
    with seeded(4, "init"):
        model = turnover.attach(network(), seed=4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    examples = Examples(x, y, torch.arange(1000))
    list(train(model, examples, optimizer, lambda step: 0.1, epochs=2, batch_size=256, seed=4))
    np.testing.assert_array_equal(found["score"], turnover.score(model, x, y)["score"])


def test_the_same_seed_gives_the_same_scores_with_ordinary_dropout_too() -> None:
    x, y = digits()

    def noisy() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))

    options: dict[str, Any] = {"epochs": 2, "lr": 0.1, "seeds": 1, "progress": False}
    first = turnover.memorization(noisy, x, y, **options)
    torch.rand(5)
    np.testing.assert_array_equal(first["score"], turnover.memorization(noisy, x, y, **options)["score"])
