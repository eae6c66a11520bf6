"""Time what users wait for, each against its rival, interleaved in one run; medians. Writes outputs/bench/bench.csv.

The machine may be noisy: only ratios of neighbouring measurements mean anything. Where no other network is named it is
the MLP 784-4096-10, batch 256. "The same arithmetic" is that of the matrix products or convolutions of a training step,
forward and backward, done in products of matrices of 2048 x 2048 (8192 x 8192 on a GPU): the machine at its best.
"""

import argparse
import ctypes
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F
from commands import commands
from contestants import (
    BATCH,
    EXAMPLES,
    MLP_WORK,
    UNITS,
    at_best,
    blocks,
    by_pytorch,
    compiled,
    cosines_of,
    ensembles,
    epochs,
    image_networks,
    influences,
    network,
    packed,
    sine_masks,
    some_epochs,
)
from contestants_gradients import agreeing, lengths
from contestants_labels import Search, of_digits
from contestants_language import exposure, training
from tqdm import tqdm

from turnover.common.device import describe
from turnover.common.files import outputs_root, replacing, write_json
from turnover.common.memory import keep_freed
from turnover.config.compose import sweep
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.core.masks import MaskRule
from turnover.gradients.sets import set_gradients
from turnover.models.conv import vgg11
from turnover.models.cvt import cvt
from turnover.runs.store.provenance import now, provenance
from turnover.training.stack import STACK

SLOW = ("mean cosine", "lengths", "influence", "wrong labels", "scores of", "exposure")  # a third of the rounds
COMMANDS = "commands, from their start to their end"


Contestants = Mapping[str, Callable[[], object] | None]  # None: one that cannot do it, which the table says


def interleaved(name: str, contestants: Contestants, rounds: int) -> list[dict[str, object]]:
    """Return median milliseconds of each contestant, run in turns, and the median ratio to the first one."""
    able = {contestant: function for contestant, function in contestants.items() if function is not None}
    times: dict[str, list[float]] = {contestant: [] for contestant in able}
    for number in tqdm(range(rounds + 2), desc=name, leave=False):
        for contestant, function in able.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            if number >= 2:  # the first two rounds warm up
                times[contestant].append(1000 * (time.perf_counter() - start))
    first = times[next(iter(times))]
    rows: list[dict[str, object]] = []
    for contestant in contestants:
        rows.append({"comparison": name, "contestant": contestant})
        if milliseconds := times.get(contestant):
            ratio = median(a / b for a, b in zip(milliseconds, first, strict=True))
            rows[-1] |= {"ms": round(median(milliseconds), 3), "ratio": round(ratio, 3), "rounds": rounds}
    return rows


def made_by(device: torch.device) -> dict[str, object]:
    """Return what times depend on: commit, versions, machine, threads, device; and the date."""
    return provenance() | {"threads": torch.get_num_threads(), "device": describe(device), "made": now()}


def extra_memory(function: Callable[[], object]) -> float:
    """Return the MB by which a call, not the first one, raises the peak memory of a process of its own."""

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    ours, theirs = os.pipe()
    if os.fork() == 0:
        torch.set_num_threads(1)  # threads do not survive a fork
        function()  # what libraries set up once is not the call's
        ctypes.CDLL(None).malloc_trim(0)  # memory that is free but held would hide what the call takes
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
        before = kilobytes("VmRSS")
        function()
        os.write(theirs, str(kilobytes("VmHWM") - before).encode())
        os._exit(0)
    os.wait()
    return round(int(os.read(ours, 64)) / 1024, 1)


