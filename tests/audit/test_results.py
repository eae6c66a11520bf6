"""Results of audits: a folder for each, notes that are kept, duplicates, names and paths of every kind."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import processes
import pytest
import torch
import yaml
from audits import config_of
from pictures import two_classes
from PIL import Image

from turnover.audit import duplicates
from turnover.audit.collection import collect
from turnover.audit.duplicates import contradictions, remark
from turnover.audit.labelled import Collection
from turnover.audit.options import AuditConfig
from turnover.audit.results import as_text, new_folder, write_csv
from turnover.audit.work import audit
from turnover.common.text import printable

QUICK = ("k=3", "epochs=1", "device=cpu", "model=mlp", "model.hidden=[4]")


def script(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.script(root / "scripts" / "audit.py", *arguments, environment=os.environ | environment, where=root)


# --- folders of results ---


def test_every_audit_has_a_folder_of_its_own(tmp_path: Path, outputs: Path) -> None:
    animals, fruit = tmp_path / "animals" / "train", tmp_path / "fruit" / "train"
    folders = [new_folder(data) for data in (animals, fruit, animals, animals)]
    assert len(set(folders)) == 4
    assert all(folder.is_dir() and folder.parent == outputs / "audit" for folder in folders)
    assert [folder.name.removeprefix(folders[0].name) for folder in folders[2:]] == ["-2", "-3"]
    assert all(folder.name.startswith("train-") for folder in folders)


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+1", "-a", "@SUM(A1)", "\t=1", "\n=1", "'=1", "''", "+-1"])
def test_no_cell_is_a_formula_and_each_can_be_had_back(cell: str) -> None:
    assert as_text(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "cat/a=b.png", "-1", "+2.5", "-12.0", "1e5", "a'b"])
def test_plain_text_and_numbers_stay_as_they_are(cell: str) -> None:
    assert as_text(cell) == cell


def test_a_csv_file_has_formulas_as_text_and_numbers_as_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"example": ["=1+1", "a,b"], "score": [-0.5, 2.0], "rank": [1, -2]}))
    assert (tmp_path / "t.csv").read_text() == 'example,score,rank\n\'=1+1,-0.5,1\n"a,b",2,-2\n'


def test_results_with_notes_are_not_replaced(tmp_path: Path, root: Path) -> None:
    data, output = two_classes(tmp_path / "data"), tmp_path / "out=1"
    (data / "cat" / "broken.png").write_text("no image")
    first = script(root, f"data={data}", f"output={output}", *QUICK)
    assert first.returncode == 0, first.stderr
    assert "Left out: 1 (1 no image" in first.stderr
    assert pd.read_csv(output / "unusable.csv").to_numpy().tolist() == [
        ["cat/broken.png", "no image, whatever its name says"]
    ]
    table = pd.read_csv(output / "suspects.csv")
    assert sorted(table["example"]) == sorted(
        f"{label}/{number}.png" for label in ("cat", "dog") for number in range(5)
    )
    options = yaml.safe_load((output / "options.yaml").read_text(encoding="utf-8"))
    assert options["data"] == str(data)
    assert AuditConfig.model_validate(options | {"output": None}).k == 3
    text = (output / "gallery.html").read_text(encoding="utf-8")
    assert text.index("Left out: 1 (") < text.index("The first is the most suspicious")
    assert text.count("<img ") == 3
    with (output / "suspects.csv").open("a") as file:
        file.write("a note\n")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    again = script(root, f"data={data}", f"output={output}", *QUICK)
    assert again.returncode == 2
    assert "holds the results of an audit" in again.stderr
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


# --- duplicates ---


def test_equal_pixels_with_two_labels_are_named(tmp_path: Path) -> None:
    data = two_classes(tmp_path)
    shutil.copy(data / "cat" / "1.png", data / "dog" / "copy.png")
    shutil.copy(data / "cat" / "2.png", data / "cat" / "copy.png")
    found = collect(data, None)
    same_as = dict(zip(found.names, contradictions(found).tolist(), strict=True))
    assert {name: other for name, other in same_as.items() if other} == {
        "cat/1.png": "dog/copy.png",
        "dog/copy.png": "cat/1.png",
    }
    assert remark({}) == []
    [sentence] = remark({name: other for name, other in same_as.items() if other})
    assert sentence.startswith("2 examples")
    assert "cat/1.png and dog/copy.png (column" in sentence


def test_of_many_equal_examples_each_names_one_with_another_label() -> None:
    found = Collection(np.zeros((5, 2)), np.array([1, 1, 0, 2, 1]), ("a", "b", "c"), tuple("pqrst"))
    assert contradictions(found).tolist() == ["r", "r", "p", "p", "r"]


def test_a_copy_that_was_made_smaller_or_compressed_is_named_and_comes_first(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        small = Image.fromarray(random.integers(256, size=(6, 6, 3), dtype=np.uint8))
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        small.resize((90, 60), Image.Resampling.BICUBIC).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    for name, options in (("b/copy.jpg", {"quality": 40}), ("a/copy.jpg", {})):
        Image.open(tmp_path / "a" / "4.png").resize((64, 64)).save(tmp_path / name, **options)  # type: ignore[arg-type]
    for shade in (100, 101):
        Image.new("L", (64, 64), shade).save(tmp_path / "ab"[shade % 2] / "flat.png")
    found = collect(tmp_path, 32)
    same_as = dict(zip(found.names, contradictions(found).tolist(), strict=True))
    assert same_as["a/4.png"] == same_as["a/copy.jpg"] == "b/copy.jpg"
    assert same_as["b/copy.jpg"] in ("a/4.png", "a/copy.jpg")
    assert sum(map(bool, same_as.values())) == 3, "no others, and nothing flat"
    text = (audit(config_of(tmp_path, *QUICK, "size=32", "k=4")) / "gallery.html").read_text()
    shown = re.findall(r'<span class="name">(.*?)</span>', text)
    assert set(shown[:3]) == {"a/4.png", "a/copy.jpg", "b/copy.jpg"}
    assert len(shown) == 4


def picture_oracle(values: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Of each example the most similar one with another label, if it is nearly the same, by all pairs."""
    blocks = values.astype(np.float64).reshape(len(values), 3, 16, 2, 16, 2).mean((3, 5))
    small = (blocks - blocks.mean((2, 3), keepdims=True)).reshape(len(values), -1)
    correlations = np.corrcoef(small)
    correlations[labels[:, None] == labels] = 0
    best, most = correlations.argmax(1), correlations.max(1)
    return {row: int(best[row]) for row in np.flatnonzero(most >= 0.995).tolist()}


