"""Every estimator under every loss of an example: right numbers, or a refusal whose advice works."""

import re
from typing import Any
from unittest.mock import patch

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
from targets import KINDS, network, targets
from torch import Tensor, nn

import turnover
from turnover.common.seeding import seeded
from turnover.config.estimator_names import NAMES
from turnover.core.losses import LOSSES
from turnover.errors import RefusedInput
from turnover.estimators import networks
from turnover.estimators.gradient_scores import grand
from turnover.estimators.influence import by_pairs

N = 40
X = torch.rand(N, 6, generator=torch.Generator().manual_seed(0))
OPTIONS: dict[str, dict[str, Any]] = {
    "subsampling": {"models": 20},
    "c_score": {"models": 20, "fractions": [0.5]},
    "membership": {"models": 30},
    "blocks": {"blocks": 6},
}


def absolute(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).abs().sum(1)


def scored(kind: str, estimator: str, **given: Any) -> pd.DataFrame:
    of = "squared" if kind == "function" else kind
    usual: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 16, "seeds": 1, "options": OPTIONS.get(estimator)}
    return turnover.memorization(
        lambda: network(of),
        X,
        targets(of, N),
        loss=absolute if kind == "function" else kind,
        **usual | {"estimator": estimator, "progress": False} | given,
    )


# what each kind has: whether it is right or wrong, and log odds of a label
RIGHT = {"class", "soft", "binary", "multilabel"}
CLASSES = {"class", "binary"}
ALL = {*KINDS, "function"}
NEEDS = {"turnover": ALL, "blocks": ALL, "cumulative_loss": ALL, "final_loss": ALL, "grand": ALL, "learning": ALL}
NEEDS |= {"forgetting": RIGHT, "first_learning": RIGHT, "second_split": RIGHT, "subsampling": RIGHT, "c_score": RIGHT}
NEEDS |= {"aum": CLASSES, "confidence": CLASSES, "el2n": CLASSES, "membership": CLASSES}
NEEDS |= {"confident_learning": CLASSES, "vog": {"class"}, "one_run": {"class"}}


@pytest.mark.parametrize("kind", [*KINDS, "function"])
@pytest.mark.parametrize("estimator", NAMES)
def test_every_estimator_works_or_names_one_that_does(estimator: str, kind: str) -> None:
    if kind in NEEDS[estimator]:
        table = scored(kind, estimator)
        assert np.isfinite(table["score"]).all()
        assert len(table) == N
        assert table["score"].nunique() > 1 or estimator in ("forgetting", "first_learning", "second_split")
        return
    with pytest.raises(RefusedInput, match=f"which loss='?{kind if kind != 'function' else 'absolute'}'? ") as refused:
        scored(kind, estimator)
    advice = str(refused.value).partition(": take ")[2]
    option = re.search(r"options=(\{.*\})", advice)
    for other in re.findall(r"'(\w+)'", advice.partition(", options")[0].partition(", which")[0]):
        options = (OPTIONS.get(other) or {}) | eval(option[1]) if option else OPTIONS.get(other)
        assert np.isfinite(scored(kind, other, options=options)["score"]).all()