def comparisons(device: torch.device, folder: Path) -> dict[str, Contestants]:
    """Return the contestants of every comparison but that of commands; they write to `folder`."""
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
    every = sweep([])[0].tracking.every
    return {
        "training, 50 steps": {
            "plain": epochs(False, data),
            "turn-over dropout": epochs(True, data),
            "plain, products by PyTorch": by_pytorch(epochs(False, data)),
            "turn-over dropout, products by PyTorch": by_pytorch(epochs(True, data)),
            "plain, compiled": epochs(False, data, compiled(network(False, device))),
            "turn-over dropout, compiled": epochs(True, data, compiled(network(True, device))),
            **at_best(EXAMPLES * MLP_WORK, device, torch.float32),
        },
        f"training VGG-11, {steps} steps": image_networks(lambda: vgg11(3, 10), 32, 3, steps, device),
        f"training the transformer, {steps} steps": image_networks(
            lambda: cvt((1, 28, 28), 10, dim=128, depth=2, heads=2, mlp_ratio=1, convolutions=2), 28, 1, steps, device
        ),
        f"training the language model, {25 * steps} steps": training(25 * steps, device),
        "exposure of 100 canaries": exposure(100, device),
        f"{every} epochs of 12,800 examples": some_epochs(every, data, folder),
        "scoring against training, 12,800 examples": {
            "training epoch": epochs(True, data),
            "own + flipped scores": lambda: evaluate(masked, data, (own_units, flipped_units)),
        },
        "mean cosine of 60,000 gradients": {
            "training epoch": epochs(False, whole),
            "exact, of the whole set": lambda: set_gradients(plain, whole).cosine(),
        },
        "mean cosine of a batch of 256, MLP": cosines_of(plain, data.inputs[:BATCH].float() / 255, labels[:BATCH]),
        "mean cosine of a batch of 64, VGG-11": cosines_of(vgg, torch.randn(64, 3, 32, 32, device=device), labels[:64]),
        "influence of 60,000 examples on 100": influences(whole, 100),
        **({**lengths(), **of_digits()} if device.type == "cpu" else {}),
        "masks of a batch": {
            "hash on the fly": lambda: rule.multiplier(ids, UNITS, 0, flipped=False, dtype=torch.float32),
            "packed table of 60,000": packed(rule, ids),
            "sine of a float": lambda: sine_masks(ids),
            "F.dropout": lambda: F.dropout(hidden, 0.5),
        },
        **{f"{STACK} networks 784-{units}-10": ensembles(units, device) for units in (32, 64, 128, 512)},
        "scores of 3,000 examples": blocks(3000, 30, device),
        "scores of 60,000 examples": blocks(60_000, 3, device),
        "a batch of inputs": {
            "uint8, normalised in the step": lambda: pixels[ids].float().mul_(scale),
            "float32, normalised once": lambda: normal[ids],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison (medians; default 9)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (default) or cuda")
    parser.add_argument("--only", default="", help="comparisons with this in their name, into bench/part")
    given = parser.parse_args()
    rounds, device = given.rounds, given.device
    keep_freed()  # as runs do
    warnings.filterwarnings("ignore", message="Full backward hook")  # of networks whose inputs have no gradient
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, contestants in comparisons(device, Path(scratch)).items():
            if given.only not in name:
                continue
            slow = name.startswith(SLOW)
            if name.startswith("lengths"):
                contestants = agreeing(contestants)
            long = any(word in name for word in ("training", "networks", "epoch"))
            rows += interleaved(name, contestants, max(1, rounds // 3) if slow else rounds if long else 20 * rounds)
            for row, function in zip(rows[-len(contestants) :], contestants.values(), strict=True):
                if isinstance(function, Search):
                    row |= function.quality()
                elif function is not None and slow and device.type == "cpu":
                    row["peak_mb"] = extra_memory(function)
        if given.only in COMMANDS:
            rows += interleaved(COMMANDS, commands(Path(scratch)), rounds)
    table = pd.DataFrame(rows)
    # a part does not take the place of the whole
    folder = outputs_root() / "bench" / ("part" if given.only else "")
    with replacing(folder / "bench.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_json(folder / "machine.json", made_by(device))
    print(table.to_string(index=False))
    print(folder / "bench.csv")


if __name__ == "__main__":
    main()
