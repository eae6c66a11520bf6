"""Labels from a file: what is read, and that every fault is named with its file, row and value."""

import csv
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from digits import digits
from hypothesis import given
from hypothesis import strategies as st

from turnover.config.run import RunConfig, identity
from turnover.data.datasets import load
from turnover.data.label_files import read_labels, relabelled
from turnover.errors import RefusedInput
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores

N, CLASSES = 20, 10


def saved(folder: Path, content: str | bytes | np.ndarray) -> Path:
    path = folder / ("labels.csv" if isinstance(content, str) else "labels.npy")
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


ROWS = np.array([[7, 3], [0, 9], [19, 0]])
ALL = np.arange(N) % CLASSES


@pytest.mark.parametrize(
    "content",
    [
        "id,label\n7,3\n0,9\n19,0\n",
        # of a spreadsheet: a mark, other columns, an empty line
        '\ufeffimage,label,id\r\nx,3,7\r\n\r\n"a,\nb",9, 0\r\ny,0,19',
        ROWS,
        ROWS.astype(np.uint8),
        ROWS.astype(">i4"),
    ],
)
def test_every_form_gives_the_same(content: str | np.ndarray, tmp_path: Path) -> None:
    ids, labels = read_labels(saved(tmp_path, content), N, CLASSES)
    assert (ids.tolist(), labels.tolist()) == ([7, 0, 19], [3, 9, 0])
    assert ids.dtype == labels.dtype == torch.int64


def test_a_label_for_every_example(tmp_path: Path) -> None:
    ids, labels = read_labels(saved(tmp_path, ALL.astype(np.int8)), N, CLASSES)
    assert (ids.tolist(), labels.tolist()) == (list(range(N)), ALL.tolist())


