"""Arrays of an npz file as examples, and everything that is refused by name."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from turnover.audit import limits
from turnover.audit.collection import collect
from turnover.errors import RefusedInput

GREY = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4) * 6


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
    monkeypatch.setattr(limits, "available", lambda: 500_010_000)
    monkeypatch.setattr(np, "load", lambda *arguments, **options: pytest.fail("unpacked"))
    with pytest.raises(RefusedInput, match="3 examples of 5000 need about 500 MB of memory, 500 MB are free"):
        collect(path, None)


def test_files_that_are_no_collection(tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
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
        ("image.png", "is no folder, csv, parquet or npz file; give a folder .*numpy.savez"),
    ):
        with pytest.raises(RefusedInput, match=told):
            collect(tmp_path / name, None)
    with pytest.raises(RefusedInput, match="size = 8: is for images"):
        collect(npz(tmp_path, x=X, y=Y), 8)


def test_minus_one_is_no_class_unless_it_is_said_to_be_one(tmp_path: Path) -> None:
    y = np.array([0, -1, 1])
    with pytest.raises(
        RefusedInput, match=r"y has 1 times -1, in rows 1: .* keep = y != -1; .*; if it is a class"
    ) as refused:
        collect(npz(tmp_path, x=X, y=y), None)
    scope = {"x": X, "y": y}
    exec(str(refused.value).partition("remove these rows from x and y: ")[2].partition("; if it is")[0], scope)
    assert collect(npz(tmp_path, x=scope["x"], y=scope["y"]), None).labels.tolist() == [0, 1]
    assert collect(npz(tmp_path, x=X, y=y.astype(str)), None).classes == ("-1", "0", "1")
    assert collect(npz(tmp_path, x=X, y=np.array([1, -1, 1])), None).classes == ("-1", "1")
