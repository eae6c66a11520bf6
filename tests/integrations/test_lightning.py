"""A Trainer of Lightning trains as a loop by hand does, in one process and in two."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import turnover
from turnover.errors import RefusedInput, TurnOverError

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule, Trainer

from turnover.integrations.lightning import OwnSubnetworks

N, BATCH = 48, 8
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y, IDS = torch.arange(N) % 3, torch.arange(N) * 5 + 2


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    return turnover.attach(model.double(), seed=3)


class Classifier(LightningModule):
    """A module as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.validated = network(), [Tensor()]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch[:2]
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, batch: Any) -> None:
        self.validated.append(self.net(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=0.2, momentum=0.9)


def trainer(callback: OwnSubnetworks, **given: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    usual = {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "num_sanity_val_steps": 0}
    return Trainer(callbacks=[callback], enable_model_summary=False, **quiet | usual | given)


def by_hand(accumulated: int = 1, orders: Sequence[Tensor] = (torch.arange(N), torch.arange(N))) -> nn.Module:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for order in orders:
        for number, rows in enumerate(order.split(BATCH), 1):
            with turnover.own(model, IDS[rows]):
                loss = nn.functional.cross_entropy(model(X[rows]), Y[rows])
            (loss / accumulated).backward()
            if number % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad()
    return model


def assert_equal(model: nn.Module, expected: nn.Module) -> None:
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("place", [2, "id"])
def test_weights_and_scores_are_those_of_a_loop_by_hand(place: int | str, accumulated: int) -> None:
    data: Any = TensorDataset(X, Y, IDS)
    if place == "id":
        data = [{"x": x, "y": y, "id": i} for x, y, i in data]
    module, expected = Classifier(), by_hand(accumulated)
    trainer(OwnSubnetworks(place), accumulate_grad_batches=accumulated).fit(module, DataLoader(data, BATCH))
    assert_equal(module.net, expected)
    found = turnover.score(module.net, TensorDataset(X, Y, IDS))
    pd.testing.assert_frame_equal(found, turnover.score(expected, X, Y, IDS), rtol=0, atol=1e-10)
    assert found["score"].abs().max() > 1e-2


def test_two_processes_train_the_network_of_one() -> None:
    module = Classifier()
    trainer(OwnSubnetworks(2), strategy="ddp_spawn", devices=2).fit(
        module, DataLoader(TensorDataset(X, Y, IDS), BATCH // 2)
    )
    # Lightning shuffles by a DistributedSampler: every process takes each second example
    orders = [torch.randperm(N, generator=torch.Generator().manual_seed(epoch)) for epoch in range(2)]
    assert_equal(module.net, by_hand(orders=orders))


def test_validation_is_that_of_all_units() -> None:
    module, data = Classifier(), TensorDataset(X, Y, IDS)
    trainer(OwnSubnetworks(2)).fit(module, DataLoader(data, BATCH), DataLoader(data, N))
    torch.testing.assert_close(module.validated[-1], module.net(X))


def test_the_module_is_as_before_at_the_end_and_after_an_error() -> None:
    module, data = Classifier(), TensorDataset(X, Y, IDS)
    for place, error in ((5, RefusedInput), (0, TurnOverError), (2, None)):
        with pytest.raises(error) if error else pytest.MonkeyPatch.context():
            trainer(OwnSubnetworks(place)).fit(module, DataLoader(data, BATCH))
        assert "training_step" not in vars(module)
    trainer(OwnSubnetworks(2)).fit(module, DataLoader(data, BATCH))


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (TensorDataset(X, Y), 2, "ids = 2: a batch of the training data is a list of 2"),
        (TensorDataset(X, Y), "id", "ids = 'id': a batch of the training data is a list of 2"),
        ([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], "id", "ids = 'id': .* is the names x, y"),
    ],
)
def test_batches_without_ids_are_refused(data: Any, place: int | str, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        trainer(OwnSubnetworks(place)).fit(Classifier(), DataLoader(data, BATCH))


def test_a_network_without_turn_over_dropout_is_refused() -> None:
    module = Classifier()
    turnover.detach(module.net)
    with pytest.raises(TurnOverError, match="has no turn-over dropout"):
        trainer(OwnSubnetworks(2)).fit(module, DataLoader(TensorDataset(X, Y, IDS), BATCH))
