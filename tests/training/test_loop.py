"""The loop against plain SGD written out; order, resumption and bad losses."""

import copy
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import turnover
from turnover.core.dropout import attached
from turnover.core.examples import Examples
from turnover.errors import RunFailed
from turnover.models.mlp import mlp
from turnover.training.loop import Epoch, Observer, train


def data(n: int = 50) -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return Examples(x, torch.randint(3, (n,), generator=generator), torch.arange(n) * 7)


def network(attach: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    model = mlp(6, [20], 3).double()
    return turnover.attach(model, seed=1) if attach else model


def rate(step: int) -> float:
    return 0.8 / (step + 4)


def run(model: nn.Module, examples: Examples, first: int = 1, epochs: int = 3, **options: object) -> list[Epoch]:
    optimizer = torch.optim.SGD(model.parameters(), 99.0)
    settings = {"epochs": epochs, "batch_size": 16, "seed": 5, "first_epoch": first} | options
    return list(train(model, examples, optimizer, rate, **settings))  # type: ignore[arg-type]


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
    batches, step = iter(orders), 0
    for epoch in range(1, 4):
        losses, correct = torch.empty(50, dtype=torch.float64), torch.empty(50, dtype=torch.bool)
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
                loss = F.cross_entropy(logits, examples.labels[i : i + 1])
                total = total + loss
                losses[i], correct[i] = loss.detach(), logits.argmax() == examples.labels[i]
            gradients = torch.autograd.grad(total / len(index), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(rate(step) * gradient)
            step += 1
        assert torch.allclose(epochs[epoch - 1].losses, losses, rtol=1e-10)
        assert torch.equal(epochs[epoch - 1].correct, correct)
        assert (epochs[epoch - 1].losses.dtype, epochs[epoch - 1].correct.dtype) == (torch.float64, torch.bool)
        assert epochs[epoch - 1].lr == rate(4 * (epoch - 1))
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
    assert [(one.number, one.lr) for one in found] == [(one.number, one.lr) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.losses, other.losses)
        assert torch.equal(one.correct, other.correct)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_another_seed_is_another_order() -> None:
    a, b = network(), network()
    first, other = run(a, data(), seed=5), run(b, data(), seed=6)
    assert not torch.equal(first[0].losses, other[0].losses)


def test_a_loss_that_is_not_finite_stops_the_epoch_and_says_where() -> None:
    examples = data()
    examples.inputs[examples.inputs[:, 0].argmax()] = float("inf")
    model = network(attach=False)
    with pytest.raises(RunFailed) as caught:
        run(model, examples)
    message = str(caught.value)
    found = re.search(r"the loss became (nan|inf) in epoch 1, step ([1-4]) of 4, at learning rate (.*):", message)
    assert found, message
    assert found[3] == f"{rate(int(found[2]) - 1):g}"


def test_a_step_is_reported_for_the_progress_bar() -> None:
    steps: list[int] = []
    run(network(), data(), on_step=lambda: steps.append(1))
    assert len(steps) == 12


def test_no_step_leaves_a_tensor_behind() -> None:
    alive: list[int] = []  # small ones would lie between the large ones of later steps, which then take other memory

    def count() -> None:
        gc.collect()  # what other tests left
        alive.append(sum(type(thing) is torch.Tensor for thing in gc.get_objects()))

    run(network(), data(320), epochs=1, on_step=count)
    assert len(alive) == 20
    assert alive[-1] == alive[1]


def test_bfloat16_trains_in_lower_precision() -> None:
    examples = data()
    examples = Examples(examples.inputs.float(), examples.labels, examples.ids)
    exact, rough = network().float(), network().float()
    a, b = run(exact, examples), run(rough, examples, precision="bfloat16")
    assert float(a[-1].losses.mean()) == pytest.approx(float(b[-1].losses.mean()), rel=0.02)
    assert not torch.equal(a[-1].losses, b[-1].losses)
    assert b[-1].losses.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def after_each_epoch(model: nn.Module, **options: object) -> list[list[torch.Tensor]]:
    optimizer = torch.optim.SGD(model.parameters(), 99.0, momentum=0.9)
    settings = {"epochs": 4, "batch_size": 16, "seed": 5} | options
    epochs = train(model, data(), optimizer, rate, **settings)  # type: ignore[arg-type]
    return [weights(model) for _ in epochs]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("plain", [0, 1, 2, 4])
def test_plain_epochs_come_first_and_are_those_of_the_full_network(plain: int) -> None:
    found = after_each_epoch(network(), plain_epochs=plain)
    without = after_each_epoch(network(attach=False))
    assert [equal(a, b) for a, b in zip(found, without, strict=True)] == [epoch <= plain for epoch in range(1, 5)]


def test_plain_epochs_change_nothing_without_turn_over_dropout() -> None:
    plain, usual = (after_each_epoch(network(attach=False), plain_epochs=k) for k in (2, 0))
    assert all(equal(a, b) for a, b in zip(plain, usual, strict=True))


def test_after_plain_epochs_each_example_trains_its_own_half_alone() -> None:
    model = network()
    lone = Examples(data().inputs[:1], data().labels[:1], data().ids[:1])
    optimizer = torch.optim.SGD(model.parameters(), 99.0)
    epochs = train(model, lone, optimizer, lambda step: 0.2, epochs=2, batch_size=1, seed=5, plain_epochs=1)
    hidden = model.get_parameter("1.weight")
    moved = []
    before = hidden.detach().clone()
    for _ in epochs:
        moved.append((hidden.detach() != before).any(dim=1))
        before = hidden.detach().clone()
    own = turnover.mask(lone.ids, 20, 0, 1)[0]
    assert bool((moved[0] & ~own).any()), "the full network trains units outside the mask"
    assert not bool((moved[1] & ~own).any())
    assert bool(moved[1].any())


def test_a_run_that_starts_again_in_the_plain_epochs_goes_on_bit_for_bit() -> None:
    whole = network()
    run(whole, data(), epochs=4, plain_epochs=2)
    for stop in (1, 2, 3):
        parts = network()
        run(parts, data(), epochs=stop, plain_epochs=2)
        run(parts, data(), first=stop + 1, epochs=4, plain_epochs=2)
        assert equal(weights(whole), weights(parts)), stop


# --- observers ---


class Recorder(Observer):
    """Notes every update that it sees, and when its context is entered and left."""

    def __init__(self, name: str, model: nn.Module, diary: list[str]) -> None:
        self.name, self.model, self.diary = name, model, diary
        self.updates: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.epochs: list[Epoch] = []
        self.epoch = 0

    @contextmanager
    def forward(self, epoch: int, batch: int) -> Iterator[None]:
        self.epoch, self.batch = epoch, batch
        self.diary.append(f"{self.name} enters{self.inside()}")
        yield
        self.diary.append(f"{self.name} leaves{self.inside()}")

    def epoch_end(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def inside(self) -> str:
        own = turnover.core.dropout.is_attached(self.model) and attached(self.model).subnetworks
        return " a sub-network" if own else ""

    def update(self, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> None:
        assert len(logits) == len(labels) == len(index) == self.batch
        assert logits.requires_grad, "the backward pass stays possible"
        self.diary.append(f"{self.name} sees an update")
        self.updates.append((self.epoch, logits.detach().clone(), labels, index))


@pytest.mark.parametrize("masked", [True, False])
def test_two_observers_see_the_same_updates_and_change_none(masked: bool) -> None:
    model, plain, examples = network(masked), network(masked), data()
    diary: list[str] = []
    first, second = (Recorder(name, model, diary) for name in ("first", "second"))
    found = run(model, examples, observers=[first, second])
    expected = run(plain, examples)
    assert equal(weights(model), weights(plain))
    assert [each.number for each in first.epochs] == [each.number for each in second.epochs] == [1, 2, 3]
    assert all(one is other for one, other in zip(first.epochs, found, strict=True)), "before it is yielded"
    assert len(first.updates) == len(second.updates) == 12
    for one, other in zip(first.updates, second.updates, strict=True):
        assert one[0] == other[0]
        assert all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))
    for epoch in range(1, 4):
        seen = [each for each in first.updates if each[0] == epoch]
        index = torch.cat([each[3] for each in seen])
        assert torch.equal(index.sort().values, torch.arange(50))
        assert torch.equal(torch.cat([each[2] for each in seen]), examples.labels[index])
        losses = F.cross_entropy(torch.cat([each[1] for each in seen]), examples.labels[index], reduction="none")
        assert torch.allclose(losses, found[epoch - 1].losses[index], rtol=1e-12)
        assert torch.equal(found[epoch - 1].losses, expected[epoch - 1].losses)


@pytest.mark.parametrize("masked", [True, False])
def test_the_contexts_of_observers_enclose_the_forward_pass_and_are_left_in_reverse(masked: bool) -> None:
    model = network(masked)
    diary: list[str] = []
    run(model, data(), epochs=1, batch_size=50, observers=[Recorder(name, model, diary) for name in ("a", "b")])
    contexts = ["a enters", "b enters", "b leaves", "a leaves"]
    assert diary == [*contexts, "a sees an update", "b sees an update"]
