"""A csv file of paths and labels as the data of an audit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import GREY, save

from turnover.audit.collection import collect
from turnover.audit.held_out import folds_of
from turnover.errors import RefusedInput


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder of two images, to write a table beside them."""
    save(tmp_path / "pictures" / "1.png", GREY[0])
    save(tmp_path / "pictures" / "2.png", GREY[1])
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label\npictures/2.png,dog\npictures/1.png,cat\n", "utf-8"),
        ("path;label\r\npictures/2.png;dog\r\npictures/1.png;cat\r\n", "utf-8-sig"),
        ("note\tlabel\tpath\n\tdog\t pictures/2.png\n\tcat\t pictures/1.png\n", "utf-8"),
    ],
)
def test_rows_are_examples_in_their_order(images: Path, text: str, encoding: str) -> None:
    found = collect(write(images, text, encoding), None)
    assert found.names == ("pictures/2.png", "pictures/1.png")
    assert [found.classes[label] for label in found.labels] == ["dog", "cat"]
    np.testing.assert_array_equal(found.values[:, 0], GREY[::-1])


def test_absolute_paths_and_ids(images: Path) -> None:
    path = write(images, f'path,label,id\n"{images / "pictures" / "1.png"}",x,p 1\npictures/2.png,y,p 2\n')
    assert collect(path, 4).names == ("p 1", "p 2")


def test_rows_that_are_no_examples_are_left_out(images: Path) -> None:
    rows = [
        "pictures/1.png,a",
        "pictures/2.png,b",
        "pictures/1.png,a",
        "pictures/1.png,",
        "pictures/2.png,nan",
        ",a",
        "3.png,c",
    ]
    found = collect(write(images, "\n".join(["path,label", *rows])), None)
    assert found.names == ("pictures/1.png", "pictures/2.png")
    assert found.left_out == (
        ("3.png", "missing"),
        ("pictures/1.png", "row that comes twice: rows 2 and 4"),
        ("pictures/1.png", "without a label: empty, row 5"),
        ("pictures/2.png", "without a label: nan, row 6"),
        ("row 7", "without a path"),
    )
    assert found.lost_classes == ("c",)


def test_minus_one_is_a_missing_label_among_class_numbers_alone(images: Path) -> None:
    rows = "path,label\npictures/1.png,0\npictures/2.png,{other}\npictures/1.png,-1\n"
    assert collect(write(images, rows.format(other="1")), None).classes == ("0", "1")
    assert collect(write(images, rows.format(other="many")), None).classes == ("-1", "0", "many")


def test_one_image_may_have_two_labels(images: Path) -> None:
    found = collect(write(images, "path,label\npictures/1.png,a\npictures/1.png,b\n"), None)
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        (
            "file,class\npictures/1.png,a\n",
            "utf-8",
            "needs columns path and label, and may have id and group; it has file, class",
        ),
        ("", "utf-8", "it has none: let its first row be path,label"),
        ("path,label\n", "utf-8", "has no row with a path and a label"),
        ("path,label\ncafé.png,a\n", "latin-1", "is no text in UTF-8 .*; save it as CSV UTF-8"),
        (
            "path,label,id\npictures/1.png,a,1\npictures/2.png,b,1\n",
            "utf-8",
            "ids must be there and differ, '1' comes 2",
        ),
        ("path,label\n1.png,a\n2.png,b\n", "utf-8", "2 of 2 images cannot be used.*\n  1.png: missing"),
    ],
)
def test_a_table_that_cannot_be_used(images: Path, text: str, encoding: str, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        collect(write(images, text, encoding), None)


# --- parquet, and groups ---


def test_a_parquet_file_is_read_as_a_csv_file_is(images: Path) -> None:
    table = pd.DataFrame({"path": ["pictures/2.png", "pictures/1.png", None], "label": [7, 3, 3], "extra": [1.5, 2, 3]})
    table.to_parquet(images / "labels.parquet")
    found = collect(images / "labels.parquet", None)
    assert found.names == ("pictures/2.png", "pictures/1.png")
    assert [found.classes[label] for label in found.labels] == ["7", "3"]
    assert [entry.why for entry in found.left_out] == ["without a path"]
    table[["path"]].to_parquet(images / "labels.parquet")
    with pytest.raises(RefusedInput, match="needs columns path and label"):
        collect(images / "labels.parquet", None)
    (images / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(RefusedInput, match="cannot be read as parquet"):
        collect(images / "labels.parquet", None)


def test_a_group_is_read_with_its_examples(images: Path) -> None:
    found = collect(write(images, "path,label,group\npictures/1.png,a,x\npictures/2.png,b,\n"), None)
    assert found.groups == ("x", "")
    assert collect(write(images, "path,label\npictures/1.png,a\npictures/2.png,b\n"), None).groups == ("", "")


def test_folds_keep_groups() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=300)
    groups = tuple("" if number % 3 else f"g{number // 15}" for number in range(300))
    fold = folds_of(labels, 5, groups)
    for name in set(groups) - {""}:
        assert len({fold[row] for row in range(300) if groups[row] == name}) == 1
    assert len({fold[row] for row in range(300) if not groups[row]}) == 5
    assert folds_of(labels, 5, ("",) * 300).tolist() == folds_of(labels, 5).tolist()
