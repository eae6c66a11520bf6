"""What people look at, of many examples: score tables, the report, an audit; each in a process of its own.

Of a page also what it is like in Chromium: the time until an example's image is there, and the memory of the tab.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import sync_playwright
from scaling import Images, alone
from tqdm import tqdm

import turnover
from turnover.audit.options import AuditConfig
from turnover.audit.work import audit
from turnover.config.compose import composed, plain
from turnover.config.parse import parse
from turnover.estimators.score import average
from turnover.experiments.figures.gallery import extremes
from turnover.experiments.report import explorer, sets
from turnover.experiments.report.make import ReportJob, make
from turnover.experiments.report.sets import ExampleSet
from turnover.runs.store.tables import read_scores, write_scores


def scored_table(count: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    classes = {name: random.integers(10, size=count) for name in ("own_prediction", "flipped_prediction")}
    losses = {name: random.standard_exponential(count, dtype=np.float32) for name in ("own_loss", "flipped_loss")}
    label = np.arange(count) % 10
    same = {"id": np.arange(count), "split": "train", "label": label, "true_label": label, "corrupted": False}
    score = losses["flipped_loss"] - losses["own_loss"]
    return pd.DataFrame({"epoch": 1, **same, "score": score, **losses, **classes}, copy=False)


def to_tabulate(count: int, folder: Path) -> float:
    write_scores(folder / "scores.parquet", scored_table(count))
    return 0.0


def tabled(count: int, folder: Path) -> float:
    """Read a score table, choose the gallery of figures 7 and 8, and draw the scores; return the seconds."""
    images = np.memmap(folder / "images", np.uint8, "w+", shape=(count, 3, 32, 32))
    start = time.perf_counter()
    table = average([read_scores(folder)])
    extremes(table)
    turnover.plot(table, images).savefig(folder / "plot.png")
    return time.perf_counter() - start


def reported(count: int, folder: Path) -> float:
    """Write the report of the committed figures and one set of examples; return the seconds."""
    images, numbers = Images(count).pixels, {name: name for name in ("score", "own_loss", "flipped_loss")}

    def pixels(ids: np.ndarray) -> np.ndarray:
        again, which = np.divmod(ids, len(images))
        return (images[which] ^ (again % 256).astype(np.uint8)[:, None, None, None]).transpose(0, 2, 3, 1)

    def of_store(*_: object) -> tuple[list[ExampleSet], list[str]]:
        table = scored_table(count).set_index("id")
        return [ExampleSet("large", f"{count:,} examples", "made", "cifar10", table, numbers, "scores.parquet")], []

    os.environ["TURNOVER_OUTPUTS"] = str(folder)
    start = time.perf_counter()
    with (
        patch.object(explorer, "at_hand", lambda dataset: True),
        patch.object(explorer, "pixels", lambda dataset: pixels),
        patch.object(sets, "from_store", of_store),
        patch.object(sets, "from_validation", lambda of: []),
    ):
        make(ReportJob(scale="laptop", examples=[]))
    return time.perf_counter() - start


def audited(count: int, folder: Path) -> float:
    """Audit images that are on disk, with features that are given; return the seconds."""
    given = [f"data={folder}/data", f"features=npz:{folder}/features.npz", f"output={folder}/out", "device=cpu"]
    start = time.perf_counter()
    audit(parse(AuditConfig, plain(composed(given, "audit"))))
    return time.perf_counter() - start


def to_audit(count: int, folder: Path) -> float:
    """Write different images of 32 x 32 pixels of ten classes, one label in twenty wrong, and features of them."""
    random = np.random.default_rng(0)
    true = np.arange(count) % 10
    label = np.where(random.random(count) < 0.05, (true + random.integers(1, 10, count)) % 10, true)
    for kind in range(10):
        (folder / "data" / str(kind)).mkdir(parents=True)
    names = [f"{label[number]}/{number:06}.png" for number in range(count)]
    for name in names:
        pixels = Image.fromarray(random.integers(256, size=(8, 8, 3), dtype=np.uint8))
        pixels.resize((32, 32), Image.Resampling.BICUBIC).save(folder / "data" / name, compress_level=1)
    features = (random.normal(size=(count, 128)) + 2 * np.eye(10, 128)[true]).astype(np.float32)
    np.savez(folder / "features.npz", ids=np.array(names), features=features)
    return 0.0


Job = Callable[[int, Path], float]
LARGE: dict[str, tuple[Job | None, Job, tuple[int, ...], str]] = {  # what comes before, and the page that is written
    "score table, gallery, plot": (to_tabulate, tabled, (10_000, 100_000, 1_000_000), ""),
    "report": (None, reported, (10_000, 100_000, 1_000_000), "report/index.html"),
    "audit, features given": (to_audit, audited, (5_000, 20_000, 100_000), "out/gallery.html"),
}


def large() -> pd.DataFrame:
    """Return seconds, the memory that imports do not take, and what pages are like, by the number of examples."""
    rows: list[dict[str, Any]] = []
    for what, (before, job, sizes, page) in LARGE.items():
        times: list[float] = []
        for size in tqdm(sizes, desc=what, leave=False):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if before:
                    alone(partial(before, size, folder))
                seconds, _, own = alone(partial(job, size, folder))
                times.append(seconds)
                rows.append({"what": what, "examples": size, "seconds": round(seconds, 1), "peak_mb": round(own)})
                if page:
                    rows[-1] |= {"page_mb": round((folder / page).stat().st_size / 1e6, 1), **opened(folder / page)}
        exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        for row in rows[-len(sizes) :]:
            row["exponent"] = round(float(exponent), 3)
    return pd.DataFrame(rows)


def opened(page: Path) -> dict[str, float]:
    """Return the seconds until Chromium shows the first example's image, median of 3, and the peak MB of the tab."""
    seconds, memory = [], 0.0
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        for _ in range(3):
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="commit")
            while not tab.evaluate("Boolean(document.querySelector('#rows [data-drawn], #suspects img'))"):
                tab.wait_for_timeout(20)
            seconds.append(time.perf_counter() - start)
            found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
            status = [Path(f"/proc/{each['id']}/status").read_text() for each in found if each["type"] == "renderer"]
            memory = max(memory, *(int(text.split("VmHWM:")[1].split()[0]) / 1024 for text in status))
            browser.close()
    return {"first_picture_s": round(median(seconds), 2), "tab_mb": round(memory)}
