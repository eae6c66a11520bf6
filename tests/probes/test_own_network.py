"""turnover.probe: a user's network and data, whatever its inputs are, and what is refused."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.errors import RefusedInput

X = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
TRUE = (X.sum(1) > 0).long()
Y = TRUE.clone()
Y[:10] = 1 - Y[:10]
TRAIN: dict[str, Any] = {"x": X[:60], "y": Y[:60], "true_y": TRUE[:60]}
TEST = (X[60:], TRUE[60:])


def make_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))


class Named(nn.Module):
    """Its inputs are arguments by name."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 8), nn.Linear(11, 8), nn.Linear(8, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        hidden = torch.relu(self.left(a))
        logits: Tensor = self.head(torch.relu(self.right(torch.cat([hidden, b], 1))))
        return logits


def fitted(model: nn.Module, x: Any = X[:60]) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(**x) if isinstance(x, dict) else model(x), Y[:60]).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return fitted(make_network())


@pytest.mark.parametrize("probe", ["rewind", "neurons", "knn", "collapse", "similarity", "dimension"])
def test_a_network_of_ones_own(network: nn.Module, probe: str) -> None:
    before = copy.deepcopy(network.state_dict())
    options = {"neurons": {"batch": 10, "others": 10, "examples": 3}, "similarity": {"examples": 30}}.get(probe, {})
    given: Any = [network, make_network()] if probe == "similarity" else network
    weights = {} if probe == "similarity" else {0: make_network()}
    with torch.inference_mode():
        table = turnover.probe(given, **TRAIN, test=TEST, probe=probe, options=options, weights=weights)
    assert {"0", "2"} <= set(table["block"])
    assert set(table["probe"]) == {probe}
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    if probe == "rewind":
        noisy = table[(table["group"] == "noisy") & (table["measure"] == "accuracy")].set_index("block")["value"]
        assert noisy["none"] > 0.8
        assert noisy["all"] < noisy["none"]


def test_weights_are_networks_or_their_states(network: nn.Module) -> None:
    by_network = turnover.probe(network, **TRAIN, probe="rewind", weights={3: make_network()})
    by_state = turnover.probe(network, **TRAIN, probe="rewind", weights={3: make_network().state_dict()})
    assert by_network.equals(by_state)
    assert set(by_network["epoch"].dropna()) == {3}


def test_inputs_by_name_and_turn_over_dropout() -> None:
    x = {"a": X[:60, :3], "b": X[:60, 3:]}
    network = fitted(turnover.attach(Named()), x)
    options = {"batch": 10, "others": 10, "examples": 3}
    table = turnover.probe(network, x, Y[:60], true_y=TRUE[:60], probe="neurons", options=options)
    assert {"left", "right"} == set(table["block"]) - {"all"}
    assert len(table[table["measure"] == "margin"]) == 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"probe": "knn"}, "there are no test examples: give test examples"),
        ({"probe": "neurons", "true_y": None}, "there are no noisy examples: give true labels"),
        ({"probe": "rewind", "weights": {0: nn.Linear(6, 2)}}, r"weights\[0\] must be those of the same network"),
        (
            {"probe": "rewind", "options": {"epochs": [0]}, "weights": {3: {}}},
            "weights after epoch 0 are needed; there are .* 3",
        ),
        ({"probe": "rewind"}, "needs weights of an earlier epoch"),
        (
            {"probe": "retrain"},
            "probe=retrain trains as the network was trained, which only a run that trains one",
        ),
        ({"probe": "unlearn"}, "probe=unlearn forgets what other runs found difficult"),
        ({"probe": "order"}, "give two or more"),
        ({"probe": "collapse", "test": TEST, "blocks": ["3"]}, "module '3' has no weights"),
        ({"probe": "collapse", "y": Y}, "x has 60 rows and y 90"),
        ({"probe": "dimension", "model": []}, r"model = \[\]"),
    ],
)
def test_what_is_missing_is_refused(network: nn.Module, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        turnover.probe(**{"model": network, **TRAIN, **given})


def test_zeroing_units_changes_no_statistics_of_batches() -> None:
    model = fitted(
        nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    ).train()
    before = copy.deepcopy(model.state_dict())
    turnover.probe(model, **TRAIN, probe="neurons", options={"batch": 10, "others": 10, "examples": 2})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
