"""Time what users wait for, each against its rival, interleaved in one run; medians. Writes outputs/bench/bench.csv.

The machine may be noisy: only ratios of neighbouring measurements mean anything. Where no other network is named it is
the MLP 784-4096-10, batch 256. "The same arithmetic" is that of the matrix products or convolutions of a training step,
forward and backward, done in products of matrices of 2048 x 2048 (8192 x 8192 on a GPU): the machine at its best.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from unittest.mock import patch

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import turnover
from turnover.device import Precision, describe
from turnover.dynamics import backpack
from turnover.dynamics.gradients import gradients
from turnover.dynamics.sets import set_gradients
from turnover.dynamics.updates import cosines
from turnover.evaluation import evaluate, flipped, own
from turnover.examples import Examples
from turnover.masks import MaskRule
from turnover.models.cvt import cvt
from turnover.models.mlp import mlp
from turnover.models.vgg import vgg11
from turnover.products import linear
from turnover.store import now, outputs_root, provenance, replacing, write_json
from turnover.training.loop import train
from turnover.training.stack import STACK, train_stack

BATCH, UNITS, EXAMPLES = 256, 4096, 256 * 50


def interleaved(name: str, contestants: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, object]]:
    """Median milliseconds of each contestant, taken in turns; ratio to the first one: median over rounds."""
    times: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for number in tqdm(range(rounds + 2), desc=name, leave=False):
        for contestant, function in contestants.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            if number >= 2:  # the first two rounds warm up
                times[contestant].append(1000 * (time.perf_counter() - start))
    first = times[next(iter(times))]
    return [
        {
            "comparison": name,
            "contestant": contestant,
            "ms": round(median(each), 3),
            "ratio": round(median(a / b for a, b in zip(each, first, strict=True)), 3),
            "rounds": rounds,
        }
        for contestant, each in times.items()
    ]


# multiply-adds of one example in each layer with weights, and how often the step does them: the first layer has no
# gradient of its input, the others have
FIRST, LATER = 2, 3
MLP_WORK = FIRST * 784 * UNITS + LATER * UNITS * 10


def convolution_work(model: torch.nn.Module, image: Tensor) -> int:
    """Multiply-adds of a training step for one image in convolutions and linear layers (attention is not counted)."""
    work: list[int] = []

    def add(layer: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        places = output.numel() // len(weight)
        work.append((LATER if work else FIRST) * places * weight.numel())

    layers = [each for each in model.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return sum(work)


def at_best(multiply_adds: float, device: torch.device, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """As many multiply-adds in large products, by PyTorch's own product and on a CPU in float32 by oneDNN too."""
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
    """Training by the loop: in float32 as PyTorch does by default, and in bfloat16, channels last; masked and plain."""
    count = steps * BATCH
    pixels = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, device=device)
    labels, ids = torch.randint(10, (count,), device=device), torch.arange(count, device=device)

    def contestant(masked: bool, precision: Precision, layout: torch.memory_format) -> Callable[[], object]:
        model = make().to(device).to(memory_format=layout)
        if masked:
            turnover.attach(model)
        optimizer = torch.optim.SGD(model.parameters(), 0.001)
        examples = Examples(pixels, labels, ids, lambda x: x.float().mul_(1 / 255).contiguous(memory_format=layout))
        options = {"epochs": 1, "batch_size": BATCH, "seed": 0, "precision": precision}
        return lambda: list(train(model, examples, optimizer, lambda epoch: 0.001, **options))  # type: ignore[arg-type]

    work = count * convolution_work(make(), torch.zeros(1, channels, side, side))
    return {
        "plain, float32": contestant(False, "float32", torch.contiguous_format),
        "turn-over dropout, float32": contestant(True, "float32", torch.contiguous_format),
        "plain, float32, channels last": contestant(False, "float32", torch.channels_last),
        "turn-over dropout, float32, channels last": contestant(True, "float32", torch.channels_last),
        "plain, bfloat16, channels last": contestant(False, "bfloat16", torch.channels_last),
        "turn-over dropout, bfloat16, channels last": contestant(True, "bfloat16", torch.channels_last),
        **at_best(work, device, torch.float32),
        **at_best(work, device, torch.bfloat16),
    }