@pytest.mark.parametrize("cells", [2, 6, 32], ids=["few patterns", "photographs", "noise"])
def test_nearly_equal_images_among_many_are_those_of_all_pairs(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random, labels = np.random.default_rng(cells), np.arange(1200) % 3
    values = np.stack(
        [
            np.asarray(Image.fromarray(random.integers(256, size=(cells, cells, 3), dtype=np.uint8)).resize((32, 32)))
            for _ in labels
        ]
    )
    for row in range(0, 400, 2):  # copies, from exact ones to hardly alike, with the same label or another
        noise = random.normal(size=(32, 32, 3)) * row / 8
        values[row + 600 + row % 3] = (values[row] + noise).clip(0, 255)
    images = values.transpose(0, 3, 1, 2)
    expected = picture_oracle(images, labels)
    assert 20 < len(expected) < 1200
    monkeypatch.setattr(duplicates, "_LEAF", 50)
    found = duplicates._nearest(Collection(images, labels, tuple("abc"), tuple(map(str, range(1200)))))
    assert found == expected


def test_each_image_is_compared_with_some_others_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_LEAF", 64)
    random = np.random.default_rng(0)
    for count in (2000, 8000):
        pictures = duplicates._pictures(random.integers(256, size=(count, 3, 32, 32), dtype=np.uint8))
        groups = list(duplicates._groups(pictures, torch.arange(count), np.random.default_rng(0)))
        assert sum(len(rows) ** 2 for rows in groups) < 4 * 64 * count
        assert torch.cat(groups).unique().tolist() == list(range(count))


def test_images_that_are_alike_are_halved_too_and_too_many_that_are_the_same_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(duplicates, "_LEAF", 64)
    monkeypatch.setattr(duplicates, "_MOST", 500)
    random, count, labels = np.random.default_rng(0), 2000, np.arange(2000) % 2
    common = random.integers(256, size=(3, 32, 32))
    similar = (0.5 * common + 0.5 * random.integers(256, size=(count, 3, 32, 32))).astype(np.uint8)
    groups = list(duplicates._groups(duplicates._pictures(similar), torch.arange(count), np.random.default_rng(0)))
    assert max(map(len, groups)) < count / 2
    same = similar.copy()
    same[:800] = common + random.integers(-1, 2, size=(800, 3, 32, 32)).clip(-common, 255 - common)
    same[-1], same[-2] = similar[1000], similar[1001]
    found = duplicates._nearest(Collection(same, labels, ("a", "b"), tuple(map(str, range(count)))))
    assert "images are so alike" in caplog.text
    assert found.keys() <= {1000, 1001, 1998, 1999}


# --- names and paths ---


@pytest.mark.parametrize(
    ("name", "expected"), [(b"caf\xe9", r"caf\xe9"), ("写真".encode(), "写真"), (b"\xff\xfe", r"\xff\xfe")]
)
def test_printable_names_can_be_written(name: bytes, expected: str) -> None:
    assert printable(os.fsdecode(name)) == expected
    assert printable("\ud800").encode("utf-8") == rb"\ud800"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_an_audit_of_names_that_no_file_can_hold_ends_well(tmp_path: Path, root: Path, encoding: str) -> None:
    data = two_classes(tmp_path / os.fsdecode(b"d\xe9cor, caf\xc3\xa9"))
    (data / "cat" / "3.png").rename(data / "cat" / os.fsdecode(b"caf\xe9.png"))
    done = script(root, f"data={data}", *QUICK, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "outputs" / "audit").iterdir()
    assert folder.name.startswith(r"d\xe9cor, café-")
    assert r"cat/caf\xe9.png" in pd.read_csv(folder / "suspects.csv")["example"].tolist()
    assert r"d\xe9cor, café" in (folder / "gallery.html").read_text(encoding="utf-8")


NAMES = [
    "epoch=3-step=100",
    "cats,dogs",
    "holiday (2)",
    "2024",
    "写真",
    "set#1",
    "[a]{b}",
    "Anna's",
    '"both"',
    "a$b ${c}",
    "\\",
    "a b ",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_can_be_said_on_the_command_line(name: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from turnover.runs.cli import _as_is

    for path in (name, f"/data/{name}/train", f"../{name}"):
        override = OverridesParser.create().parse_override(_as_is(f"data={path}", ("data",)))
        assert not override.is_sweep_override()
        value = path[1:-1] if path == '"both"' else path  # quotes of older commands, for Hydra
        assert OmegaConf.to_container(OmegaConf.create({"data": override.value()}), resolve=True) == {"data": value}
    assert _as_is(f"other={name}", ("data",)) == f"other={name}"
    assert _as_is("output=null", ("output",)) == "output=null"


def test_the_script_and_the_door_take_such_a_path(tmp_path: Path, root: Path) -> None:
    for name in ("2024", "Anna's $(1,2) = #写真"):
        folder = tmp_path / name
        folder.mkdir()
        done = processes.script(
            root / "scripts" / "audit.py", f"data={name}", environment=dict(os.environ), where=tmp_path
        )
        assert done.returncode == 2
        assert f"{name}: has no images" in done.stderr, done.stderr
    command = ["make", "-f", str(root / "Makefile"), "-o", ".venv/installed", "audit", f"DATA={folder}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{name}: has no images" in done.stderr, done.stderr
