"""A user's own images: folders with whatever else is in them, and what is refused by name."""

import logging
import os
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import GREY, save, two_classes

from turnover.audit import limits, loading
from turnover.audit.collection import collect
from turnover.audit.labelled import Collection
from turnover.errors import RefusedInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 5 x 4 pixels in two classes."""
    save(tmp_path / "images" / "cat" / "a.png", GREY[0])
    save(tmp_path / "images" / "dog" / "b.png", GREY[1])
    save(tmp_path / "images" / "dog" / "a.PNG", GREY[0], format="PNG")
    return tmp_path / "images"


def test_a_folder_is_read_in_the_order_of_its_paths(folder: Path) -> None:
    found = collect(folder, None)
    assert found.names == ("cat/a.png", "dog/a.PNG", "dog/b.png")
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.values.dtype == np.uint8
    np.testing.assert_array_equal(found.values, GREY[[0, 0, 1]][:, None])
    assert (found.left_out, found.lost_classes, found.remarks()) == ((), (), [])


def test_grey_and_coloured_images_go_together(folder: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    save(folder / "dog" / "c.webp", colours, lossless=True)
    found = collect(folder, None)
    assert found.values.shape == (4, 3, 5, 4)
    np.testing.assert_array_equal(found.values[3], colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.values[2], [GREY[1]] * 3)


def test_images_of_several_sizes_are_resized_if_that_is_asked_for(folder: Path) -> None:
    save(folder / "dog" / "large.png", np.kron(GREY[0][:4], np.ones((8, 8), dtype=np.uint8)))
    with pytest.raises(
        RefusedInput, match=r"2 different sizes, 4 x 5 \(cat/a.png\), 32 x 32 \(dog/large.png\); .* set size=32"
    ):
        collect(folder, None)
    found = collect(folder, 4)
    assert found.values.shape == (4, 1, 4, 4)
    np.testing.assert_array_equal(found.values[3, 0], GREY[0][:4])


# --- what is left out ---


def cut(folder: Path) -> None:
    path = save(folder / "cat" / "cut.png", np.random.default_rng(0).integers(256, size=(5, 4), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:50])


def bomb(folder: Path) -> None:
    save(folder / "cat" / "bomb.png", np.zeros((8000, 8000), dtype=np.uint8))


def text(folder: Path) -> None:
    (folder / "dog" / "text.jpg").write_text("<!DOCTYPE html>")


def empty(folder: Path) -> None:
    (folder / "dog" / "empty.webp").write_bytes(b"")


def dead_link(folder: Path) -> None:
    (folder / "cat" / "dead.png").symlink_to(folder / "nowhere.png")


def circle(folder: Path) -> None:
    (folder / "cat" / "one.png").symlink_to(folder / "cat" / "two.png")
    (folder / "cat" / "two.png").symlink_to(folder / "cat" / "one.png")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "cat" / "pipe.png")


def macos(folder: Path) -> None:
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    (folder / "__MACOSX" / "cat" / "._a.png").write_bytes(b"\0\5\26\7")
    (folder / "cat" / "._a.png").write_bytes(b"\0\5\26\7")


def other_files(folder: Path) -> None:
    (folder / "labels.txt").write_text("cat")
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "dog" / "LICENSE").write_text("x")


def link_around(folder: Path) -> None:
    (folder / "self").symlink_to(folder)
    (folder / "cat" / "up").symlink_to(folder.parent)


def same_folder(folder: Path) -> None:
    (folder / "a kitten").symlink_to(folder / "cat")


def same_file(folder: Path) -> None:
    (folder / "cat" / "1.png").symlink_to(folder / "cat" / "a.png")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut, {"cat/cut.png": "damaged: "}),
        (bomb, {"cat/bomb.png": "too large: 8000 x 8000 pixels are more than 50,000,000"}),
        (text, {"dog/text.jpg": "no image"}),
        (empty, {"dog/empty.webp": "empty"}),
        (dead_link, {"cat/dead.png": "dead link"}),
        (circle, {"cat/one.png": "dead link", "cat/two.png": "dead link"}),
        (fifo, {"cat/pipe.png": "no regular file"}),
        (macos, {"__MACOSX": "hidden, or of macOS", "cat/._a.png": "hidden, or of macOS"}),
        (
            other_files,
            {
                "labels.txt": "in no class folder",
                "cat/notes.txt": "of another kind: .txt",
                "dog/LICENSE": "of another kind: no suffix",
            },
        ),
        (link_around, {"self": "link to a folder around it", "cat/up": "link to a folder around it"}),
        (same_folder, {"a kitten": "link to the same folder: cat"}),
        (same_file, {"cat/1.png": "link to the same file: cat/a.png"}),
    ],
)
def test_what_cannot_be_used_is_left_out_and_named(
    folder: Path, spoil: Callable[[Path], None], expected: dict[str, str]
) -> None:
    spoil(folder)
    found = collect(folder, None, unusable=1)
    assert found.names == ("cat/a.png", "dog/a.PNG", "dog/b.png")
    np.testing.assert_array_equal(found.values, GREY[[0, 0, 1]][:, None])
    left_out = dict(found.left_out)
    assert left_out.keys() == expected.keys()
    assert all(left_out[path].startswith(why) for path, why in expected.items()), left_out


def test_a_damaged_image_in_colour_leaves_grey_ones_grey(folder: Path) -> None:
    path = save(folder / "cat" / "cut.png", np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:60])
    assert collect(folder, None).values.shape == (3, 1, 5, 4)


def test_remarks_count_what_is_left_out_and_name_classes_that_are_lost(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    for number in range(3):
        (folder / "dog" / f"{number}.txt").touch()
    (folder / "emu").mkdir()
    (folder / "owl").mkdir()
    (folder / "owl" / "a.heic").touch()
    empty(folder)
    with caplog.at_level("WARNING", logger="turnover"):
        found = collect(folder, None)
    assert (found.classes, found.lost_classes) == (("cat", "dog"), ("emu", "owl"))
    first, second = found.remarks()
    assert "Left out: 7 (4 of another kind, 2 class folder without images, 1 empty)" in first
    assert "emu, owl" in second
    assert caplog.messages == [first, second]


def test_classes_that_differ_in_case_alone_are_named(folder: Path) -> None:
    save(folder / "Cat" / "c.png", GREY[1])
    save(folder / "hot dog" / "d.png", GREY[1] + 1)
    [remark] = collect(folder, None).remarks()
    assert "'Cat' and 'cat'" in remark
    assert "dog" not in remark


def test_links_are_followed_and_may_give_a_file_to_two_classes(folder: Path) -> None:
    store = save(folder.parent / "store" / "x.png", GREY[1])
    (folder / "cat" / "linked.png").symlink_to(store)
    (folder / "dog" / "linked.png").symlink_to(store)
    save(folder.parent / "cows" / "x.png", GREY[1])
    (folder / "cow").symlink_to(folder.parent / "cows")
    found = collect(folder, None)
    assert found.names == ("cat/a.png", "cat/linked.png", "cow/x.png", "dog/a.PNG", "dog/b.png", "dog/linked.png")
    assert found.left_out == ()


def test_names_that_are_no_utf8_are_written_with_escapes(folder: Path) -> None:
    (folder / "cat" / "a.png").rename(folder / "cat" / os.fsdecode(b"caf\xe9.png"))
    (folder / "dog").rename(folder / os.fsdecode(b"\xfcberhund"))
    found = collect(folder, None)
    assert found.names[0] == r"cat/caf\xe9.png"
    assert found.classes == ("cat", r"\xfcberhund")


# --- what is refused ---


def nested(folder: Path) -> None:
    save(folder / "cat" / "black" / "a.png", GREY[0])


def one_class(folder: Path) -> None:
    (folder / "cat" / "a.png").unlink()


def no_images(folder: Path) -> None:
    for path in folder.glob("*/*"):
        path.unlink()
    macos(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nested, "cat/black is a folder within a class; .*, give data=.*images/cat$"),
        (one_class, "all examples are of one class, 'dog'"),
        (no_images, "has no images; put those of each class into a subfolder .*left out: __MACOSX"),
    ],
)
def test_a_folder_that_cannot_be_used(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(RefusedInput, match=message):
        collect(folder, None)


def test_more_than_a_share_of_damaged_images_is_refused_and_then_allowed(folder: Path) -> None:
    for number in range(3):
        (folder / "dog" / f"{number:02d}.jpg").write_text("no image")
    assert len(collect(folder, None)) == 3, "half of them"
    for number in range(3, 12):
        (folder / "dog" / f"{number:02d}.jpg").write_text("no image")
    with pytest.raises(RefusedInput, match=r"12 of 15 images[^$]*dog/09.jpg[^$]*and 2 more") as refused:
        collect(folder, None)
    assert "dog/10.jpg" not in str(refused.value)
    assert "set unusable=1 " in str(refused.value)
    assert len(collect(folder, None, unusable=1).left_out) == 12


def test_a_strict_audit_leaves_no_image_out_but_other_files(folder: Path) -> None:
    other_files(folder)
    assert len(collect(folder, None, unusable=0)) == 3
    empty(folder)
    with pytest.raises(RefusedInput, match="1 of 4 images cannot be used"):
        collect(folder, None, unusable=0)


def test_no_usable_image_at_all_is_refused_whatever_is_allowed(folder: Path) -> None:
    for path in folder.glob("*/*"):
        path.write_text("no image")
    with pytest.raises(RefusedInput, match=r"3 of 3 images cannot be used.*mend or remove them\n"):
        collect(folder, None, unusable=1)


# --- memory ---


def photograph(path: Path, width: int, height: int) -> None:
    """Write a black png of any size in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" * (3 * width + 1)) * height)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def test_large_photographs_are_refused_by_their_headers_and_fit_as_is_advised(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_classes(folder)
    for path in folder.glob("*/*"):
        path.unlink()
    photograph(folder / "cat" / "0.png", 2000, 1500)
    for number in range(1, 40):
        os.link(folder / "cat" / "0.png", folder / ("cat", "dog")[number % 2] / f"{number}.png")
    monkeypatch.setattr(limits, "available", lambda: 1_000_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "read_image", lambda *options: pytest.fail("decoded"))
        with pytest.raises(RefusedInput, match=r"40 examples of 3 x 1500 x 2000 need about 2\.7 GB") as refused:
            collect(folder, None)
    assert "set size=512, which needs 689 MB, or take at most 9 examples, or of photographs" in str(refused.value)
    assert collect(folder, 512).values.shape == (40, 3, 512, 512)
    for number in range(9, 40):
        (folder / ("cat", "dog")[number % 2] / f"{number}.png").unlink()
    assert len(collect(folder, None)) == 9


