"""The audit measured where wrong labels are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from turnover.experiments.validation import audits
from turnover.experiments.validation.audits import add, done, measure, mislabelled, name_of, options, summary, write


def test_exactly_so_many_labels_are_wrong() -> None:
    collection, wrong = mislabelled("digits", 200, 0.05, 3)
    true = load_digits().target[[int(name) for name in collection.names]]
    np.testing.assert_array_equal(true != collection.labels, wrong)
    assert (len(collection), wrong.sum()) == (200, 10)
    assert mislabelled("digits", 200, 0.05, 4)[0].names != collection.names


def test_a_draw_of_few_digits_is_ranked_by_regression(tmp_path: Path) -> None:
    config = options().model_copy(update={"epochs": 2})
    row = measure(config, "digits", 200, 0.1, 0)
    assert row["accuracy_regression"] > row["accuracy_networks"] + 0.1
    assert row["audit"] == row["regression"] >= 0.6
    assert row["low"] <= row["share"] <= row["high"]
    path = tmp_path / "draws.csv"
    add(path, row | {"draw": 1, "audit": 0.5, "share": 0.1, "low": 0.0, "high": 0.2})
    add(path, row | {"audit": 0.7, "share": 0.3, "low": 0.2, "high": 0.4})
    assert pd.read_csv(path)["draw"].tolist() == [0, 1]
    assert done(path) == {("digits", "pixels", 200, 0.1, 0), ("digits", "pixels", 200, 0.1, 1)}
    [of_both] = summary(pd.read_csv(path)).to_dict("records")
    assert of_both["audit"] == pytest.approx(0.6)
    assert (of_both["share_min"], of_both["share_max"], of_both["covered"], of_both["draws"]) == (0.1, 0.3, 0.5, 2)
    assert done(tmp_path / "none.csv") == set()
    write(tmp_path / "means.csv", summary(pd.read_csv(path)))
    assert len(pd.read_csv(tmp_path / "means.csv")) == 1


def test_with_features_of_a_pretrained_network_regression_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    config = options("features=package:efficientnet-lite0", "size=32")
    assert name_of(config) == "package:efficientnet-lite0, 32 pixels"
    assert name_of(options()) == "pixels"
    pixels: list[np.ndarray] = []

    def of_pixels(values: np.ndarray, network: object) -> np.ndarray:
        pixels.append(values)
        return values.reshape(len(values), -1).astype(np.float32)

    monkeypatch.setattr(audits, "frozen", lambda *args: None)
    monkeypatch.setattr(audits, "features_of_images", of_pixels)
    row = measure(config, "digits", 200, 0.1, 0)
    assert len(pixels) == 1
    assert row["audit"] == row["regression"] >= 0.6
    assert "training" not in row
    [both] = summary(pd.DataFrame([row | {"training": np.nan, "accuracy_networks": np.nan}])).to_dict("records")
    assert both["features"] == name_of(config)
