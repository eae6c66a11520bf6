"""One look at a user's network before any training: in both modes, down to the smallest batch that there will be."""

import re
from typing import Any
from unittest.mock import patch

import pytest
import torch
from digits import digits
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput
from turnover.estimators import memorization
from turnover.runs import build as parts
from turnover.runs.execute import execute

ESTIMATORS: dict[str, dict[str, Any]] = {
    "turnover": {},
    "cumulative_loss": {},
    "grand": {"options": {"early": 1}},
    "second_split": {"options": {"epochs": 1}},
    "confident_learning": {"options": {"folds": 3}},
    "subsampling": {"options": {"models": 16, "fractions": [0.5]}},
    "membership": {"options": {"models": 16, "fractions": [0.5]}},
}
TRAINED_ON = {"second_split": (65, 65), "confident_learning": (87, 87), "subsampling": (65,), "membership": (65,)}


def normalised(features: int = 8, classes: int = 2) -> nn.Module:
    layers = nn.Linear(features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes)
    return nn.Sequential(nn.Flatten(), *layers)


def data(n: int = 130) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_last_batch_of_one_is_refused_before_work_and_the_advice_works(estimator: str) -> None:
    x, y = data(130 if estimator in TRAINED_ON else 129)
    batch_size = TRAINED_ON.get(estimator, (129,))[0] - 1
    given: dict[str, Any] = {"epochs": 1, "lr": 0.1, "seeds": 1, "progress": False, "estimator": estimator}
    given |= ESTIMATORS[estimator]
    steps: list[int] = []
    with patch("torch.optim.SGD.step", lambda *_: steps.append(1)), pytest.raises(RefusedInput) as refused:
        turnover.memorization(normalised, x, y, batch_size=batch_size, **given)
    assert not steps
    assert f"batch_size = {batch_size} leaves a last batch of one example" in str(refused.value)
    found = re.search(r"set batch_size=(\d+)$", str(refused.value))
    assert found is not None
    table = turnover.memorization(normalised, x, y, batch_size=int(found[1]), **given)
    assert len(table) == len(x)
    assert table["score"].notna().all()


def test_a_batch_size_of_one_cannot_be_mended_by_another_one() -> None:
    x, y = data(9)
    given: dict[str, Any] = {"epochs": 1, "lr": 0.1, "seeds": 1, "progress": False}
    with pytest.raises(RefusedInput, match="set batch_size=3"):
        turnover.memorization(normalised, x, y, batch_size=1, **given)
    grouped = lambda: nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))  # noqa: E731
    assert len(turnover.memorization(grouped, x, y, batch_size=1, **given)) == 9


def test_a_network_that_needs_no_batch_is_trained_as_before() -> None:
    x, y = data(129)
    plain = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))  # noqa: E731
    given: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 64, "seeds": 2, "progress": False}
    with patch.object(memorization, "refuse_unsuited"):
        unlooked = turnover.memorization(plain, x, y, **given)
    assert turnover.memorization(plain, x, y, **given).equals(unlooked)


def test_a_run_from_a_config_looks_too() -> None:
    config = digits("dataset.limit=129", "batch_size=64", "epochs=1")
    with (
        patch.object(parts, "build_model", lambda model, shape, classes: normalised(64, classes)),
        pytest.raises(RefusedInput, match=r"leaves a last batch of one example.*set batch_size=65"),
    ):
        execute(config)


class Auxiliary(nn.Module):
    """Gives logits and more, by kind: always, or in training alone."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave, self.other = nn.Linear(8, 16), nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.enter(x))
        match self.kind:
            case "in training":
                return (self.leave(h), self.other(h)) if self.training else self.leave(h)
            case "tuple":
                return self.leave(h), h
            case "dict":
                return {"logits": self.leave(h)}
            case "wider in training":
                return torch.cat([self.leave(h), self.other(h)], 1) if self.training else self.leave(h)
            case "fails in training":
                return self.leave(h)[:, torch.arange(len(x) if self.training else 2)]
        raise AssertionError


@pytest.mark.parametrize("estimator", ["turnover", "cumulative_loss", "subsampling"])
@pytest.mark.parametrize("kind", ["in training", "tuple", "dict"])
def test_more_than_logits_is_refused_and_the_advice_works(kind: str, estimator: str) -> None:
    x, y = data()
    network = type("Network", (Auxiliary,), {"kind": kind})
    given: dict[str, Any] = {"epochs": 1, "lr": 0.1, "batch_size": 64, "seeds": 1, "progress": False}
    given |= {"estimator": estimator} | ESTIMATORS[estimator]
    with pytest.raises(RefusedInput, match="not logits alone: make it give them") as refused:
        turnover.memorization(network, x, y, **given)
    assert ("in training mode" in str(refused.value)) == (kind == "in training")
    [(name, signature, first, second)] = re.findall(
        r"class (Logits\(\w+\)): (def forward\(self, \*x, \*\*named\)): (output = [^;]+); (return .+)$",
        str(refused.value),
    )
    scope: dict[str, Any] = {"Network": network, "torch": torch}
    exec(f"class {name}:\n  {signature}:\n    {first}\n    {second}", scope)
    assert len(turnover.memorization(scope["Logits"], x, y, **given)) == len(x)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("wider in training", r"gives \(64, 4\) in training mode and \(2, 2\) in evaluation mode"),
        ("fails in training", r"cannot take x\[:64\] of shape .* in training mode: IndexError"),
    ],
)
def test_what_goes_wrong_in_training_alone_is_seen_before(kind: str, told: str) -> None:
    x, y = data(128)
    network = type("Network", (Auxiliary,), {"kind": kind})
    with pytest.raises(RefusedInput, match=told):
        turnover.memorization(network, x, y, epochs=1, lr=0.1, batch_size=64, seeds=1, progress=False)
