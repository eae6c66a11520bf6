"""The loop against plain SGD written out; order, resumption and bad losses."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import turnover
from turnover.errors import RunFailed
from turnover.examples import Examples
from turnover.models.mlp import mlp
from turnover.training.loop import Epoch, train


def data(n: int = 50) -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return Examples(x, torch.randint(3, (n,), generator=generator), torch.arange(n) * 7)


def network(attach: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    model = mlp(6, [20], 3).double()
    return turnover.attach(model, seed=1) if attach else model


def run(model: nn.Module, examples: Examples, first: int = 1, epochs: int = 3, **options: object) -> list[Epoch]:
    optimizer = torch.optim.SGD(model.parameters(), 99.0)
    settings = {"epochs": epochs, "batch_size": 16, "seed": 5, "first_epoch": first} | options
    return list(train(model, examples, optimizer, lambda epoch: 0.2 / epoch, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", [True, False])
def test_it_is_stochastic_gradient_descent(masked: bool) -> None:
    examples, model = data(), network(masked)
    slow = copy.deepcopy(model)
    orders: list[torch.Tensor] = []

    def watch(x: torch.Tensor) -> torch.Tensor:
        orders.append(x)
        return x

    watched = Examples(examples.inputs, examples.labels, examples.ids, watch)
    epochs = run(model, watched)
    weights = list(slow.parameters())
    batches = iter(orders)
    for epoch in range(1, 4):
        losses, hits = [], 0
        for _ in range(4):
            x = next(batches)
            index = torch.stack([(examples.inputs == row).all(1).nonzero()[0, 0] for row in x])
            total = torch.zeros((), dtype=torch.float64)
            for i in index:  # one example at a time
                if masked:
                    with turnover.own(slow, examples.ids[i : i + 1]):
                        logits = slow(examples.inputs[i : i + 1])
                else:
                    logits = slow(examples.inputs[i : i + 1])
                total = total + F.cross_entropy(logits, examples.labels[i : i + 1])
                hits += int(logits.argmax() == examples.labels[i])
            gradients = torch.autograd.grad(total / len(index), weights)
            losses.append(float(total.detach()))
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(0.2 / epoch * gradient)
        assert epochs[epoch - 1].loss == pytest.approx(sum(losses) / 50, rel=1e-10)
        assert epochs[epoch - 1].accuracy == hits / 50
        assert epochs[epoch - 1].lr == 0.2 / epoch
    for a, b in zip(model.parameters(), weights, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-14)


def test_every_epoch_shows_every_example_once_in_a_new_order() -> None:
    seen: list[torch.Tensor] = []
    examples = data()

    def inputs(ids: torch.Tensor) -> torch.Tensor:
        seen.append(ids)
        return torch.randn(len(ids), 6)

    watched = Examples(examples.ids, examples.labels, examples.ids, inputs)
    run(mlp(6, [4], 3), watched)
    orders = torch.cat(seen).view(3, 50)
    assert all(torch.equal(order.sort().values, examples.ids) for order in orders)
    assert not torch.equal(orders[0], orders[1])


def test_starting_at_a_later_epoch_goes_on_bit_for_bit() -> None:
    whole, parts = network(), network()
    expected = run(whole, data(), epochs=5)
    found = run(parts, data(), epochs=2)
    torch.rand(7)  # no global random state is used
    found += run(parts, data(), first=3, epochs=5)
    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_another_seed_is_another_order() -> None:
    a, b = network(), network()
    assert run(a, data(), seed=5) != run(b, data(), seed=6)


def test_a_loss_that_is_not_finite_stops_the_epoch_and_says_where() -> None:
    examples = data()
    examples.inputs[examples.inputs[:, 0].argmax()] = float("inf")
    model = network(attach=False)
    with pytest.raises(RunFailed, match=r"the loss became (nan|inf) in epoch 1, step [1-4] of 4, at learning rate 0.2"):
        run(model, examples)


def test_a_step_is_reported_for_the_progress_bar() -> None:
    steps: list[int] = []
    run(network(), data(), on_step=lambda: steps.append(1))
    assert len(steps) == 12


def test_bfloat16_trains_in_lower_precision() -> None:
    examples = data()
    examples = Examples(examples.inputs.float(), examples.labels, examples.ids)
    exact, rough = network().float(), network().float()
    a, b = run(exact, examples), run(rough, examples, precision="bfloat16")
    assert a[-1].loss == pytest.approx(b[-1].loss, rel=0.02)
    assert a[-1].loss != b[-1].loss
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())
