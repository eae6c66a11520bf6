"""An estimator of scikit-learn gives the scores of `turnover.memorization`."""

import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import nn

import turnover
from turnover.errors import RefusedInput
from turnover.integrations.sklearn import MemorizationScorer

X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def test_parameters_are_those_of_memorization() -> None:
    ours = inspect.signature(MemorizationScorer).parameters
    theirs = inspect.signature(turnover.memorization).parameters
    assert list(ours) == [name for name in theirs if name not in ("x", "y", "ids")]
    for name, parameter in ours.items():
        assert (parameter.default, parameter.kind) == (theirs[name].default, theirs[name].kind), name


def test_scores_are_those_of_memorization() -> None:
    scorer = MemorizationScorer(make_model, 3, 0.1, seeds=[4], p=0.3, progress=False)
    ids = np.arange(200)[::-1] + 7
    expected = turnover.memorization(make_model, X, Y, 3, 0.1, seeds=[4], p=0.3, ids=ids, progress=False)
    assert scorer.fit(X, Y, ids) is scorer
    pd.testing.assert_frame_equal(scorer.table_, expected, check_exact=True)
    np.testing.assert_array_equal(scorer.scores_, expected["score"])


def test_a_clone_has_every_parameter_and_no_scores() -> None:
    given: dict[str, Any] = {
        "make_model": make_model,
        "lr": 0.1,
        "seeds": [1, 2],
        "options": {"blocks": 6},
        "estimator": "blocks",
    }
    scorer = MemorizationScorer(**given)
    scorer.set_params(epochs=2, progress=False)
    copy = clone(scorer.fit(X, Y))
    assert copy.get_params() == scorer.get_params() | given | {"epochs": 2, "progress": False}
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)
    np.testing.assert_array_equal(copy.fit(X, Y).scores_, scorer.scores_)


def test_it_ends_a_pipeline() -> None:
    scorer = MemorizationScorer(make_model, 2, 0.1, seeds=1, progress=False)
    pipeline = make_pipeline(StandardScaler(), scorer).fit(X, Y)
    expected = clone(scorer).fit(StandardScaler().fit_transform(X), Y)
    np.testing.assert_array_equal(pipeline[-1].scores_, expected.scores_)


def test_wrong_parameters_are_refused_by_name() -> None:
    with pytest.raises(RefusedInput, match="epochs and lr must be given"):
        MemorizationScorer(make_model).fit(X, Y)
