"""Losses and predictions of sub-networks: equal to a one-example oracle, whatever the batch size or the network."""

import oracles
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.core.evaluation import (
    FRESH,
    _can_share,
    all_units,
    evaluate,
    flipped_units,
    fresh_units,
    full_logits,
    own_units,
)
from turnover.core.examples import Examples
from turnover.errors import RefusedInput, TurnOverError
from turnover.models.mlp import mlp


def examples(n: int = 23, dtype: torch.dtype = torch.float64) -> Examples:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randperm(10_000, generator=generator)[:n]
    labels = torch.randint(5, (n,), generator=generator)
    return Examples(torch.randn(n, 3, 8, 8, generator=generator, dtype=dtype), labels, ids)


class Skip(nn.Module):
    """A skip connection around the first activation: the batch cannot be repeated there."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(192, 16), nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        return self.head(x + torch.relu(self.body(x)))


class Remembers(nn.Module):
    """Takes the batch size from its input: with a repeated batch it would silently mix examples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.conv(x))
        return self.head(maps.reshape(len(x), 4, -1).mean(2))


def test_every_number_equals_a_cut_out_network_run_on_one_example() -> None:
    torch.manual_seed(0)
    data, hidden, p = examples(), (30, 20), 0.5
    model = turnover.attach(mlp(192, hidden, 5).double(), seed=3)
    own_part, flipped_part, full_part, fresh_part = evaluate(
        model, data, (own_units, flipped_units, all_units, fresh_units(0)), batch_size=7
    )
    for i in range(len(data)):
        x, label = data.inputs[i : i + 1], int(data.labels[i])
        for part, id, turned in (
            (own_part, data.ids[i], False),
            (flipped_part, data.ids[i], True),
            (fresh_part, data.ids[i] + FRESH, False),
        ):
            masks = [turnover.mask(id.view(1), units, layer, 3)[0] for layer, units in enumerate(hidden)]
            logits = oracles.cut_out(model, masks, flipped=turned, p=p)(x)[0]
            assert abs(float(part.loss[i]) - oracles.cross_entropy(logits, label)) < 1e-10
            assert int(part.prediction[i]) == int(logits.argmax())
        assert abs(float(full_part.loss[i]) - oracles.cross_entropy(model(x)[0], label)) < 1e-10


class Mixes(nn.Module):
    """Compares an example with its batch: with a repeated batch the outputs differ, and nothing raises."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(192, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x.flatten(1)))
        return self.head(x - x.mean(0, keepdim=True))


def test_a_network_that_mixes_its_batch_is_refused_before_it_is_scored() -> None:
    model = turnover.attach(Mixes().double())
    with pytest.raises(TurnOverError, match="head of Mixes mixes the examples of a batch"):
        evaluate(model, examples(), (own_units, flipped_units, all_units))
    assert len(evaluate(model, examples(), (all_units,))) == 1, "nothing is masked, so nothing can go wrong"


@pytest.mark.parametrize("network", [Skip, Remembers])
def test_networks_that_cannot_repeat_their_batch_are_run_once_a_sub_network(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    data = examples()
    model = turnover.attach(network().double())
    assert not _can_share(model, data.select(torch.arange(3)), (own_units, flipped_units))
    together = evaluate(model, data, (own_units, flipped_units), batch_size=23)
    apart = [evaluate(model, data, (one,), batch_size=23)[0] for one in (own_units, flipped_units)]
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a.loss, b.loss)


class Rescales(nn.Module):
    """Multiplies by a number that is a hundredth larger if the batch grew on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(192, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.stem(x.flatten(1)))
        return self.head(hidden) * (1 if len(hidden) == len(x) else 1.01)


def test_low_precision_does_not_hide_that_a_batch_cannot_be_repeated() -> None:
    torch.manual_seed(0)
    data, model = examples(dtype=torch.float32), turnover.attach(Rescales())
    together = evaluate(model, data, (own_units, flipped_units), precision="bfloat16")
    apart = [evaluate(model, data, (one,), precision="bfloat16")[0] for one in (own_units, flipped_units)]
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a.loss, b.loss)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 22, 23, 1000])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    torch.manual_seed(0)
    model = turnover.attach(mlp(192, [16], 5).double())
    expected = evaluate(model, examples(), (own_units, flipped_units, all_units))
    found = evaluate(model, examples(), (own_units, flipped_units, all_units), batch_size=batch_size)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.loss, b.loss, rtol=1e-12)
        assert torch.equal(a.prediction, b.prediction)


def test_the_pass_below_the_first_mask_is_shared() -> None:
    model = turnover.attach(mlp(192, [16, 8], 5).double())
    seen: list[int] = []
    for layer in (model[1], model[3]):
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    evaluate(model, examples(20), (own_units, flipped_units, all_units), batch_size=20)
    assert seen[-2:] == [20, 60]


def test_modes_and_gradients_are_left_as_they_were() -> None:
    model = turnover.attach(
        nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))
    )
    model.train()
    model[2].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    outcome = evaluate(model, examples(dtype=torch.float32), (own_units,))[0]
    assert [module.training for module in model] == [True, True, False, True, True]
    assert not outcome.loss.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_bfloat16_gives_float32_losses_close_to_the_exact_ones() -> None:
    torch.manual_seed(0)
    model = turnover.attach(mlp(192, [64], 5))
    data = examples(dtype=torch.float32)
    exact, rough = (evaluate(model, data, (own_units, flipped_units), precision=p) for p in ("float32", "bfloat16"))
    for a, b in zip(exact, rough, strict=True):
        assert b.loss.dtype == torch.float32
        assert torch.allclose(a.loss, b.loss, atol=0.03)
        assert not torch.equal(a.loss, b.loss)


def test_data_that_do_not_fit_together_are_refused() -> None:
    x, y, ids = torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), torch.arange(4)
    for wrong, message in [
        ((x[:0], y[:0], ids[:0]), "empty"),
        ((x, y[:3], ids), "one length"),
        ((x, y, ids[:3]), "one length"),
        ((x, y.float(), ids), "int64"),
    ]:
        with pytest.raises(RefusedInput, match=message):
            Examples(*wrong)
    with pytest.raises(ValueError, match="negative"):
        Examples(x, y, ids - 1)


@pytest.mark.parametrize("attached", [False, True])
def test_logits_are_those_of_the_full_network_in_evaluation_mode(attached: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(192, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 5)]
    model, data = nn.Sequential(*layers).double(), examples()
    data = Examples(data.inputs, data.labels, data.ids, lambda inputs: inputs * 3)
    if attached:
        turnover.attach(model, seed=1)
    expected = nn.Sequential(*layers[:3], layers[4])(data.inputs * 3)
    layers[2].eval()  # every module is afterwards in the mode that it was in before
    for batch_size in (1, 7, 512):
        found = full_logits(model, data, batch_size=batch_size)
        assert torch.allclose(found, expected, rtol=1e-12)
        assert not found.requires_grad
    assert [module.training for module in model] == [True, True, False, True, True]
    [outcome] = evaluate(model, data)
    assert torch.equal(full_logits(model, data).argmax(dim=1), outcome.prediction)


def test_logits_keep_their_precision() -> None:
    """Whatever the training: a loss of them is exact even where it is small."""
    model, data = mlp(192, [8], 5).double(), examples()
    assert full_logits(model, data).dtype == torch.float64
    assert full_logits(model.float(), examples(dtype=torch.float32)).dtype == torch.float32
