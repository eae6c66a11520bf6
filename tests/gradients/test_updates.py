"""What the updates of an epoch are made of, against built gradients of every mini-batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import oracles
import pytest
import torch
from gradient_networks import CASES, made
from torch import Tensor, nn

import turnover
from turnover.common.seeding import torch_generator
from turnover.core.evaluation import all_units, own_units
from turnover.core.examples import Examples
from turnover.gradients import backpack
from turnover.gradients.per_example import Gradients
from turnover.gradients.updates import batch_contributions, cosines
from turnover.models.mlp import mlp
from turnover.training.loop import train
from turnover.training.updates import Updates


def test_contributions_of_a_mini_batch() -> None:
    v = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with_self, others = batch_contributions(v @ v.T)
    g = v.mean(dim=0)
    for i in range(6):
        assert float(with_self[i]) == pytest.approx(oracles.contribution(v[i], g), abs=1e-12)
        rest = (v.sum(dim=0) - v[i]) / 6
        assert float(others[i]) == pytest.approx(float(v[i] @ rest) / float(g.norm()), abs=1e-12)


def test_gradients_that_cancel_or_vanish() -> None:
    v = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]], dtype=torch.float64)
    with_self, others = batch_contributions(v @ v.T)
    assert with_self.tolist() == others.tolist() == [0, 0, 0]
    assert cosines(v @ v.T).round(decimals=12).tolist() == [[1, -1, 0], [-1, 1, 0], [0, 0, 0]]


def data(n: int = 23) -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 12, generator=generator, dtype=torch.float64)
    return Examples(x, torch.randint(4, (n,), generator=generator), torch.arange(n) * 5)


def network(*, masked: bool) -> nn.Module:
    torch.manual_seed(0)
    model = mlp(12, [16, 9], 4).double()
    return turnover.attach(model, seed=2) if masked else model


def groups(n: int = 23) -> dict[str, Tensor]:
    some = torch.arange(n)
    return {"all": some >= 0, "easy": some % 3 == 0, "one": some == 4}


def go(model: nn.Module, observer: Updates | None, *, epochs: int = 3) -> list[dict[str, dict[str, float]]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    found = []
    for _ in train(
        model,
        data(),
        optimizer,
        lambda step: 0.1,
        epochs=epochs,
        batch_size=5,
        seed=7,
        observers=[observer] if observer else [],
    ):
        found.append(observer.means() if observer else {})
    return found


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backend", ["exact", "backpack"])
def test_an_epoch_of_updates(masked: bool, backend: str) -> None:
    """Every mini-batch again by hand, with the weights that it was trained on."""
    model, some = network(masked=masked), data()

    def again(epoch: int, index: Tensor) -> Gradients:
        x, y, ids = some.batch(index)
        return backpack.gradients(model, x, y, (own_units if masked else all_units)(ids))

    found = go(model, Updates(model, groups(), lambda epoch: epoch != 2, again if backend == "backpack" else None))
    assert found[1] == {}, "not watched"

    model = network(masked=masked)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    for epoch in range(1, 4):
        rows: dict[str, list[dict[str, float]]] = {"all": [], "easy": [], "one": []}
        pairs: dict[str, list[float]] = {"all": [], "easy": [], "one": []}
        for index in torch.randperm(23, generator=torch_generator(7, "order", epoch)).split(5):
            x, y, ids = some.batch(index)

            def inside(i: int, ids: Tensor = ids) -> AbstractContextManager[None]:
                return turnover.own(model, ids[i : i + 1])

            built = oracles.example_gradients(model, x, y, inside if masked else None)
            v = torch.cat(list(built.values()), dim=1)
            g = v.mean(dim=0)
            for name, members in groups().items():
                inside_batch = [i for i in range(len(index)) if members[index[i]]]
                for i in inside_batch:
                    rest = (v.sum(dim=0) - v[i]) / len(v)
                    rows[name].append(
                        {
                            "contribution": oracles.contribution(v[i], g),
                            "others_contribution": float(v[i] @ rest) / float(g.norm()),
                            "gradient_norm": float(v[i].norm()),
                        }
                    )
                pairs[name] += [oracles.cosine(v[i], v[j]) for i in inside_batch for j in inside_batch if i != j]
            optimizer.zero_grad()
            for (_, parameter), each in zip(model.named_parameters(), built.values(), strict=True):
                parameter.grad = each.mean(dim=0).reshape(parameter.shape)
            optimizer.step()
        if epoch == 2:
            continue
        for name in groups():
            expected = {key: sum(row[key] for row in rows[name]) / len(rows[name]) for key in rows[name][0]}
            if pairs[name]:
                expected["batch_cosine"] = sum(pairs[name]) / len(pairs[name])
            assert found[epoch - 1][name] == pytest.approx(expected, abs=1e-9), (epoch, name)
    assert "batch_cosine" not in found[0]["one"]


def noisy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 4)).double()


@pytest.mark.parametrize(
    "make", [lambda: network(masked=False), lambda: network(masked=True), noisy], ids=["plain", "masked", "noisy"]
)
def test_watching_changes_no_weight(make: Callable[[], nn.Module]) -> None:
    """The observer looks at the very pass that trains, so that the network draws no other noise than without it."""
    plain, watched = make(), make()
    go(plain, None)
    go(watched, Updates(watched, groups(), lambda epoch: True))
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)


def test_convolutions_can_be_watched() -> None:
    model, x, y = made(CASES["vgg11"], 6)
    observer = Updates(model, {"all": torch.ones(6, dtype=torch.bool)}, lambda epoch: True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    some = Examples(x, y, torch.arange(6))
    list(train(model, some, optimizer, lambda step: 0.01, epochs=1, batch_size=6, seed=0, observers=[observer]))
    model, x, y = made(CASES["vgg11"], 6)
    order = torch.randperm(6, generator=torch_generator(0, "order", 1))
    v = torch.cat(list(oracles.example_gradients(model, x[order], y[order]).values()), dim=1)
    assert observer.means()["all"]["batch_cosine"] == pytest.approx(oracles.mean_cosine(v), abs=1e-10)
