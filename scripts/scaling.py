"""Measure how time and memory grow with examples, units, seeds and tracked examples; fits t = c n^k.

Writes outputs/bench/scaling.csv and scaling_machine.json. The sizes of a curve are measured in turns; medians.
MLP 784-units-10, batch 256, CPU.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import pandas as pd
import torch
from benchmark import extra_memory, made_by
from contestants import BATCH, UNITS, unit
from tqdm import tqdm

import turnover
from turnover.common.files import outputs_root, replacing, write_json
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.models.mlp import mlp
from turnover.training.loop import train

CPU = torch.device("cpu")


def data(examples: int) -> Examples:
    pixels = torch.randint(256, (examples, 784), dtype=torch.uint8)
    return Examples(pixels, torch.randint(10, (examples,)), torch.arange(examples), unit)


def trained(examples: int, units: int) -> Callable[[], object]:
    """Return a function that trains one epoch with turn-over dropout."""
    model, given = turnover.attach(mlp(784, [units], 10)), data(examples)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    return lambda: list(train(model, given, optimizer, lambda step: 0.01, epochs=1, batch_size=BATCH, seed=0))


def scored(examples: int) -> Callable[[], object]:
    model, given = turnover.attach(mlp(784, [UNITS], 10)), data(examples)
    return lambda: evaluate(model, given, (own_units, flipped_units))


def averaged(seeds: int) -> Callable[[], object]:
    given = data(2000)
    make = partial(mlp, 784, [256], 10)
    x, y = given.inputs.float() / 255, given.labels
    return lambda: turnover.memorization(make, x, y, epochs=1, lr=0.01, seeds=seeds, progress=False)


CURVES: dict[str, tuple[str, list[int], Callable[[int], Callable[[], object]]]] = {
    "training epoch": ("examples", [1000, 3000, 10_000, 30_000, 60_000], lambda n: trained(n, UNITS)),
    "training epoch of 10,000 examples": ("units", [256, 1024, 4096, 16_384], lambda n: trained(10_000, n)),
    "own + flipped scores": ("tracked examples", [1000, 3000, 10_000, 30_000, 60_000], scored),
    "turnover.memorization, 2,000 examples": ("seeds", [1, 2, 4, 8], averaged),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each curve (medians; default 7)")
    rounds = parser.parse_args().rounds
    rows = []
    for what, (against, sizes, make) in CURVES.items():
        jobs = {size: make(size) for size in sizes}
        times: dict[int, list[float]] = {size: [] for size in sizes}
        for number in tqdm(range(rounds + 1), desc=what, leave=False):
            for size, job in jobs.items():
                start = time.perf_counter()
                job()
                if number:  # the first round warms up
                    times[size].append(time.perf_counter() - start)
        seconds = [median(times[size]) for size in sizes]
        exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        for size, time_of_size in zip(sizes, seconds, strict=True):
            rows.append(
                {
                    "curve": what,
                    "against": against,
                    "size": size,
                    "seconds": round(time_of_size, 4),
                    "exponent": round(float(exponent), 3),
                    "peak_mb": extra_memory(jobs[size]),  # above the process that holds data and network
                }
            )
    table = pd.DataFrame(rows)
    folder = outputs_root() / "bench"
    with replacing(folder / "scaling.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_json(folder / "scaling_machine.json", made_by(CPU))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
