"""A score table that cleanlab takes as its own."""

import numpy as np
import pandas as pd
import pytest
import torch
from cleanlab.classification import CleanLearning
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import turnover
from turnover.data.corruption import corrupt
from turnover.errors import RefusedInput
from turnover.integrations.cleanlab import label_issues

TABLE = pd.DataFrame(
    {
        "score": [0.5, 3.0, 0.5, -1.0],
        "flipped_prediction": [1, 1, 1, 1],
        "label": [0, 1, 2, 0],
        "prediction": [0, 2, 1, 0],
    },
    index=pd.Index(["a", "b", "c", "d"], name="id"),
)


def test_quality_falls_with_the_score_and_issues_are_what_predictions_contradict() -> None:
    expected = pd.DataFrame(
        {
            "is_label_issue": [False, True, True, False],
            "label_quality": [0.5, 0.125, 0.5, 0.875],
            "given_label": [0, 1, 2, 0],
            "predicted_label": [0, 2, 1, 0],
        },
        index=TABLE.index,
    )
    pd.testing.assert_frame_equal(label_issues(TABLE), expected)


@pytest.mark.parametrize(("count", "marked"), [(0, ""), (1, "b"), (2, "ab"), (4, "abcd")])
def test_a_count_marks_the_highest_scores(count: int, marked: str) -> None:
    without = TABLE.drop(columns="prediction")
    issues = label_issues(without, count)
    assert "".join(issues.index[issues["is_label_issue"]]) == marked
    assert "predicted_label" not in issues


@pytest.mark.parametrize(
    ("table", "count", "message"),
    [
        (TABLE.drop(columns="label"), None, "must have a class number"),
        (TABLE.assign(label=0.5), None, "must have a class number"),
        (TABLE[:0], None, "must have a class number"),
        (TABLE.drop(columns="prediction"), None, "no column prediction.*give count="),
        (TABLE, 5, "count = 5: must be from 0 to the 4"),
        (TABLE, -1, "count = -1"),
    ],
)
def test_a_table_that_does_not_suit_is_refused(table: pd.DataFrame, count: int | None, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        label_issues(table, count)


def test_cleanlab_trains_without_the_issues() -> None:
    x, true = load_digits(return_X_y=True)
    x, true = x[:600] / 16, true[:600]
    y = corrupt(torch.tensor(true), 10, 90, seed=0)[0].numpy()
    table = turnover.memorization(
        lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
        x,
        y,
        20,
        0.1,
        32,
        seeds=2,
        predictions=True,
        progress=False,
    )
    issues = label_issues(table)
    learner = CleanLearning(LogisticRegression(max_iter=300)).fit(x, y, label_issues=issues)
    kept = ~issues["is_label_issue"].to_numpy()
    expected = LogisticRegression(max_iter=300).fit(x[kept], y[kept])
    np.testing.assert_array_equal(learner.predict(x), expected.predict(x))
    assert learner.get_label_issues()["label_quality"].equals(issues["label_quality"])
    assert (issues["is_label_issue"] == (y != true)).mean() > 0.9
    assert issues["label_quality"][y != true].mean() < 0.2
