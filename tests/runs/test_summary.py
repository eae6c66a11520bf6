"""What a dashboard says of a run in single numbers and small tables, by hand."""

import numpy as np
import pandas as pd
import pytest

from turnover.runs.dashboard.summary import of_metrics, of_scores, quantiles
from turnover.runs.store.tables import Metric


def test_the_last_values_and_the_best_on_test_examples() -> None:
    accuracy, loss = (0.2, 0.9, 0.9, 0.5), (3.0, 2.0, 1.0, 4.0)
    rows = [Metric(epoch, "test", "easy", "full_accuracy", value) for epoch, value in enumerate(accuracy)]
    rows += [Metric(epoch, "test", "all", "full_loss", value) for epoch, value in enumerate(loss)]
    rows += [Metric(1, "test", "easy", "full_accuracy", 0.99, step=3)]  # a dashboard has none from within epochs
    rows += [Metric(epoch, "train", "all", "accuracy", epoch / 10) for epoch in range(4)]
    assert of_metrics(rows, 3) == {
        "test/easy/full_accuracy": 0.5,
        "test/full_loss": 4.0,
        "train/accuracy": 0.3,
        "best/test/easy/full_accuracy": 0.9,
        "best/test/easy/full_accuracy/epoch": 1,
        "best/test/full_loss": 1.0,
        "best/test/full_loss/epoch": 2,
    }


def scores(values: list[float], label: list[int], true_label: list[int], corrupted: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"score": values, "label": label, "true_label": true_label, "corrupted": corrupted})


def test_replaced_labels_may_be_right_ones() -> None:
    told = of_scores(scores([4.0, 1.0, 2.0, 3.0], [1, 0, 0, 0], [0, 0, 0, 0], [True, True, False, False]))
    assert told["scores/auroc_replaced_labels"] == 0.5
    assert told["scores/auroc_wrong_labels"] == 1.0
    assert told["scores/median"] == 2.5


@pytest.mark.parametrize("wrong", [True, False])
def test_where_all_labels_are_wrong_or_none_is_there_is_nothing_to_find(wrong: bool) -> None:
    told = of_scores(scores([1.0, 2.0], [int(wrong)] * 2, [0, 0], [wrong] * 2))
    assert set(told) == {"scores/median", "scores/skewness", "scores/top_tenth_share"}


def test_examples_without_a_score_are_left_out() -> None:
    table = scores([1.0, np.nan, 3.0, np.inf], [0, 1, 1, 1], [0, 0, 0, 0], [False, True, True, True])
    assert of_scores(table)["scores/median"] == 2.0
    assert of_scores(table)["scores/auroc_wrong_labels"] == 1.0
    told = quantiles(table)
    assert told["score"].iloc[[0, 100, -1]].tolist() == [1.0, 2.0, 3.0]
    assert told["share"].iloc[[0, 100, -1]].tolist() == [0.0, 0.5, 1.0]