@given(data=st.data())
def test_examples_of_a_subset_have_the_labels_of_their_ids(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids = sorted(data.draw(st.sets(st.integers(0, N - 1), min_size=1)))
    given_labels = data.draw(st.dictionaries(st.integers(0, N - 1), st.integers(0, CLASSES - 1), min_size=1))
    old = torch.tensor([data.draw(st.integers(0, CLASSES - 1)) for _ in ids])
    text = "id,label\n" + "".join(f"{id},{label}\n" for id, label in given_labels.items())
    path = saved(tmp_path_factory.mktemp("labels"), text)
    if not set(ids) & set(given_labels):
        with pytest.raises(RefusedInput, match=f"none of the {len(ids)} training examples"):
            relabelled(path, old, torch.tensor(ids), N, CLASSES)
        return
    new = relabelled(path, old, torch.tensor(ids), N, CLASSES)
    assert new.tolist() == [given_labels.get(id, label) for id, label in zip(ids, old.tolist(), strict=True)]


BAD = {
    "": "line 1: no column id and label, but nothing",
    "id;label\n1;2\n": "line 1: no column id and label, but id;label",
    "id,labels\n1,2\n": "line 1: no column label, but id, labels",
    "id,label\n": "has no rows",
    "id,label\n1,2\n2,cat\n": "line 3: label = 'cat': must be a whole number",
    "id,label\n1,2\n\n2,3.0\n": "line 4: label = '3.0': must be a whole number",
    "id,label\n1,2\n2\n": "line 3: label = None: must be a whole number",
    "id,label\n1,10\n": "line 2: label = 10: a class is a number from 0 to 9",
    "id,label\n1,-1\n": "line 2: label = -1: a class is a number from 0 to 9",
    "id,label\n1,2\n20,3\n": "line 3: id = 20: a training example is a number from 0 to 19",
    f"id,label\n{10**30},3\n": f"line 2: id = '{10**30}': must be a whole number",
    "id,label\n5,2\n3,1\n4,1\n5,2\n3,1\n": "line 5: id = 5: has a label already, further up",
    "id,label\n1,²\n": "line 2: label = '²': must be a whole number",
}
BAD_ARRAYS = {
    "float": (ROWS.astype(float), r"holds float64 \[3, 2\]: must be whole numbers, \[20\] a label for each"),
    "bool": (ALL > 3, r"holds bool \[20\]"),
    "too few": (ALL[:-1], r"holds int64 \[19\]: must be whole numbers, \[20\] a label for each training example or"),
    "wide": (np.zeros((4, 3), dtype=int), r"holds int64 \[4, 3\]"),
    "none": (np.zeros((0, 2), dtype=int), r"holds int64 \[0, 2\]"),
    "one": (np.array(3), r"holds int64 \[\]"),
    "label": (np.array([[0, 1], [3, 12]]), "row 1: label = 12: a class is a number from 0 to 9"),
    "of all": (np.where(ALL == 4, 99, ALL), "row 4: label = 99"),
    "huge": (np.array([[2**64 - 1, 1]], dtype=np.uint64), f"row 0: id = {2**64 - 1}: a training example"),
    "twice": (np.array([[2, 1], [4, 1], [2, 1]]), "row 2: id = 2: has a label already"),
    "records": (np.array([(1, 2)], dtype=[("id", int), ("label", int)]), "holds "),
}


@pytest.mark.parametrize("content", BAD)
def test_a_fault_of_a_csv_file_is_named(content: str, tmp_path: Path) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(RefusedInput) as refused:
        read_labels(path, N, CLASSES)
    assert str(refused.value).startswith(f"corruption.path = {path}: {BAD[content]}")


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_a_fault_of_an_npy_file_is_named(case: str, tmp_path: Path) -> None:
    content, told = BAD_ARRAYS[case]
    path = saved(tmp_path, content)
    with pytest.raises(RefusedInput, match=told) as refused:
        read_labels(path, N, CLASSES)
    assert str(refused.value).startswith(f"corruption.path = {path}: ")


class Code:
    """A pickle of it makes a folder when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "several.npz", a=ALL)
    for content in (
        pickle.dumps(Code()),
        b"\x93NUMPY junk",
        b"",
        (tmp_path / "several.npz").read_bytes(),
    ):
        with pytest.raises(RefusedInput, match=r"corruption\.path"):
            read_labels(saved(tmp_path, content), N, CLASSES)
    np.save(tmp_path / "labels.npy", np.array([Code(), 3], dtype=object), allow_pickle=True)
    with pytest.raises(RefusedInput, match="cannot be read as npy, of numbers alone"):
        read_labels(tmp_path / "labels.npy", N, CLASSES)
    (tmp_path / "labels.csv").write_bytes(b"id,label\n1,\xff\n")
    with pytest.raises(RefusedInput, match="cannot be read as csv"):
        read_labels(tmp_path / "labels.csv", N, CLASSES)
    assert not (tmp_path / "ran").exists()


# --- as a run has it ---


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run on 60 digits, of which every third has the label after its own in the file, and some are not named."""
    clean = load(digits("dataset.limit=60").dataset, digits().corruption).train
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        for number, (id, label) in enumerate(zip(clean.ids.tolist(), clean.labels.tolist(), strict=True)):
            if number % 4:
                writer.writerow([id, (label + 1) % 10 if number % 3 == 0 else label])
    return of_file(tmp_path / "people.csv")


def of_file(path: Path, *overrides: str) -> RunConfig:
    small = ("dataset.limit=60", "epochs=2", "estimator=el2n", "turnover=off", "model.hidden=[8]")
    return digits(*small, "corruption=file", f'corruption.path="{path}"', *overrides)


def test_a_run_is_trained_on_them_and_keeps_the_label_of_the_data_set(config: RunConfig) -> None:
    table = read_scores(execute(config))
    clean = load(config.dataset, digits().corruption).train
    assert table.index.tolist() == clean.ids.tolist()
    assert table["true_label"].tolist() == clean.labels.tolist()
    assert config.corruption.path is not None
    file = pd.read_csv(config.corruption.path).set_index("id")["label"]
    expected = file.reindex(table.index).fillna(table["true_label"]).astype(int)
    assert table["label"].tolist() == expected.tolist()
    assert table["corrupted"].tolist() == (table["label"] != table["true_label"]).tolist()
    assert 10 < table["corrupted"].sum() < 20


def test_what_a_file_says_decides_the_identity_and_not_where_it_lies(config: RunConfig, tmp_path: Path) -> None:
    path = config.corruption.path
    assert path is not None
    content = Path(path).read_bytes()
    (tmp_path / "copy.csv").write_bytes(content)
    (tmp_path / "other.csv").write_bytes(content + b"\n")
    assert identity(of_file(tmp_path / "copy.csv")) == identity(config)
    assert identity(of_file(tmp_path / "other.csv")) != identity(config)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["corruption=file"], "corruption.path = '???': must be a csv or npy file that is there"),
        (["corruption=file", "corruption.path=none.csv"], "corruption.path = 'none.csv': must be a csv or npy file"),
        (["corruption=file", "corruption.path=null"], "corruption.path = None: must be a csv or npy file"),
        (["corruption=pair", "corruption.path=a.csv"], "corruption.path = 'a.csv': is for labels of a file: set"),
        (
            ["corruption=file", "corruption.path={path}", "corruption.count=3"],
            "corruption.count = 3: of a file as many",
        ),
        (["corruption=file", "corruption.path={path}", "subsets=labels"], "subsets=labels needs random labels"),
    ],
)
def test_what_does_not_go_with_a_file_is_refused(overrides: list[str], told: str, config: RunConfig) -> None:
    with pytest.raises(RefusedInput) as refused:
        digits(*(text.replace("{path}", str(config.corruption.path)) for text in overrides))
    assert str(refused.value).startswith(told)
