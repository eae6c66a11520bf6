"""Time what users wait for, each against its rival, interleaved in one run; medians. Writes outputs/bench/bench.csv.

The machine may be noisy: only ratios of neighbouring measurements mean anything. Network: MLP 784-4096-10, batch 256.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import turnover
from turnover.dynamics import backpack
from turnover.dynamics.gradients import gradients
from turnover.dynamics.sets import set_gradients
from turnover.dynamics.updates import cosines
from turnover.evaluation import evaluate, flipped, own
from turnover.examples import Examples
from turnover.masks import MaskRule
from turnover.models.mlp import mlp
from turnover.models.vgg import vgg11
from turnover.store import outputs_root, provenance, replacing, write_json
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


def network(masked: bool) -> torch.nn.Module:
    model = mlp(784, [UNITS], 10)
    return turnover.attach(model) if masked else model


def epochs(masked: bool, examples: Examples) -> Callable[[], object]:
    """One pass over the examples by the training loop itself."""
    model = network(masked)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    options = {"epochs": 1, "batch_size": BATCH, "seed": 0}
    return lambda: list(train(model, examples, optimizer, lambda epoch: 0.01, **options))  # type: ignore[arg-type]


def ensembles(units: int) -> dict[str, Callable[[], object]]:
    """Networks of an ensemble, each on its own 2,100 of 3,000 examples: one after another, and all at once."""
    count, passes = STACK, 30  # epochs as in the validation
    data = Examples(
        torch.randint(256, (3000, 784), dtype=torch.uint8), torch.randint(10, (3000,)), torch.arange(3000), unit
    )
    included = torch.stack([torch.randperm(3000)[:2100] for _ in range(count)])
    options = {"epochs": passes, "batch_size": BATCH}

    def networks() -> list[torch.nn.Sequential]:
        return [mlp(784, [units], 10) for _ in range(count)]

    def one_by_one() -> None:
        for model, positions in zip(networks(), included, strict=True):
            optimizer = torch.optim.SGD(model.parameters(), 0.05)
            list(train(model, data.select(positions), optimizer, lambda epoch: 0.05, seed=0, **options))  # type: ignore[arg-type]

    def at_once() -> None:
        train_stack(networks(), data, included, range(count), lambda epoch: 0.05, **options)  # type: ignore[arg-type]

    a, b, product = (torch.randn(2048, 2048) for _ in range(3))
    # as many multiply-adds as the matrix products of the training, at the machine's best
    products = round(count * passes * 2100 * (2 * 784 + 3 * 10) * units / 2048**3)
    return {
        "the same arithmetic in large matrix products": lambda: [torch.mm(a, b, out=product) for _ in range(products)],
        "one by one": one_by_one,
        "at once": at_once,
    }


def unit(pixels: Tensor) -> Tensor:
    """Pixels as floats from 0 to 1."""
    return pixels.float().mul_(1 / 255)


def sine_masks(ids: Tensor) -> Tensor:
    """Masks as described for the published demo of turn-over dropout: the fraction of a large sine as a float hash."""
    units = torch.arange(UNITS, dtype=torch.float32)
    return ((torch.sin(ids.float()[:, None] * 12.9898 + units * 78.233) * 43758.5453).frac().abs() < 0.5).float()


def packed(rule: MaskRule, ids: Tensor) -> Callable[[], Tensor]:
    """Masks looked up in a table of packed bits that was made beforehand for 60,000 examples."""
    powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)
    table = torch.cat(
        [(rule.own(part, UNITS, 0).view(len(part), -1, 8) * powers).sum(2, dtype=torch.uint8)
         for part in torch.arange(60_000).split(1000)]
    )  # fmt: skip
    octets = ((torch.arange(256)[:, None] >> torch.arange(8)) & 1).float() * 2
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
    rounds = parser.parse_args().rounds
    ids = torch.randint(60_000, (BATCH,))
    pixels = torch.randint(256, (60_000, 1, 28, 28), dtype=torch.uint8)
    normal = pixels.float().div_(255)
    scale = torch.tensor(1 / 255)
    labels = torch.randint(10, (60_000,))
    whole = Examples(pixels, labels, torch.arange(60_000), lambda x: x.float().mul_(scale))
    data = whole.select(torch.arange(EXAMPLES))
    rule, hidden = MaskRule(0.5, 0), torch.randn(BATCH, UNITS)
    masked, plain = network(True), network(False)
    comparisons: dict[str, dict[str, Callable[[], object]]] = {
        "training, 50 steps": {"plain": epochs(False, data), "turn-over dropout": epochs(True, data)},
        "scoring against training, 12,800 examples": {
            "training epoch": epochs(True, data),
            "own + flipped scores": lambda: evaluate(masked, data, (own, flipped)),
        },
        "mean cosine of 60,000 gradients": {
            "training epoch": epochs(False, whole),
            "exact, of the whole set": lambda: set_gradients(plain, whole).cosine(),
        },
        "mean cosine of a batch of 256, MLP": cosines_of(plain, data.inputs[:BATCH].float() / 255, labels[:BATCH]),
        "mean cosine of a batch of 64, VGG-11": cosines_of(vgg11(3, 10), torch.randn(64, 3, 32, 32), labels[:64]),
        "masks of a batch": {
            "hash on the fly": lambda: rule.multiplier(ids, UNITS, 0, flipped=False, dtype=torch.float32),
            "packed table of 60,000": packed(rule, ids),
            "sine of a float": lambda: sine_masks(ids),
            "F.dropout": lambda: F.dropout(hidden, 0.5),
        },
        **{f"{STACK} networks 784-{units}-10": ensembles(units) for units in (32, 128, 256)},
        "a batch of inputs": {
            "uint8, normalised in the step": lambda: pixels[ids].float().mul_(scale),
            "float32, normalised once": lambda: normal[ids],
        },
    }
    rows = []
    for name, contestants in comparisons.items():
        slow, training = name.startswith("mean cosine"), "training" in name or "networks" in name
        rows += interleaved(name, contestants, max(1, rounds // 3) if slow else rounds if training else 20 * rounds)
        if slow:
            rows[-2]["peak_mb"], rows[-1]["peak_mb"] = (extra_memory(each) for each in contestants.values())
    table = pd.DataFrame(rows)
    folder = outputs_root() / "bench"
    with replacing(folder / "bench.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_json(folder / "machine.json", provenance() | {"threads": torch.get_num_threads()})
    print(table.to_string(index=False))
    print(folder / "bench.csv")


if __name__ == "__main__":
    main()
