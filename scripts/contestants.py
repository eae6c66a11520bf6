"""Contestants of the benchmark: training by the loop, ensembles, masks and gradients, each with its rivals.

Where no other network is named it is the MLP 784-4096-10, batch 256.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

import turnover
from turnover.common.device import Precision
from turnover.common.matmul import fast_products, linear
from turnover.core.examples import Examples
from turnover.core.masks import MaskRule
from turnover.gradients import backpack
from turnover.gradients.per_example import gradients
from turnover.gradients.updates import cosines
from turnover.models.mlp import mlp
from turnover.runs import checkpoint
from turnover.training.accuracy import Name, measure
from turnover.training.loop import train
from turnover.training.stack import STACK, train_stack

BATCH, UNITS, EXAMPLES = 256, 4096, 256 * 50

# multiply-adds of one example in each layer with weights, and how often the step does them: the first layer has no
# gradient of its input, the others have
FIRST, LATER = 2, 3
MLP_WORK = FIRST * 784 * UNITS + LATER * UNITS * 10


def convolution_work(model: torch.nn.Module, image: Tensor) -> int:
    """Count multiply-adds of a training step for one image in convolutions and linear layers, without attention."""
    work: list[int] = []

    def add(layer: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        positions = output.numel() // len(weight)
        work.append((LATER if work else FIRST) * positions * weight.numel())

    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return sum(work)


def at_best(multiply_adds: float, device: torch.device, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Return as many multiply-adds in large products, by PyTorch and on a CPU in float32 by oneDNN too."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    count = max(1, round(multiply_adds / side**3))
    kind = str(dtype).removeprefix("torch.")
    contestants: dict[str, Callable[[], object]] = {
        f"the same arithmetic, {kind}": lambda: [a @ b for _ in range(count)],
    }
    if device.type == "cpu" and dtype == torch.float32:
        contestants["the same arithmetic, float32, oneDNN"] = lambda: [linear(a, b) for _ in range(count)]
    return contestants


def image_networks(
    make: Callable[[], torch.nn.Module], side: int, channels: int, steps: int, device: torch.device
) -> dict[str, Callable[[], object]]:
    """Return training by the loop, masked or not: in float32, bfloat16, channels last, or compiled."""
    count = steps * BATCH
    pixels = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, device=device)
    labels, ids = torch.randint(10, (count,), device=device), torch.arange(count, device=device)

    def contestant(masked: bool, precision: Precision, layout: torch.memory_format, how: Any = None) -> Any:
        model = make().to(device).to(memory_format=layout)
        if masked:
            turnover.attach(model)
        model = how(model) if how else model
        optimizer = torch.optim.SGD(model.parameters(), 0.001)
        examples = Examples(pixels, labels, ids, lambda x: x.float().mul_(1 / 255).contiguous(memory_format=layout))
        options = {"epochs": 1, "batch_size": BATCH, "seed": 0, "precision": precision}
        return lambda: list(train(model, examples, optimizer, lambda step: 0.001, **options))  # type: ignore[arg-type]

    work = count * convolution_work(make(), torch.zeros(1, channels, side, side))
    return {
        "plain, float32": contestant(False, "float32", torch.contiguous_format),
        "turn-over dropout, float32": contestant(True, "float32", torch.contiguous_format),
        "plain, float32, channels last": contestant(False, "float32", torch.channels_last),
        "turn-over dropout, float32, channels last": contestant(True, "float32", torch.channels_last),
        "plain, bfloat16, channels last": contestant(False, "bfloat16", torch.channels_last),
        "turn-over dropout, bfloat16, channels last": contestant(True, "bfloat16", torch.channels_last),
        "plain, float32, compiled": contestant(False, "float32", torch.contiguous_format, compiled),
        "turn-over dropout, float32, compiled": contestant(True, "float32", torch.contiguous_format, compiled),
        **at_best(work, device, torch.float32),
        **at_best(work, device, torch.bfloat16),
    }


def by_pytorch(function: Callable[[], object]) -> Callable[[], object]:
    """Return a function that trains with PyTorch's own products in linear layers."""

    def run() -> None:
        with patch("turnover.training.loop.fast_products", lambda device: nullcontext()):
            function()

    return run


def network(masked: bool, device: torch.device) -> torch.nn.Module:
    model = mlp(784, [UNITS], 10).to(device)
    return turnover.attach(model) if masked else model


def compiled(model: torch.nn.Module) -> Any:
    """Return the network compiled as a whole; on a GPU by CUDA graphs, whose kernels do not wait for Python."""
    on_gpu = next(model.parameters()).is_cuda
    return torch.compile(model, fullgraph=True, mode="reduce-overhead" if on_gpu else "default")


def epochs(masked: bool, examples: Examples, model: torch.nn.Module | None = None) -> Callable[[], object]:
    """Return a function that makes one pass over the examples by the training loop itself; None: a new network."""
    model = network(masked, examples.device) if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    options = {"epochs": 1, "batch_size": BATCH, "seed": 0}
    return lambda: list(train(model, examples, optimizer, lambda step: 0.01, **options))  # type: ignore[arg-type]


def influences(examples: Examples, others: int) -> dict[str, Callable[[], object]]:
    """Return an epoch of training, and the influence of every example on some others by the same network."""
    model = network(True, examples.device)
    x, y, _ = examples.batch(torch.arange(others, device=examples.device))
    return {
        "training epoch": epochs(True, examples, model),
        "influences": lambda: turnover.influence(model, x, y, examples.ids),
    }


