"""Measure how time and memory grow with examples, units, seeds and tracked examples; fits t = c n^k.

Writes outputs/bench/scaling.csv and scaling_machine.json. The sizes of a curve are measured in turns; medians.
MLP 784-units-10, batch 256, CPU.

With --streamed instead: streamed.csv, one epoch and scores of images of 3 x 32 x 32 by `turnover.memorization`, held in
memory, read batch by batch, or read by another process; up to a million of them (about 15 minutes).
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark import extra_memory, made_by
from contestants import BATCH, UNITS, unit
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import turnover
from turnover.common.files import outputs_root, replacing, write_json
from turnover.common.memory import keep_freed
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.models.conv import conv
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


class Images(Dataset[tuple[Tensor, int, int]]):
    """As many different images as one likes, in the memory of 10,000."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pixels = np.random.default_rng(0).integers(256, size=(10_000, 3, 32, 32), dtype=np.uint8)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        again, which = divmod(index, len(self.pixels))
        return torch.from_numpy((self.pixels[which] ^ again % 256).astype(np.float32) / 255), which % 10, index


def held(count: int) -> object:
    images = Images(count)
    x = torch.empty(count, 3, 32, 32)
    for index in range(count):
        x[index] = images[index][0]
    return x, torch.arange(count) % 10_000 % 10


READ: dict[str, tuple[Callable[[int], object], tuple[int, ...]]] = {
    "held in memory": (held, (10_000, 100_000)),
    "read batch by batch": (Images, (10_000, 100_000, 1_000_000)),
    "read by another process": (lambda n: DataLoader(Images(n), batch_size=BATCH, num_workers=1), (10_000, 100_000)),
}


def streamed(rounds: int) -> pd.DataFrame:
    """Return seconds for a thousand images and peak memory of a process that does nothing else."""
    rows = []
    for count in (10_000, 100_000, 1_000_000):
        ways = {what: given for what, (given, counts) in READ.items() if count in counts}
        times: dict[str, list[float]] = {what: [] for what in ways}
        peaks: dict[str, float] = {}
        for _ in tqdm(range(rounds if len(ways) > 1 else 1), desc=f"{count:,} images", leave=False):
            for what, given in ways.items():
                seconds, peaks[what] = alone(partial(of_images, given, count))
                times[what].append(seconds)
        for what in ways:
            per_thousand = round(median(times[what]) / count * 1000, 3)
            rows.append({"images are": what, "images": count, "s for 1,000": per_thousand, "peak_mb": peaks[what]})
    return pd.DataFrame(rows)


def of_images(given: Callable[[int], object], count: int) -> float:
    """Return the seconds that scores take, without those of making images that are held."""
    data = given(count)
    x, y = data if isinstance(data, tuple) else (data, None)
    start = time.perf_counter()
    common: dict[str, Any] = {"seeds": 1, "batch_size": BATCH, "device": "cpu", "progress": False}
    turnover.memorization(partial(conv, 3, 10), x, y, epochs=1, lr=0.02, **common)
    return time.perf_counter() - start


def alone(job: Callable[[], float]) -> tuple[float, float]:
    """Return what a job returns in a process of its own, and the peak memory of that, in MB."""
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            keep_freed()  # as runs do
            seconds = job()
            peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            os.write(theirs, f"{seconds} {peak / 1024:.1f}".encode())
            code = 0
        finally:
            os._exit(code)
    os.close(theirs)
    if status := os.waitpid(child, 0)[1]:
        raise SystemExit(f"a process that was measured ended with {os.waitstatus_to_exitcode(status)}")
    found = [float(number) for number in os.read(ours, 64).split()]
    return found[0], found[1]


def write(name: str, table: pd.DataFrame) -> None:
    folder = outputs_root() / "bench"
    with replacing(folder / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_json(folder / f"{name}_machine.json", made_by(CPU))
    print(table.to_string(index=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each curve (medians; default 7)")
    parser.add_argument("--streamed", action="store_true", help="time data sets that are read batch by batch")
    given = parser.parse_args()
    if given.streamed:
        write("streamed", streamed(min(given.rounds, 3)))
        return
    rounds, rows = given.rounds, []
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
    write("scaling", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
