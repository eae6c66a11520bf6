"""What is packed is what a reader finds: read back here as data.js does."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnover.experiments.report.explorer import FLOOR, STEPS, Packer


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
