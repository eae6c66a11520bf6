"""What a step minimises and how it moves the weights, against trainings written out example by example."""

import math
from collections import Counter
from contextlib import nullcontext
from typing import Any

import oracles
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from turnover.common.seeding import torch_generator
from turnover.config.parse import parse
from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS, UNCOUNTED
from turnover.models.mlp import mlp
from turnover.training.fit import fit
from turnover.training.methods import balanced_weights, build
from turnover.training.methods.method import Step
from turnover.training.optim import build_optimizer

N, BATCH, EPOCHS = 50, 16, 3
LABELS = torch.tensor([0] * 30 + [2] * 15 + [3] * 5)  # of class 1 there is none


def data() -> Examples:
    generator = torch.Generator().manual_seed(0)
    return Examples(torch.randn(N, 6, generator=generator, dtype=torch.float64), LABELS, torch.arange(N))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = mlp(6, [20], 4)
    return nn.Sequential(layers[0], layers[1], nn.LayerNorm(20), *layers[2:]).double()


SGD = {"name": "sgd", "lr": 0.3, "momentum": 0.0, "weight_decay": 0.0, "decay": "all"}
ADAMW = {"name": "adamw", "lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.5, "decay": "weights"}
COSINE = {"name": "cosine", "by": "step", "warmup": 4}


def training(**changes: Any) -> Training:
    values = {
        "seed": 3,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "precision": "float32",
        "augmentation": {"name": "none"},
        "optimizer": SGD,
        "schedule": {"name": "constant", "warmup": 0},
        "method": {"name": "plain"},
        "class_weights": "none",
        "estimator": {"name": "none"},
    }
    return parse(Training, values | changes)


def rate(config: Training, step: int) -> float:
    """The rate of a constant schedule, or that of COSINE in a run of 3 epochs of 4 steps."""
    lr = config.optimizer.lr
    if config.schedule.name == "constant":
        return lr
    return lr * (step + 1) / 5 if step < 4 else lr * (1 + math.cos(math.pi * (step - 4) / (12 - 4))) / 2


def by_hand(config: Training, smoothing: float, weights: dict[int, float]) -> tuple[nn.Sequential, list[Tensor]]:
    """The trained network, and the plain cross-entropy of all examples in every epoch."""
    model, examples = network(), data()
    parameters: list[Tensor] = list(model.parameters())
    states: list[dict[str, Any]] = [{} for _ in parameters]
    observed, step = [], 0
    for epoch in range(1, EPOCHS + 1):
        losses = torch.empty(N, dtype=torch.float64)
        order = torch.randperm(N, generator=torch_generator(config.seed, "order", epoch)).tolist()
        for start in range(0, N, BATCH):
            batch = order[start : start + BATCH]
            total = torch.zeros((), dtype=torch.float64)
            for i in batch:
                logits, label = model(examples.inputs[i : i + 1])[0], int(LABELS[i])
                losses[i] = F.cross_entropy(logits, LABELS[i]).detach()
                total = total + weights.get(label, 1.0) * oracles.smoothed(logits, label, smoothing)
            gradients = torch.autograd.grad(total / len(batch), parameters)
            with torch.no_grad():
                for weight, gradient, state in zip(parameters, gradients, states, strict=True):
                    moved(config.optimizer, weight, gradient, state, rate(config, step))
            step += 1
        observed.append(losses)
    return model, observed


def moved(config: Any, weight: Tensor, gradient: Tensor, state: dict[str, Any], lr: float) -> None:
    decay = config.weight_decay if config.decay == "all" or weight.ndim > 1 else 0.0
    if config.name == "adamw":
        oracles.adamw(weight, gradient, state, lr, config.betas, config.eps, decay)
    else:
        weight.sub_(lr * (gradient + decay * weight))


def minimised(config: Training, examples: Examples, logits: Tensor, labels: Tensor) -> Tensor:
    """What a step minimises for each of its examples."""
    method, index = build(config, nn.Identity(), examples), torch.arange(len(labels))
    losses = examples.loss(logits, labels)
    step = Step(nn.Identity(), logits, labels, index, 1, 0.1, logits, losses, lambda model: nullcontext())
    return method.weighted(method.losses(step), labels)


SMOOTHED = {"method": {"name": "label_smoothing", "smoothing": 0.3}}
BALANCED = {"class_weights": "balanced"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        SMOOTHED,
        BALANCED,
        SMOOTHED | BALANCED,
        {"optimizer": ADAMW},
        {"optimizer": ADAMW | {"decay": "all"}},
        {"optimizer": SGD | {"weight_decay": 0.1}},
        {"optimizer": SGD | {"weight_decay": 0.1, "decay": "weights"}},
        {"schedule": COSINE},
        SMOOTHED | BALANCED | {"optimizer": ADAMW, "schedule": COSINE},
    ],
    ids=str,
)
def test_a_training_is_the_one_written_out_and_what_is_observed_is_plain_cross_entropy(changes: dict[str, Any]) -> None:
    config, model = training(**changes), network()
    epochs = list(fit(config, model, data()))
    theirs = compute_class_weight("balanced", classes=LABELS.unique().numpy(), y=LABELS.numpy())
    weights = dict(zip(LABELS.unique().tolist(), theirs.tolist(), strict=True)) if "class_weights" in changes else {}
    expected, observed = by_hand(config, 0.3 if "method" in changes else 0.0, weights)
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-11)
    for epoch, losses in zip(epochs, observed, strict=True):
        assert torch.allclose(epoch.losses, losses, rtol=1e-8)
    first_steps = [rate(config, step) for step in (0, 4, 8)]
    assert [epoch.lr for epoch in epochs] == pytest.approx(first_steps, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_label_smoothing_is_that_of_pytorch(smoothing: float) -> None:
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    config = training(method={"name": "label_smoothing", "smoothing": smoothing})
    theirs = F.cross_entropy(logits, LABELS[:7], label_smoothing=smoothing)
    ours = minimised(config, data(), logits, LABELS[:7])
    assert float(ours.mean()) == pytest.approx(float(theirs), rel=1e-12)
    slow = [oracles.smoothed(row, int(label), smoothing) for row, label in zip(logits, LABELS[:7], strict=True)]
    assert torch.allclose(ours, torch.stack(slow), rtol=1e-12)


def test_language_models_minimise_the_mean_over_the_tokens_of_a_batch() -> None:
    draw = torch.Generator().manual_seed(1)
    z, y = torch.randn(4, 6, 5, generator=draw, dtype=torch.float64), torch.randint(5, (4, 6), generator=draw)
    for row, length in enumerate((6, 1, 3, 5)):
        y[row, length:] = UNCOUNTED
    found = minimised(training(), Examples(torch.zeros(4, 6), y, torch.arange(4), loss=TOKENS), z, y).mean()
    assert float(found) == pytest.approx(float(F.cross_entropy(z.flatten(0, 1), y.flatten())), rel=1e-12)


def test_the_classes_of_a_training_set_weigh_alike_and_its_examples_1_in_the_mean() -> None:
    weights = balanced_weights(LABELS)[LABELS]
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-12)
    total = Counter[int]()
    for label, weight in zip(LABELS.tolist(), weights.tolist(), strict=True):
        total[label] += weight
    assert list(total.values()) == pytest.approx([N / 3] * 3, rel=1e-12)


def test_an_example_weighs_the_same_in_every_batch() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([0, 2, 3, 0, 0, 3])
    config, examples = training(class_weights="balanced"), data()
    alone = [minimised(config, examples, logits[i : i + 1], labels[i : i + 1]) for i in range(6)]
    assert torch.allclose(minimised(config, examples, logits, labels), torch.cat(alone), rtol=1e-12)


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_which_parameters_decay(optimizer: dict[str, Any], decay: str) -> None:
    model = network()
    model[1].weight.requires_grad_(False)
    config = training(optimizer=optimizer | {"weight_decay": 0.25, "decay": decay}).optimizer
    found = {
        parameter: group["weight_decay"]
        for group in build_optimizer(config, model).param_groups
        for parameter in group["params"]
    }
    names = {name: found.get(parameter) for name, parameter in model.named_parameters()}
    other = 0.25 if decay == "all" else 0.0
    assert names == {
        "1.weight": None,
        "1.bias": other,
        "2.weight": other,
        "2.bias": other,
        "4.weight": 0.25,
        "4.bias": other,
    }
