"""A user's own examples: folders and files as they should be, and everything that is refused by name."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from turnover.audit import collection, folders
from turnover.audit.collection import collect
from turnover.audit.folders import read_image
from turnover.errors import RefusedInput

GREY = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4) * 6


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 5 x 4 pixels in two classes."""
    save(tmp_path / "images" / "cat" / "a.png", GREY[0])
    save(tmp_path / "images" / "dog" / "b.png", GREY[1])
    save(tmp_path / "images" / "dog" / "a.PNG", GREY[0], format="PNG")
    return tmp_path / "images"


# --- folders ---


def test_a_folder_is_read_in_the_order_of_its_paths(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "dog" / ".DS_Store").write_text("")
    found = collect(folder, None)
    assert found.names == ("cat/a.png", "dog/a.PNG", "dog/b.png")
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.values.dtype == np.uint8
    np.testing.assert_array_equal(found.values, GREY[[0, 0, 1]][:, None])


def test_grey_and_coloured_images_go_together(folder: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    save(folder / "dog" / "c.webp", colours, lossless=True)
    found = collect(folder, None)
    assert found.values.shape == (4, 3, 5, 4)
    np.testing.assert_array_equal(found.values[3], colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.values[2], [GREY[1]] * 3)


def test_a_photograph_is_turned_as_its_camera_says(folder: Path) -> None:
    image = Image.fromarray(GREY[0])
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(folder / "cat" / "a.png", exif=exif)
    np.testing.assert_array_equal(collect(folder, None).values[0, 0], GREY[0][::-1, ::-1])


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_a_drawing_in_the_alpha_channel_is_seen(folder: Path, ink: int, mode: str) -> None:
    drawn = Image.new("RGBA", (2, 1), (ink, ink, ink, 0))
    drawn.putpixel((1, 0), (ink, ink, ink, 255))
    drawn.convert(mode).save(folder / "cat" / "drawn.png")
    pixels = read_image(folder / "cat" / "drawn.png", None)
    np.testing.assert_array_equal(pixels, np.broadcast_to([128, ink], (1 if mode == "LA" else 3, 1, 2)))


def test_images_of_several_sizes_are_resized_if_that_is_asked_for(folder: Path) -> None:
    save(folder / "dog" / "large.png", np.kron(GREY[0][:4], np.ones((8, 8), dtype=np.uint8)))
    with pytest.raises(
        RefusedInput, match=r"2 different sizes, 4 x 5 \(cat/a.png\), 32 x 32 \(dog/large.png\); set size"
    ):
        collect(folder, None)
    found = collect(folder, 4)
    assert found.values.shape == (4, 1, 4, 4)
    np.testing.assert_array_equal(found.values[3, 0], GREY[0][:4])


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


def test_what_is_no_image_is_left_out_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("notes.txt", "more.txt", "LICENSE"):
        (folder / "cat" / name).write_text("x")
    with caplog.at_level("WARNING", logger="turnover"):
        assert len(collect(folder, None)) == 3
    assert "3 files are no .png/.jpg/.jpeg/.webp and are left out: 2 of .txt, 1 of no suffix" in caplog.text


def cut(folder: Path) -> None:
    path = save(folder / "cat" / "cut.png", np.random.default_rng(0).integers(256, size=(90, 90), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:3000])


def bomb(folder: Path) -> None:
    save(folder / "cat" / "bomb.png", np.zeros((8000, 8000), dtype=np.uint8))


def disguised(folder: Path) -> None:
    save(folder / "cat" / "bad.png", GREY[0], format="TIFF")


def deep(folder: Path) -> None:
    save(folder / "cat" / "sixteen.png", GREY[0].astype(np.uint16))


def text(folder: Path) -> None:
    (folder / "dog" / "text.jpg").write_text("no image")


def empty(folder: Path) -> None:
    (folder / "dog" / "empty.webp").write_bytes(b"")


def link(folder: Path) -> None:
    (folder / "cat" / "out.png").symlink_to(save(folder.parent / "secret" / "a.png", GREY[0]))


def link_of_a_folder(folder: Path) -> None:
    save(folder.parent / "secret" / "a.png", GREY[0])
    (folder / "cow").symlink_to(folder.parent / "secret")


def nested(folder: Path) -> None:
    save(folder / "cat" / "black" / "a.png", GREY[0])


def one_class(folder: Path) -> None:
    (folder / "cat" / "a.png").unlink()


def no_images(folder: Path) -> None:
    for path in folder.glob("*/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (cut, "1 of 4 images cannot be used; mend or remove\n  cat/cut.png: .*truncated"),
        (bomb, "cat/bomb.png: 8000 x 8000 pixels are more than 50,000,000"),
        (disguised, "cat/bad.png: cannot identify image file"),
        (deep, "cat/sixteen.png: has more than 8 bits"),
        (text, "dog/text.jpg: cannot identify"),
        (empty, "dog/empty.webp: cannot identify"),
        (link, "out.png is a link that leads out of the folder"),
        (link_of_a_folder, "cow is a link that leads out of the folder"),
        (nested, "cat/black is a folder within a class; .*, give data=.*images/cat$"),
        (one_class, "all examples are of one class, 'dog'"),
        (no_images, "has no images; put those of each class into a subfolder"),
    ],
)
def test_a_folder_that_cannot_be_used(folder: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(folder)
    with pytest.raises(RefusedInput, match=told):
        collect(folder, None)


def test_every_damaged_image_is_counted(folder: Path) -> None:
    for number in range(12):
        (folder / "dog" / f"{number:02d}.jpg").write_text("no image")
    with pytest.raises(RefusedInput, match=r"12 of 15 images[^$]*dog/09.jpg[^$]*and 2 more") as refused:
        collect(folder, None)
    assert "dog/10.jpg" not in str(refused.value)


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "cat" / "same.png").symlink_to(folder / "dog" / "b.png")
    assert len(collect(folder, None)) == 4


