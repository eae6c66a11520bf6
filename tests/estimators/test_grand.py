"""Norms of gradients against plain autograd, one example at a time, in float64."""

import pytest
import score_oracles as oracles
import torch
from gradient_networks import CASES, made
from torch import Tensor, nn

import turnover
from turnover.core.examples import Examples
from turnover.errors import TurnOverError
from turnover.estimators.gradient_scores import grand


def case(name: str, n: int = 7) -> tuple[nn.Module, Examples]:
    model, x, y = made(CASES[name], n)
    return model, Examples(x, y, torch.arange(n))


def slow(model: nn.Module, examples: Examples) -> Tensor:
    norms = [oracles.grand(model, x, int(y)) for x, y in zip(examples.inputs, examples.labels, strict=True)]
    return torch.tensor(norms, dtype=torch.float64)


def test_by_hand() -> None:
    """Of a linear layer the gradient is (softmax - onehot) times the input and, for the biases, times 1."""
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x = torch.tensor([[0.0, 0], [1, 0], [2, 2]])
    found = grand(model, Examples(x, torch.tensor([0, 1, 0]), torch.arange(3)))
    # ‖(-1/2, 1/2)‖ √(‖x‖² + 1)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0.5**0.5, 1, 4.5**0.5], rel=1e-6)


@pytest.mark.parametrize("name", ["mlp", "convolutions"])
@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_norms_are_those_of_autograd(name: str, batch_size: int) -> None:
    model, examples = case(name)
    found = grand(model, examples, batch_size=batch_size)
    torch.testing.assert_close(found, slow(model, examples), rtol=1e-10, atol=1e-10)


def test_the_full_network_is_meant_even_with_turn_over_dropout() -> None:
    model, examples = case("mlp")
    expected = slow(model, examples)
    turnover.attach(model, seed=3)
    torch.testing.assert_close(grand(model, examples), expected, rtol=1e-10, atol=1e-10)


def test_inputs_are_prepared_and_low_precision_is_widened() -> None:
    model, examples = case("mlp")
    half = Examples(examples.inputs / 2, examples.labels, examples.ids, lambda x: x * 2)
    torch.testing.assert_close(grand(model, half), grand(model, examples), rtol=1e-10, atol=1e-10)
    exact = grand(model, examples)
    low = grand(model.bfloat16(), Examples(examples.inputs.bfloat16(), examples.labels, examples.ids))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), exact, rtol=0.1, atol=0.05)


def test_scores_follow_their_examples() -> None:
    model, examples = case("convolutions")
    order = torch.randperm(7)
    found = grand(model, examples.select(order), batch_size=3)
    torch.testing.assert_close(found, grand(model, examples, batch_size=3)[order], rtol=1e-10, atol=1e-10)


def test_nothing_is_left_on_the_network() -> None:
    model, examples = case("convolutions")
    model.train()
    model.third.eval()  # type: ignore[union-attr]
    modes = [module.training for module in model.modules()]
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with torch.no_grad():
        found = grand(model, examples)
    assert [module.training for module in model.modules()] == modes
    assert all(each.grad is None for each in model.parameters())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert torch.equal(found, grand(model.eval(), examples))


def test_a_network_that_mixes_its_batch_is_refused() -> None:
    class Centred(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x - x.mean(dim=0))
            return logits

    _, examples = case("mlp")
    with pytest.raises(TurnOverError, match="mixes the examples"):
        grand(Centred(nn.Linear(12, 4)).double(), examples)
