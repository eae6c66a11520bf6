"""What is packed is what a reader finds: read back here as data.js does."""

import base64
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnover.experiments.report import explorer as packing
from turnover.experiments.report.explorer import FLOOR, STEPS, Packer, chosen, explorer
from turnover.experiments.report.sets import ExampleSet


def read(packer: Packer) -> dict[str, np.ndarray]:
    """Every column, by the description that the page holds."""
    content = zlib.decompress(base64.b64decode(packer.text()))
    found: dict[str, np.ndarray] = {}
    start = 0
    for field in packer.fields:
        size = field["bytes"] * packer.rows
        planes = np.frombuffer(content[start : start + size], np.uint8).reshape(field["bytes"], packer.rows).astype(int)
        whole = sum(plane * 256**place for place, plane in enumerate(planes))
        if field["kind"] == "number":
            found[field["key"]] = np.asarray(whole, np.uint16).view(np.float16).astype(float) * 2.0 ** field["exponent"]
        else:
            found[field["key"]] = np.asarray(whole)
        start += size
    assert start == len(content)
    return found


numbers = st.floats(allow_infinity=False, min_value=-1e30, max_value=1e30)


@given(st.lists(numbers, min_size=1, max_size=40))
def test_numbers_keep_three_digits(values: list[float]) -> None:
    array = np.array(values)
    packer = Packer(len(array))
    packer.numbers("score", array, "score", "")
    largest = float(np.nanmax(np.abs(array), initial=0.0))
    smallest = 2.0**-24 * 2.0 ** packer.fields[0]["exponent"]  # what half floats cannot tell from 0
    assert smallest <= max(2.0**-24, largest / 2**38)
    np.testing.assert_allclose(read(packer)["score"], array, rtol=5e-4, atol=smallest)


def test_several_columns_follow_each_other() -> None:
    ids, labels, scores = np.array([7, 65_536, 69_999]), np.array([9, -1, 0]), np.array([0.5, np.nan, -2.25])
    packer = Packer(3)
    packer.ids("id", ids)
    packer.classes("label", labels, "label")
    packer.numbers("score", scores, "score", "in nats")
    found = read(packer)
    assert found["id"].tolist() == ids.tolist()
    assert found["label"].tolist() == [9, 255, 0]
    np.testing.assert_array_equal(found["score"], scores)
    assert [field["key"] for field in packer.fields] == ["id", "label", "score"]


def test_curves_keep_what_a_chart_shows() -> None:
    losses = np.array([[2.3, 1e-9, np.nan], [0.01, 40.0, 0.0]])
    packer = Packer(3)
    packer.curves("own", losses, highest=40.0)
    found = read(packer)
    steps = np.array([found["own-0"], found["own-1"]])
    assert steps[0, 2] == 255
    back = FLOOR * (40.0 / FLOOR) ** (steps / STEPS)
    known = ~np.isnan(losses)
    step = (40.0 / FLOOR) ** (0.5 / STEPS)
    assert (back[known] <= np.maximum(losses[known], FLOOR) * step * 1.0001).all()
    assert (back[known] >= np.maximum(losses[known], FLOOR) / step * 0.9999).all()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (lambda packer: packer.ids("id", np.arange(4)), "'id' has 4 rows, the set has 3"),
        (lambda packer: packer.classes("label", np.array([0, 255, 1]), "label"), "'label' has class 255: at most 254"),
    ],
)
def test_what_cannot_be_packed_is_refused(column: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        column(Packer(3))


# --- of many examples the page holds a part ---


def many(count: int) -> ExampleSet:
    random = np.random.default_rng(1)
    table = pd.DataFrame({"label": random.integers(10, size=count)}, pd.RangeIndex(7, count + 7, name="id"))
    table["score"], table["loss"] = random.normal(size=(2, count))
    table.loc[table.index[::3], "loss"] = np.nan
    return ExampleSet("many", "many", "", "cifar10", table, {"score": "score", "loss": "loss"}, "scores.parquet")


def test_a_part_has_the_ends_of_every_number_and_the_others_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST", 1000)
    few, whole = many(1000), many(20_000)
    rows, extreme = chosen(few)
    assert rows.tolist() == list(range(1000))
    assert extreme == 1000
    rows, extreme = chosen(whole)
    assert len(rows) == len(set(rows.tolist())) == 1000
    first = set(rows[:extreme].tolist())
    for name in whole.numbers:
        rising = whole.table[name].reset_index(drop=True).dropna().sort_values().index
        assert set(rising[:125]) | set(rising[-125:]) <= first
    assert len(first) <= 500
    scores = whole.table["score"].to_numpy()
    others = np.delete(scores, rows[:extreme])
    assert scores[rows[extreme:]].mean() == pytest.approx(others.mean(), abs=4 * others.std() / 500**0.5)
    assert (np.diff(rows[extreme:]) > 0).all()


def test_the_page_does_not_grow_with_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    def pixels(ids: np.ndarray) -> np.ndarray:
        asked.append(ids)
        return np.zeros((len(ids), 32, 32, 3), dtype=np.uint8)

    monkeypatch.setattr(packing, "MOST", 2000)
    monkeypatch.setattr(packing, "at_hand", lambda dataset: True)
    monkeypatch.setattr(packing, "pixels", lambda dataset: pixels)
    sizes = []
    for count in (50_000, 200_000):
        asked.clear()
        made = explorer([many(count)], [], "smoke")
        assert not asked, "no image is read before the page is written"
        sizes.append(sum(len(text) for _, text in made.blobs))
        assert [len(ids) for ids in asked] == [1024, 976], "a sheet at a time"
        [about] = made.index["sets"]
        assert (about["rows"], about["whole"]) == (2000, count)
        assert "2,000" in about["about"]
        assert "scores.parquet" in about["about"]
    assert sizes[1] < 1.1 * sizes[0]
