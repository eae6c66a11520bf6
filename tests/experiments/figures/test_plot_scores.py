"""The picture of a score table: the examples that score highest, whatever their images are made of."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import turnover
from turnover.errors import RefusedInput

SCORES = np.array([0.5, 3.0, -1.0, 2.0, 0.0])


def table(**columns: object) -> pd.DataFrame:
    index = pd.Index([10, 20, 30, 40, 50], name="id")
    return pd.DataFrame({"score": SCORES, "label": [0, 1, 2, 0, 1], **columns}, index=index)


def shapes() -> dict[str, object]:
    grey = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    return {
        "bytes": grey.astype(np.uint8),
        "one channel first": torch.from_numpy(grey)[:, None].float() / 7 - 3,
        "one channel last": grey[..., None] / 60,
        "three channels first": torch.from_numpy(grey)[:, None].float().repeat(1, 3, 1, 1) - 9,
        "three channels last": np.repeat(grey[..., None], 3, axis=3).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", shapes())
def test_the_highest_ones_are_shown_in_order_with_their_images(kind: str) -> None:
    figure = turnover.plot(table(prediction=[1, 2, 2, 1, 0]), shapes()[kind], highest=3, classes=["cat", "dog", "cow"])
    shown = figure.axes[1:]
    assert [axes.get_title() for axes in shown] == ["dog → cow\n3", "cat → dog\n2", "cat → dog\n0.5"]
    images, levels = [axes.images[0].get_array() for axes in shown], []
    for image, position in zip(images, (1, 3, 0), strict=True):
        assert image is not None
        grey = np.asarray(image, dtype=float).reshape(4, 3, -1)[..., 0]
        expected = np.arange(60, dtype=float).reshape(5, 4, 3)[position]
        np.testing.assert_allclose(grey - grey.min(), (expected - expected.min()) * np.ptp(grey) / 11, atol=1e-6)
        levels.append(grey.min())
    assert levels[0] > levels[2], "position 1 is brighter than position 0 in all of these images"


def test_every_example_is_in_the_histogram_wrong_labels_apart() -> None:
    figure = turnover.plot(table(corrupted=[False, True, False, True, False]))
    heights = [sum(patch.get_height() for patch in container) for container in figure.axes[0].containers]
    assert heights == [3, 2]
    assert len(figure.axes) == 1, "no images, no gallery"
    same = turnover.plot(table().assign(score=1.0))
    assert sum(patch.get_height() for patch in same.axes[0].containers[0]) == 5


def test_the_backend_of_a_notebook_stays_and_no_figure_is_left_open() -> None:
    import matplotlib.pyplot as plt

    before, settings = plt.get_fignums(), dict(mpl.rcParams)
    turnover.plot(table(), shapes()["bytes"])
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize(
    ("images", "words"),
    [(np.zeros((4, 3, 3)), "are 4, and the table has 5"), (np.zeros((5, 2, 2, 2)), r"shape \(5, 2, 2, 2\): allowed")],
)
def test_images_that_are_not_those_of_the_table_are_refused(images: np.ndarray, words: str) -> None:
    with pytest.raises(RefusedInput, match=words):
        turnover.plot(table(), images)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"images": [np.zeros((3, 3)), np.zeros((4, 4))] + [np.zeros((3, 3))] * 3}, "give pictures of one size"),
        ({"images": object()}, "are a object: give an array"),
        ({"images": ["a.png"] * 5}, "are a list: give an array"),
        ({"images": np.zeros((5, 3, 3)), "classes": ["cat", "dog"]}, "have no name for 2"),
        ({"highest": 0}, "highest = 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedInput, match=words):
        turnover.plot(table(), **given)


def test_examples_without_a_score_are_left_out_and_counted() -> None:
    holes = table().assign(score=[0.5, np.nan, -1.0, np.inf, 0.0])
    figure = turnover.plot(holes, shapes()["bytes"])
    assert sum(patch.get_height() for patch in figure.axes[0].containers[0]) == 3
    assert [axes.get_title() for axes in figure.axes[1:]] == ["0\n0.5", "1\n0", "2\n-1"]
    assert "2 have none" in figure.axes[0].get_title("left")
    with pytest.raises(RefusedInput, match="none of 5 examples has a score"):
        turnover.plot(holes.assign(score=np.nan))


def test_the_learning_curve_is_that_of_the_networks() -> None:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    y, losses = (x[:, 0] > 0).long(), []

    def made() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    given: dict[str, Any] = {"lr": 0.1, "batch_size": 8, "estimator": "cumulative_loss", "progress": False}
    scored = turnover.memorization(made, x, y, 3, seeds=2, **given)
    for epochs in (1, 2, 3):  # each has the mean of the losses of its epochs, which are the first of three
        losses.append(epochs * turnover.memorization(made, x, y, epochs, seeds=2, **given)["score"].mean())
    np.testing.assert_allclose(scored.attrs["curve"]["loss"], np.diff(losses, prepend=0), rtol=1e-6)
    axes = turnover.plot(scored).axes[1]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines == scored.attrs["curve"]
    assert 0.5 < lines["accuracy"][-1] <= 1
    by_function = turnover.memorization(made, x, x[:, :2], 1, seeds=1, loss="squared", **given)
    assert list(by_function.attrs["curve"]) == ["loss"]
    ensemble = turnover.memorization(
        made, x, y, 1, seeds=1, **given | {"estimator": "blocks", "options": {"blocks": 6}}
    )
    assert "curve" not in ensemble.attrs


def test_a_table_without_scores_is_refused() -> None:
    with pytest.raises(RefusedInput, match="no column 'score', only label"):
        turnover.plot(table().drop(columns="score"))


def test_images_in_the_place_of_the_table_are_refused() -> None:
    with pytest.raises(RefusedInput, match=r"table is a ndarray: .*turnover\.plot\(table, images\)"):
        turnover.plot(np.zeros((5, 3, 3)), table())  # type: ignore[arg-type]