class Two(nn.Module):
    """One logit z as the logits 0 and z of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = network("binary")

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(x), 1), self.one(x)], dim=1)


@pytest.mark.parametrize("estimator", [name for name in NAMES if name not in ("vog", "one_run", "grand")])
def test_one_logit_is_two_of_which_the_first_is_zero(estimator: str) -> None:
    predictions = estimator in ("turnover", "aum")
    ours = scored("binary", estimator, predictions=predictions)
    two: dict[str, Any] = {"make_model": Two, "x": X, "y": targets("binary", N).long()}
    options: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 16, "seeds": 1, "progress": False}
    theirs = turnover.memorization(
        **two, **options, estimator=estimator, options=OPTIONS.get(estimator), predictions=predictions
    )
    shared = [name for name in theirs if name in ours]
    assert {"score", "label"} <= set(shared)
    np.testing.assert_allclose(ours[shared], theirs[shared], rtol=2e-3, atol=2e-5)
    if estimator == "turnover":
        assert ((ours["own_probability"] > 0.5) == theirs["own_prediction"]).all()
        assert ours.attrs["leakage"] == theirs.attrs["leakage"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_the_loss_of_cut_out_networks(kind: str) -> None:
    torch.manual_seed(0)
    model = turnover.attach(network(kind).double(), seed=3)
    x, y, ids = X.double(), targets(kind, N, torch.float64), torch.arange(N) * 5
    table = turnover.score(model, x, y, ids, loss=kind)
    assert isinstance(model, nn.Sequential)
    for i in range(N):
        masks, target = [turnover.mask(ids[i : i + 1], 16, 0, 3)[0]], y[i].reshape(-1).tolist()
        both = [
            oracles.cut_out(model, masks, flipped=turned, p=0.5)(x[i : i + 1])[0].tolist() for turned in (False, True)
        ]
        own, flipped = (oracles.example_loss(kind, outputs, target) for outputs in both)
        assert table["own_loss"].iloc[i] == pytest.approx(own, abs=1e-10)
        assert table["score"].iloc[i] == pytest.approx(flipped - own, abs=1e-10)
        if "own_prediction" in table:
            assert table["own_prediction"].iloc[i] == int(np.argmax(both[0]))
        if "own_probability" in table:
            assert table["own_probability"].iloc[i] == pytest.approx(1 / (1 + np.exp(-both[0][0])))
        if "own_right" in table:
            assert table["own_right"].iloc[i] == np.mean([(z > 0) == t for z, t in zip(both[0], target, strict=True)])
    columns = {"class": "prediction label", "soft": "prediction label", "binary": "probability label"}
    rest = columns.get(kind, "right" if kind == "multilabel" else "").split()
    asked = ["score", "own_loss", "flipped_loss", *(f"own_{word}" for word in rest if word != "label")]
    assert set(asked) <= set(table.columns)
    assert ("label" in table) == ("label" in rest)
    assert (table.attrs["leakage"] is None) == (kind in ("multilabel", "squared"))


def test_numbers_have_values_and_targets_in_the_table() -> None:
    y = targets("squared", N)[:, 0]
    table = turnover.memorization(
        lambda: network("binary"), X, y[:, None], 2, 0.1, seeds=3, loss="squared", progress=False
    )
    assert table["label"].tolist() == y.tolist()
    flat = turnover.memorization(
        lambda: nn.Sequential(network("binary"), nn.Flatten(0)), X, y, 2, 0.1, seeds=3, loss="squared", progress=False
    )
    pd.testing.assert_frame_equal(table, flat)
    one = turnover.memorization(lambda: network("binary"), X, y, 2, 0.1, seeds=1, loss="squared", progress=False)
    np.testing.assert_allclose(one["own_loss"], (one["own_value"] - one["label"]) ** 2, rtol=1e-4)


@pytest.mark.parametrize("kind", ["soft", "multilabel", "squared"])
def test_losses_of_one_run_are_those_of_the_passes_that_train(kind: str) -> None:
    """One step of all examples: the loss before it, and after it."""
    y = targets(kind, N)
    with seeded(0, "init"):
        model = network(kind)
    losses = []
    for _ in range(2):
        losses.append(LOSSES[kind](model(X), y))
        model.zero_grad()
        losses[-1].mean().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad  # type: ignore[misc, operator]
    given: dict[str, Any] = {"epochs": 1, "batch_size": N}
    for name, expected in zip(("cumulative_loss", "final_loss"), losses, strict=True):
        np.testing.assert_allclose(scored(kind, name, **given)["score"], expected.detach(), rtol=1e-4, atol=1e-6)


def test_losses_in_and_out_are_those_of_the_networks() -> None:
    trained: list[tuple[nn.Module, Tensor]] = []
    real = networks.train_block

    def noted(task: Any, config: Any, ensemble: Any, block: Any, on_step: Any) -> list[nn.Module]:
        models = real(task, config, ensemble, block, on_step)
        trained.extend(zip(models, ensemble.included[block], strict=True))
        return models

    with patch.object(networks, "train_block", noted):
        table = scored("squared", "subsampling", options={"models": 12, "score": "memorization_loss"})
    y = targets("squared", N)
    for i in range(N):
        with torch.no_grad():
            losses = [float((model(X[i : i + 1])[0] - y[i]).square().mean()) for model, _ in trained]
        inside = [loss for loss, (_, included) in zip(losses, trained, strict=True) if included[i]]
        outside = [loss for loss, (_, included) in zip(losses, trained, strict=True) if not included[i]]
        assert table["in_loss"].iloc[i] == pytest.approx(np.mean(inside), rel=1e-4)
        assert table["score"].iloc[i] == pytest.approx(np.mean(outside) - np.mean(inside), rel=1e-3, abs=1e-5)
    assert "memorization" not in table
    assert "membership" not in table


@pytest.mark.parametrize("kind", [*KINDS, "function"])
def test_lengths_of_gradients_are_those_of_single_examples(kind: str) -> None:
    of = "squared" if kind == "function" else kind
    torch.manual_seed(0)
    model, y = network(of), targets(of, N)
    from turnover.core.examples import Examples
    from turnover.core.losses import loss_of

    loss = loss_of(absolute if kind == "function" else kind)
    found = grand(model, Examples(X, y, torch.arange(N), loss=loss), batch_size=7)
    for i in range(N):
        gradient = torch.autograd.grad(loss(model(X[i : i + 1]), y[i : i + 1]).sum(), list(model.parameters()))
        expected = torch.cat([part.flatten() for part in gradient]).norm()
        assert float(found[i]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_influences_by_a_product_and_by_pairs(kind: str) -> None:
    from turnover.core.examples import Examples

    torch.manual_seed(0)
    model, y, ids = turnover.attach(network(kind).double()), targets(kind, N, torch.float64), torch.arange(N)
    found = turnover.influence(model, X.double(), y, ids, loss=kind)
    targets_ = Examples(X.double(), y, ids, loss=LOSSES[kind])
    torch.testing.assert_close(found, by_pairs(model, targets_, ids))
    scores = turnover.score(model, X.double(), y, loss=kind)["score"].to_numpy()
    np.testing.assert_allclose(found.diagonal(), scores, atol=1e-10)


def test_wrong_numbers_to_predict_are_found() -> None:
    """As wrong labels are: a tenth of the targets of a smooth function are exchanged."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(300, 6, generator=draw)
    y = (x[:, :3].sum(1) + x[:, 3] * x[:, 4]) / 2
    wrong = torch.arange(300) % 10 == 0
    y[wrong] = y[wrong][torch.randperm(30, generator=draw)]
    y[wrong] += 2 * torch.randn(30, generator=draw)
    found = turnover.memorization(
        lambda: network("binary", hidden=256), x, y, 60, 0.02, 32, 3, momentum=0.9, loss="squared", progress=False
    )
    assert oracles.auroc(found["score"].to_numpy(), wrong.numpy()) > 0.85


def test_predictions_need_classes() -> None:
    with pytest.raises(RefusedInput, match=r"predictions = True: under loss='squared' no class is preferred; leave it"):
        scored("squared", "turnover", predictions=True)