def test_inputs_have_mean_0_and_variance_1_in_each_channel(folder: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    colours[..., 2] = 9
    save(folder / "dog" / "c.png", colours)
    inputs = collect(folder, None).inputs()
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std((0, 2, 3)), 1, atol=1e-6)
    flat = collect(folder, None).values[:, 0].reshape(4, -1).astype(float)
    np.testing.assert_allclose(inputs[:, 0].reshape(4, -1), (flat - flat.mean()) / flat.std(), atol=1e-5)


@pytest.mark.parametrize("shape", [(500, 3, 64, 64), (7000, 900)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_blocks_of_inputs_are_standardized_as_the_whole(shape: tuple[int, ...], kind: type) -> None:
    values: np.ndarray = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    over = (0, 2, 3) if len(shape) == 4 else (0,)
    whole = values.astype(np.float32)
    whole -= values.mean(over, dtype=np.float64, keepdims=True).astype(np.float32)
    whole /= values.std(over, dtype=np.float64, keepdims=True).astype(np.float32)
    found = Collection(values, np.zeros(shape[0], dtype=np.int64), ("a", "b"), ("",) * shape[0])
    np.testing.assert_allclose(found.inputs(), whole, rtol=0, atol=1e-6)


def test_inputs_take_little_more_memory_than_their_float32_copy() -> None:
    values = np.random.default_rng(0).integers(0, 256, (8000, 3, 64, 64), dtype=np.uint8)
    found = Collection(values, np.zeros(8000, dtype=np.int64), ("a", "b"), ("",) * 8000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found.inputs()
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert extra < 4.5 * values.nbytes + 100e6
