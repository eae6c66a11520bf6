"""Scores of a trained network against the definition, one example at a time."""

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import turnover
from turnover.errors import RunFailed
from turnover.estimators.score import average
from turnover.models.mlp import mlp

COLUMNS = ["score", "own_loss", "flipped_loss", "own_prediction", "flipped_prediction", "label"]


def trained(seed: int = 0) -> tuple[torch.nn.Sequential, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    x, y = torch.randn(40, 12, dtype=torch.float64), torch.randint(3, (40,))
    ids = torch.randperm(1000)[:40]
    model = turnover.attach(mlp(12, [24, 16], 3).double(), p=0.5, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for _ in range(60):
        optimizer.zero_grad()
        with turnover.own(model, ids):
            F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, x, y, ids


def test_scores_equal_the_definition() -> None:
    model, x, y, ids = trained()
    table = turnover.score(model, x, y, ids)
    assert list(table.columns) == COLUMNS
    assert table.index.name == "id"
    assert table.index.tolist() == ids.tolist()
    for i, id in enumerate(ids):
        masks = [turnover.mask(id.view(1), units, layer, 0)[0] for layer, units in enumerate((24, 16))]
        own, flipped = (
            oracles.cross_entropy(oracles.cut_out(model, masks, flipped=turned, p=0.5)(x[i : i + 1])[0], int(y[i]))
            for turned in (False, True)
        )
        row = table.loc[int(id)]
        assert abs(row["own_loss"] - own) < 1e-10
        assert abs(row["flipped_loss"] - flipped) < 1e-10
        assert abs(row["score"] - (flipped - own)) < 1e-10
        assert row["label"] == int(y[i])
    assert table["score"].mean() > 0.5, "random labels are memorized, so the trained network must show it"


def test_order_and_subsets_of_the_data_change_no_score() -> None:
    model, x, y, ids = trained()
    table = turnover.score(model, x, y, ids)
    some = torch.tensor([30, 2, 17])
    part = turnover.score(model, x[some].numpy(), y[some].tolist(), ids[some].int())
    pd.testing.assert_frame_equal(part, table.loc[ids[some].tolist()], check_exact=False, rtol=1e-12)
    assert turnover.score(model, x, y).index.tolist() == list(range(40))


def test_the_leakage_verdict_comes_with_the_table() -> None:
    model, x, y, ids = trained()
    verdict = turnover.score(model, x, y, ids).attrs["leakage"]
    assert verdict["chance"] == pytest.approx(float(y.bincount().max()) / 40)
    assert verdict["own_accuracy"] > 0.9
    # labels without any pattern: the images of others tell nothing of an example's label, so only masks can
    assert verdict["verdict"] in ("leakage", "flipped at chance")
    assert verdict["message"].startswith(verdict["verdict"].upper().replace("LEAKAGE", "MASK LEAKAGE"))


def test_a_diverged_network_gives_no_scores() -> None:
    model, x, y, ids = trained()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(RunFailed, match="NaN or infinite"):
        turnover.score(model, x, y, ids)


def test_average_of_seeds() -> None:
    model, x, y, ids = trained()
    tables = [turnover.score(model, x, y, ids) for _ in range(3)]
    tables[1]["score"] += 3.0
    tables[1]["own_prediction"] = 2
    tables[2]["own_prediction"] = 2
    tables[2]["flipped_prediction"] = 1 - tables[2]["flipped_prediction"].clip(0, 1)
    mean = average(tables)
    np.testing.assert_allclose(mean["score"], tables[0]["score"] + 1.0)
    assert (mean["own_prediction"] == 2).all()
    assert (mean["label"] == tables[0]["label"]).all()
    with pytest.raises(ValueError, match="different examples"):
        average([tables[0], tables[1].iloc[::-1]])
    tables[1]["label"] = 0
    with pytest.raises(ValueError, match="disagree about column 'label'"):
        average(tables)
    with pytest.raises(ValueError, match="no score table"):
        average([])


def a_table(shift: float) -> pd.DataFrame:
    """As an estimator other than turn-over dropout writes it."""
    columns = {
        "split": ["train", "train", "test"],
        "label": [3, 1, 4],
        "corrupted": [True, False, False],
        "score": np.array([0.5, -1.0, 2.0], dtype=np.float32) + np.float32(shift),
        "aum": np.array([1.0, 2.0, 3.0]) + shift,
        "vog": np.array([0.0, np.nan, 1.0]) + shift,
    }
    return pd.DataFrame(columns, index=pd.Index([7, 9, 1500], name="id"))


def test_average_of_every_column_of_floats() -> None:
    tables = [a_table(shift) for shift in (0.0, 1.0, 5.0)]
    before = [table.copy() for table in tables]
    mean = average(tables)
    assert list(mean.columns) == list(tables[0].columns)
    assert mean["score"].tolist() == pytest.approx([2.5, 1.0, 4.0])
    assert mean["aum"].tolist() == pytest.approx([3.0, 4.0, 5.0])
    assert mean["vog"].tolist() == pytest.approx([2.0, np.nan, 3.0], nan_ok=True)
    for name in ("split", "label", "corrupted"):
        assert mean[name].tolist() == tables[0][name].tolist()
        assert mean[name].dtype == tables[0][name].dtype
    for table, kept in zip(tables, before, strict=True):
        pd.testing.assert_frame_equal(table, kept)
    tables[2]["corrupted"] = ~tables[2]["corrupted"]
    with pytest.raises(ValueError, match="disagree about column 'corrupted'"):
        average(tables)


def test_a_column_that_only_some_tables_have_is_left_out() -> None:
    """Networks of some seeds may be too few for an estimate that others allow."""
    tables = [a_table(0.0), a_table(2.0).drop(columns="vog"), a_table(4.0).drop(columns="aum")]
    mean = average(tables)
    assert list(mean.columns) == ["split", "label", "corrupted", "score"]
    assert mean["score"].tolist() == pytest.approx([2.5, 1.0, 4.0])