def some_epochs(every: int, data: Examples, folder: Path) -> dict[str, Callable[[], object]]:
    """Return `every` epochs' steps by themselves and by the training loop, and what a run does after so many of them.

    Accuracy is tracked on as large shares of the examples as of MNIST's 60,000 by default: 10,000 of train and of test.
    A checkpoint, one of several, has one size: of an epoch of 60,000 it takes a fifth of the share it has here.
    """
    model = network(True, data.device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    x, y, ids = data.batch(torch.arange(BATCH, device=data.device))

    def steps() -> None:
        for _ in range(every * len(data) // BATCH):
            optimizer.zero_grad()
            with fast_products(data.device), turnover.own(model, ids):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()

    some = data.select(torch.arange(len(data) // 6, device=data.device))
    groups: dict[Name, Examples] = {("train", "all"): some, ("test", "all"): some}
    options = {"epochs": every, "batch_size": BATCH, "seed": 0}
    return {
        "their steps alone": steps,
        "the training loop": lambda: list(train(model, data, optimizer, lambda step: 0.01, **options)),  # type: ignore[arg-type]
        "a checkpoint": lambda: checkpoint.save(folder / "checkpoint.pt", model, optimizer, checkpoint.Progress(1, [])),
        "tracked accuracy": lambda: measure(model, groups, fresh_masks=2, precision="float32"),
    }


def ensembles(units: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return trainings of an ensemble, each network on 2,100 of 3,000 examples: one after another, and all at once."""
    count, passes = STACK, 15  # half of the validation's epochs: long enough
    data = Examples(
        torch.randint(256, (3000, 784), dtype=torch.uint8, device=device),
        torch.randint(10, (3000,), device=device),
        torch.arange(3000, device=device),
        unit,
    )
    included = torch.stack([torch.randperm(3000, device=device)[:2100] for _ in range(count)])
    options = {"epochs": passes, "batch_size": BATCH}

    def networks() -> list[torch.nn.Sequential]:
        return [mlp(784, [units], 10).to(device) for _ in range(count)]

    def one_by_one() -> None:
        for model, positions in zip(networks(), included, strict=True):
            optimizer = torch.optim.SGD(model.parameters(), 0.05)
            list(train(model, data.select(positions), optimizer, lambda step: 0.05, seed=0, **options))  # type: ignore[arg-type]

    def at_once() -> None:
        train_stack(networks(), data, included, range(count), lambda step: 0.05, **options)  # type: ignore[arg-type]

    return {
        **at_best(count * passes * 2100 * (FIRST * 784 + LATER * 10) * units, device, torch.float32),
        "one by one": one_by_one,
        "at once": at_once,
    }


def blocks(examples: int, epochs: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return scores of random images by an ordinary training, and by blocks on halves for two thirds of its epochs."""
    inputs = torch.randn(examples, 784)
    labels = (inputs @ torch.randn(784, 10)).argmax(1)
    wide, narrow, count, shorter = 512, 64, 44, 2 * epochs // 3

    def scored(units: int, **options: Any) -> Callable[[], object]:
        data: dict[str, Any] = {"x": inputs, "y": labels, "seeds": 1, "device": device.type, "progress": False}
        return lambda: turnover.memorization(lambda: mlp(784, [units], 10), **data, **options)

    step, forwards = FIRST * 784 + LATER * 10, 784 + 10  # multiply-adds of an example for each unit
    arithmetic = count * narrow * (shorter / 2 * step + forwards) / (epochs * wide * step)
    return {
        "ordinary training, cumulative loss": scored(wide, epochs=epochs, lr=0.1, estimator="cumulative_loss"),
        f"44 blocks, {arithmetic:.2f} times the arithmetic": scored(narrow, epochs=shorter, estimator="blocks"),
    }


def unit(pixels: Tensor) -> Tensor:
    """Return pixels as floats from 0 to 1."""
    return pixels.float().mul_(1 / 255)


def sine_masks(ids: Tensor) -> Tensor:
    """Compute masks of the published demo of turn-over dropout: the fraction of a large sine as a float hash."""
    units = torch.arange(UNITS, dtype=torch.float32, device=ids.device)
    return ((torch.sin(ids.float()[:, None] * 12.9898 + units * 78.233) * 43758.5453).frac().abs() < 0.5).float()


def packed(rule: MaskRule, ids: Tensor) -> Callable[[], Tensor]:
    """Return a look-up of masks in a table of packed bits that was made beforehand for 60,000 examples."""
    powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=ids.device)
    table = torch.cat(
        [(rule.own(some, UNITS, 0).view(len(some), -1, 8) * powers).sum(2, dtype=torch.uint8)
         for some in torch.arange(60_000, device=ids.device).split(1000)]
    )  # fmt: skip
    octets = (((torch.arange(256)[:, None] >> torch.arange(8)) & 1).float() * 2).to(ids.device)
    return lambda: octets.index_select(0, table[ids].int().view(-1)).view(len(ids), -1)


def cosines_of(model: torch.nn.Module, x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """Return the mean pairwise cosine of the gradients of a batch, through factors and through built gradients."""
    return {
        "factored": lambda: cosines(gradients(model, x, y, check=False).gram()).mean(),
        "BackPACK BatchGrad": lambda: cosines(backpack.gradients(model, x, y, check=False).gram()).mean(),
    }
