"""Variance of gradients against a hand-made table, against one example at a time, and through saving and loading."""

from pathlib import Path
from typing import Literal, get_args

import pytest
import score_oracles as oracles
import torch
from gradient_networks import CASES, made
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import turnover
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.estimators.gradient_scores import GradientVariance, standardised
from turnover.models.mlp import mlp

Of = Literal["logit", "probability"]


class Squares(nn.Module):
    """All logits are scale · Σ x², so that the gradient on pixel x is 2 · scale · x."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x.square().flatten(1).sum(dim=1, keepdim=True)).expand(-1, 4)


def of(x: Tensor, labels: list[int]) -> Examples:
    return Examples(x, torch.tensor(labels), torch.arange(len(x)))


def followed(examples: Examples, models: list[nn.Module], batch_size: int = 512, of: Of = "logit") -> GradientVariance:
    found = GradientVariance(len(examples), of)
    for model in models:
        found.update(model, examples, batch_size)
    return found


def networks(count: int, inputs: int = 6) -> list[nn.Module]:
    return [mlp(inputs, [9], 3).double() for _ in range(count)]


def test_by_hand() -> None:
    """Gradients are 2x, then 6x: mean 4x, deviation 2|x|, and over two pixels |x_1| + |x_2|."""
    x = torch.tensor([[1.0, 0], [-2, 1], [5, 5], [0.1, 0.3], [-0.1, 0.3], [2, 3]])
    examples = of(x, [0, 0, 3, 1, 1, 0])  # 1, 3 and 5 in class 0; one alone in class 3; two alike in class 1
    found = followed(examples, [Squares(1.0), Squares(3.0)])
    deviation = (8 / 3) ** 0.5  # of 1, 3, 5
    expected = [-2 / deviation, 0, 0, 0, 0, 2 / deviation]
    score = found.score(examples.labels)
    assert score.dtype == torch.float32
    assert score.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert score[2:5].tolist() == [0, 0, 0]
    assert found.state()["checkpoints"] == 2


def test_one_checkpoint_has_no_variance() -> None:
    examples = of(torch.randn(5, 2), [0, 0, 1, 1, 1])
    assert followed(examples, [Squares(1.0)]).score(examples.labels).tolist() == [0] * 5


@settings(max_examples=15)
@given(n=st.integers(1, 12), checkpoints=st.integers(1, 4), batch_size=st.integers(1, 13), seed=st.integers(0, 1000))
@pytest.mark.parametrize("what", get_args(Of))
def test_mlps_one_example_at_a_time(what: Of, n: int, checkpoints: int, batch_size: int, seed: int) -> None:
    torch.manual_seed(seed)
    models = networks(checkpoints)
    examples = of(torch.randn(n, 6, dtype=torch.float64), torch.randint(3, (n,)).tolist())
    compare(examples, models, batch_size, what)


@pytest.mark.parametrize("what", get_args(Of))
def test_convolutions_one_example_at_a_time(what: Of) -> None:
    models = []
    for seed in range(3):
        model, x, y = made(CASES["convolutions"], 8, seed)
        models.append(model)
    score, expected = compare(of(x, y.tolist()), models, 3, what)
    assert score.abs().max() > 1
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)


def test_the_probability_of_a_label_that_is_surely_right_keeps_its_precision() -> None:
    """Logits are 2s Σ x² and 0: in float32 1 - p is below the resolution of p, and its gradient is not 0."""

    class Sure(Squares):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return torch.stack([2 * logits[:, 0], 0 * logits[:, 0]], dim=1)

    def squares(x: Tensor, models: list[nn.Module]) -> Tensor:
        found = followed(of(x, [0, 0]), models, of="probability").state()["squares"]
        assert isinstance(found, Tensor)
        return found

    x = torch.tensor([[2.0, 2.0], [2.1, 1.9]])
    exact: list[nn.Module] = [Sure(1.0).double(), Sure(1.5).double()]
    torch.testing.assert_close(squares(x, [Sure(1.0), Sure(1.5)]), squares(x.double(), exact), rtol=1e-4, atol=0)
    raw = oracles.variance_of_gradients(exact, list(x.double()), [0, 0], "probability")
    assert (squares(x.double(), exact) / 2).sqrt().mean(1).tolist() == pytest.approx(raw, rel=1e-6)


def compare(examples: Examples, models: list[nn.Module], batch_size: int, what: Of) -> tuple[Tensor, Tensor]:
    """What is followed is compared; the scores and those from the definition are returned."""
    labels = examples.labels.tolist()
    found = followed(examples, models, batch_size, what)
    raw = oracles.variance_of_gradients(models, list(examples.inputs), labels, what)
    state = found.state()
    assert isinstance(state["squares"], Tensor)
    ours = (state["squares"] / len(models)).sqrt().flatten(1).mean(dim=1).double()
    expected = torch.tensor(raw, dtype=torch.float64)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    # from the same float32 numbers: in a class whose members hardly differ their rounding is blown up
    score = found.score(examples.labels).double()
    standard = torch.tensor(oracles.standardised(ours.tolist(), labels), dtype=torch.float64)
    torch.testing.assert_close(score, standard, rtol=1e-6, atol=1e-6)
    return score, torch.tensor(oracles.standardised(raw, labels), dtype=torch.float64)


@given(st.lists(st.tuples(st.floats(0, 9, width=32), st.integers(-2, 3)), min_size=1, max_size=20))
def test_standardised_within_each_class(rows: list[tuple[float, int]]) -> None:
    values, labels = [row[0] for row in rows], [row[1] for row in rows]
    found = standardised(torch.tensor(values), torch.tensor(labels))
    assert found.tolist() == pytest.approx(oracles.standardised(values, labels), rel=1e-5, abs=1e-5)


def test_saved_in_the_middle_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = networks(5)
    examples = of(torch.randn(20, 6, dtype=torch.float64), [0, 1, 2, 1] * 5)
    whole = followed(examples, models, 7)
    torch.save(followed(examples, models[:2], 7).state(), tmp_path / "state.pt")
    resumed = GradientVariance(20)
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for model in models[2:]:
        resumed.update(model, examples, 7)
    assert torch.equal(resumed.score(examples.labels), whole.score(examples.labels))
    same(resumed.state(), whole.state())


def test_a_state_is_a_copy_and_may_be_empty() -> None:
    examples = of(torch.randn(4, 2), [0, 0, 1, 1])
    found = GradientVariance(4)
    assert found.state() == {"n": 4, "checkpoints": 0}
    found.update(Squares(1.0), examples)
    before = found.state()
    other = GradientVariance(4)
    other.load(before)
    found.update(Squares(2.0), examples)
    other.update(Squares(2.0), examples)
    same(found.state(), other.state())
    same(before, followed(examples, [Squares(1.0)]).state())
    found.load(GradientVariance(4).state())
    assert found.state() == {"n": 4, "checkpoints": 0}


def same(one: dict[str, Tensor | int], other: dict[str, Tensor | int]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)


def test_scores_follow_their_examples() -> None:
    torch.manual_seed(0)
    models = networks(3)
    examples = of(torch.randn(30, 6, dtype=torch.float64), [0, 1, 2] * 10)
    order = torch.randperm(30)
    found = followed(examples.select(order), models).score(examples.labels[order])
    torch.testing.assert_close(found, followed(examples, models).score(examples.labels)[order], rtol=0, atol=1e-4)


def test_the_gradient_is_on_prepared_inputs() -> None:
    """Not on the stored ones, which may be bytes."""
    stored = torch.randint(256, (9, 1, 2, 3), dtype=torch.uint8)
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    examples = Examples(stored, torch.tensor(labels), torch.arange(9), lambda x: x.float() / 255)
    models: list[nn.Module] = [Squares(1.0), Squares(3.0)]
    ready = followed(of(stored.float() / 255, labels), models)
    same(followed(examples, models).state(), ready.state())


def test_nothing_is_left_on_the_network() -> None:
    model, x, y = made(CASES["convolutions"], 6)
    model.train()
    model.third.eval()  # type: ignore[union-attr]
    modes = [module.training for module in model.modules()]
    before = {name: each.clone() for name, each in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 5)
    with torch.no_grad():
        found = followed(of(x, y.tolist()), [model])
    assert not x.requires_grad
    assert [module.training for module in model.modules()] == modes
    assert all(each.grad is not None and bool((each.grad == 5).all()) for each in model.parameters())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    same(found.state(), followed(of(x, y.tolist()), [model.eval()]).state())


def test_the_full_network_is_meant_even_with_turn_over_dropout() -> None:
    torch.manual_seed(0)
    [model] = networks(1)
    examples = of(torch.randn(5, 6, dtype=torch.float64), [0, 1, 2, 1, 0])
    expected = followed(examples, [model]).state()
    same(followed(examples, [turnover.attach(model, seed=3)]).state(), expected)


def test_the_host_never_waits_for_the_device() -> None:
    """A tensor of the device meta has no numbers: asking for one would fail."""
    found = GradientVariance(6)
    found.load(
        {
            "n": 6,
            "checkpoints": 2,
            "mean": torch.zeros(6, 4, device="meta"),
            "squares": torch.zeros(6, 4, device="meta"),
        }
    )
    assert found.score(torch.zeros(6, dtype=torch.int64, device="meta")).device.type == "meta"


def test_what_is_refused() -> None:
    examples = of(torch.randn(4, 2), [0, 0, 1, 1])
    found = GradientVariance(4)
    with pytest.raises(RefusedInput, match="no checkpoint"):
        found.score(examples.labels)
    with pytest.raises(RefusedInput, match="of 4 examples are followed, got 3"):
        found.update(Squares(1.0), examples.select(torch.arange(3)))
    with pytest.raises(RefusedInput, match="floats; got"):
        found.update(Squares(1.0), of(torch.ones(4, 2, dtype=torch.int64), [0] * 4))
    found.update(Squares(1.0), examples)
    with pytest.raises(RefusedInput, match="shape"):
        found.update(Squares(1.0), of(torch.randn(4, 3), [0] * 4))
    with pytest.raises(RefusedInput, match="one for each example"):
        found.score(examples.labels[:3])
    with pytest.raises(RefusedInput, match="of 4 examples, not of 5"):
        GradientVariance(5).load(found.state())