def test_more_than_the_memory_holds_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST_BYTES", 59)
    with pytest.raises(RefusedInput, match="60 B unpacked, at most 59 B"):
        collect(folder, None)


def test_a_bomb_is_not_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb(folder)
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", lambda image: pytest.fail("unpacked"))
    assert "50,000,000" in str(folders.read_image(folder / "cat" / "bomb.png", None))


# --- npz files ---


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "own.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


Y = np.array([3, 7, 3])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 4), (3, 4)), ((3, 5, 4), (3, 1, 5, 4)), ((3, 3, 5, 4), (3, 3, 5, 4)), ((3, 5, 4, 3), (3, 3, 5, 4))],
)
def test_arrays_of_any_usual_order(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    found = collect(npz(tmp_path, x=x, y=Y), None)
    assert found.values.shape == expected
    assert found.images == (len(shape) > 2)
    first = x[0].transpose(2, 0, 1) if shape == (3, 5, 4, 3) else x[0]
    np.testing.assert_array_equal(found.values[0].reshape(first.shape), first)
    assert (found.classes, found.labels.tolist(), found.names) == (("3", "7"), [0, 1, 0], ("0", "1", "2"))


def test_names_of_classes_and_examples_are_kept(tmp_path: Path) -> None:
    ids = np.array(["p", "q", "r"])
    found = collect(npz(tmp_path, x=GREY[[0, 1, 0]] / 7, y=np.array(["cow", "ant", "cow"]), ids=ids), None)
    assert (found.classes, found.labels.tolist(), found.names) == (("ant", "cow"), [1, 0, 1], ("p", "q", "r"))
    assert found.values.dtype == np.float32


X = np.zeros((3, 5, 4))
HOLE = X.copy()
HOLE[1, 2, 3] = np.nan


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": X}, "needs arrays x and y, and may have ids; it has x"),
        ({"images": X, "labels": Y}, "it has images, labels"),
        ({"x": X, "y": Y[:2]}, r"got \(3, 5, 4\) and \(2,\)"),
        ({"x": X, "y": Y, "ids": np.arange(4)}, r"ids \[n\]"),
        ({"x": X, "y": Y, "ids": np.array([1, 2, 1])}, "ids must differ"),
        ({"x": X[0, 0, 0], "y": Y}, r"got \(\) and \(3,\)"),
        ({"x": X[:0], "y": Y[:0]}, "n at least 1"),
        ({"x": X, "y": Y * 0}, "all examples are of one class, '0'"),
        ({"x": HOLE, "y": Y}, "1 rows of x have values that are NaN, infinite or above 3e38, the first is row 1"),
        ({"x": X + 1e300, "y": Y}, "3 rows of x"),
        ({"x": np.zeros((3, 5, 4, 2)), "y": Y}, r"x of shape \(3, 5, 4, 2\)"),
        ({"x": X.astype(object), "y": Y}, "holds Python objects, which are not read as they could run code"),
        ({"x": X, "y": Y.astype(object)}, r"save plain arrays: x.astype\('uint8'\), y.astype\(str\)"),
    ],
)
def test_an_npz_file_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(RefusedInput, match=told):
        collect(npz(tmp_path, **arrays), None)


def test_an_npz_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path, x=np.zeros((3, 5000), dtype=np.uint8), y=Y)
    assert path.stat().st_size < 2000
    monkeypatch.setattr(collection, "MOST_BYTES", 10_000)
    monkeypatch.setattr(np, "load", lambda *arguments, **options: pytest.fail("unpacked"))
    with pytest.raises(RefusedInput, match="15 kB unpacked, at most 10 kB are read"):
        collect(path, None)


def test_files_that_are_no_collection(tmp_path: Path, folder: Path) -> None:
    damaged = npz(tmp_path, x=np.random.default_rng(0).random((3, 500)), y=Y)
    damaged.write_bytes(damaged.read_bytes()[:4000])
    (tmp_path / "text.npz").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("x.npy", "no array")
        archive.writestr("y.npy", "no array")
    for name, told in (
        ("own.npz", "is no undamaged npz file"),
        ("text.npz", "is no undamaged npz file"),
        ("other.npz", "other.npz: "),
        ("missing", "there is no such file or folder; give a folder"),
        ("images/cat/a.png", "is no folder and no npz file; give a folder .*numpy.savez"),
    ):
        with pytest.raises(RefusedInput, match=told):
            collect(tmp_path / name, None)
    with pytest.raises(RefusedInput, match="size = 8: is for folders"):
        collect(npz(tmp_path, x=X, y=Y), 8)