def by_pytorch(function: Callable[[], object]) -> Callable[[], object]:
    """The same training with PyTorch's own products in linear layers."""

    def run() -> None:
        with patch("turnover.training.loop.fast_products", lambda device: nullcontext()):
            function()

    return run


def network(masked: bool, device: torch.device) -> torch.nn.Module:
    model = mlp(784, [UNITS], 10).to(device)
    return turnover.attach(model) if masked else model


def epochs(masked: bool, examples: Examples) -> Callable[[], object]:
    """One pass over the examples by the training loop itself."""
    model = network(masked, examples.device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    options = {"epochs": 1, "batch_size": BATCH, "seed": 0}
    return lambda: list(train(model, examples, optimizer, lambda epoch: 0.01, **options))  # type: ignore[arg-type]


def ensembles(units: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Networks of an ensemble, each on its own 2,100 of 3,000 examples: one after another, and all at once."""
    count, passes = STACK, 30  # epochs as in the validation
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
            list(train(model, data.select(positions), optimizer, lambda epoch: 0.05, seed=0, **options))  # type: ignore[arg-type]

    def at_once() -> None:
        train_stack(networks(), data, included, range(count), lambda epoch: 0.05, **options)  # type: ignore[arg-type]

    return {
        **at_best(count * passes * 2100 * (FIRST * 784 + LATER * 10) * units, device, torch.float32),
        "one by one": one_by_one,
        "at once": at_once,
    }


def unit(pixels: Tensor) -> Tensor:
    """Pixels as floats from 0 to 1."""
    return pixels.float().mul_(1 / 255)


def sine_masks(ids: Tensor) -> Tensor:
    """Masks as described for the published demo of turn-over dropout: the fraction of a large sine as a float hash."""
    units = torch.arange(UNITS, dtype=torch.float32, device=ids.device)
    return ((torch.sin(ids.float()[:, None] * 12.9898 + units * 78.233) * 43758.5453).frac().abs() < 0.5).float()


def packed(rule: MaskRule, ids: Tensor) -> Callable[[], Tensor]:
    """Masks looked up in a table of packed bits that was made beforehand for 60,000 examples."""
    powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=ids.device)
    table = torch.cat(
        [(rule.own(part, UNITS, 0).view(len(part), -1, 8) * powers).sum(2, dtype=torch.uint8)
         for part in torch.arange(60_000, device=ids.device).split(1000)]
    )  # fmt: skip
    octets = (((torch.arange(256)[:, None] >> torch.arange(8)) & 1).float() * 2).to(ids.device)
    return lambda: octets.index_select(0, table[ids].int().view(-1)).view(len(ids), -1)


def cosines_of(model: torch.nn.Module, x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """Mean pairwise cosine of the gradients of a batch, through factors and through built gradients."""
    return {
        "factored": lambda: cosines(gradients(model, x, y, check=False).gram()).mean(),
        "BackPACK BatchGrad": lambda: cosines(backpack.gradients(model, x, y, check=False).gram()).mean(),
    }


def extra_memory(function: Callable[[], object]) -> float:
    """MB by which a call raises the peak memory of a process of its own."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        torch.set_num_threads(1)  # threads do not survive a fork
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        function()
        os.write(theirs, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before).encode())
        os._exit(0)
    os.wait()
    return round(int(os.read(ours, 64)) / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison (medians; default 9)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (default) or cuda")
    parser.add_argument("--only", default="", help="comparisons with this in their name, into bench/part")
    given = parser.parse_args()
    rounds, device = given.rounds, given.device
    torch.manual_seed(0)
    ids = torch.randint(60_000, (BATCH,), device=device)
    pixels = torch.randint(256, (60_000, 1, 28, 28), dtype=torch.uint8, device=device)
    normal = pixels.float().div_(255)
    scale = torch.tensor(1 / 255, device=device)
    labels = torch.randint(10, (60_000,), device=device)
    whole = Examples(pixels, labels, torch.arange(60_000, device=device), lambda x: x.float().mul_(scale))
    data = whole.select(torch.arange(EXAMPLES, device=device))
    rule, hidden = MaskRule(0.5, 0), torch.randn(BATCH, UNITS, device=device)
    masked, plain = network(True, device), network(False, device)
    # a GPU is so much faster that a comparison of its own size would measure nothing but the start of its kernels
    steps = 2 if device.type == "cpu" else 20
    vgg = vgg11(3, 10).to(device)
    comparisons: dict[str, dict[str, Callable[[], object]]] = {
        "training, 50 steps": {
            "plain": epochs(False, data),
            "turn-over dropout": epochs(True, data),
            "plain, products by PyTorch": by_pytorch(epochs(False, data)),
            "turn-over dropout, products by PyTorch": by_pytorch(epochs(True, data)),
            **at_best(EXAMPLES * MLP_WORK, device, torch.float32),
        },
        f"training VGG-11, {steps} steps": image_networks(lambda: vgg11(3, 10), 32, 3, steps, device),
        f"training the transformer, {steps} steps": image_networks(
            lambda: cvt((1, 28, 28), 10, dim=128, depth=2, heads=2, mlp_ratio=1, convolutions=2), 28, 1, steps, device
        ),
        "scoring against training, 12,800 examples": {
            "training epoch": epochs(True, data),
            "own + flipped scores": lambda: evaluate(masked, data, (own, flipped)),
        },
        "mean cosine of 60,000 gradients": {
            "training epoch": epochs(False, whole),
            "exact, of the whole set": lambda: set_gradients(plain, whole).cosine(),
        },
        "mean cosine of a batch of 256, MLP": cosines_of(plain, data.inputs[:BATCH].float() / 255, labels[:BATCH]),
        "mean cosine of a batch of 64, VGG-11": cosines_of(vgg, torch.randn(64, 3, 32, 32, device=device), labels[:64]),
        "masks of a batch": {
            "hash on the fly": lambda: rule.multiplier(ids, UNITS, 0, flipped=False, dtype=torch.float32),
            "packed table of 60,000": packed(rule, ids),
            "sine of a float": lambda: sine_masks(ids),
            "F.dropout": lambda: F.dropout(hidden, 0.5),
        },
        **{f"{STACK} networks 784-{units}-10": ensembles(units, device) for units in (32, 128, 256)},
        "a batch of inputs": {
            "uint8, normalised in the step": lambda: pixels[ids].float().mul_(scale),
            "float32, normalised once": lambda: normal[ids],
        },
    }
    rows: list[dict[str, object]] = []
    for name, contestants in comparisons.items():
        if given.only not in name:
            continue
        slow, training = name.startswith("mean cosine"), "training" in name or "networks" in name
        rows += interleaved(name, contestants, max(1, rounds // 3) if slow else rounds if training else 20 * rounds)
        if slow and device.type == "cpu":
            rows[-2]["peak_mb"], rows[-1]["peak_mb"] = (extra_memory(each) for each in contestants.values())
    table = pd.DataFrame(rows)
    # a part does not take the place of the whole
    folder = outputs_root() / "bench" / ("part" if given.only else "")
    with replacing(folder / "bench.csv") as temporary:
        table.to_csv(temporary, index=False)
    about = {"threads": torch.get_num_threads(), "device": describe(device), "made": now()}
    write_json(folder / "machine.json", provenance() | about)
    print(table.to_string(index=False))
    print(folder / "bench.csv")


if __name__ == "__main__":
    main()
