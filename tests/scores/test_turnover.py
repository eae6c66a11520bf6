"""Scores of a trained network against the definition, one example at a time."""

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchvision

import turnover
from turnover.errors import RunFailed
from turnover.models.mlp import mlp
from turnover.scores.average import average
from turnover.scores.leakage import leakage

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


def test_resnet18_scores_equal_one_example_at_a_time() -> None:
    torch.manual_seed(0)
    model = turnover.attach(torchvision.models.resnet18(num_classes=4).double(), seed=6)
    x, y = torch.randn(5, 3, 16, 16, dtype=torch.float64), torch.randint(4, (5,))
    ids = torch.arange(5) + 2**24
    table = turnover.score(model, x, y, ids, batch_size=2)
    model.eval()
    for i in range(5):
        with torch.no_grad(), turnover.own(model, ids[i : i + 1]):
            own = oracles.cross_entropy(model(x[i : i + 1])[0], int(y[i]))
        with torch.no_grad(), turnover.flipped(model, ids[i : i + 1]):
            flipped = oracles.cross_entropy(model(x[i : i + 1])[0], int(y[i]))
        assert abs(table["score"].iloc[i] - (flipped - own)) < 1e-10


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
    # labels without any pattern: only an example's own part can know its label
    assert verdict["verdict"] == "leakage"
    assert "MASK LEAKAGE" in verdict["message"]


@pytest.mark.parametrize(
    ("own", "flipped", "expected"),
    [
        (0.55, 0.083, "leakage"),  # VGG-11 after 3 epochs, as measured in the study of mask leakage
        (0.34, 0.193, "none"),
        (0.10, 0.10, "not fitted"),
        (0.10, 0.30, "not fitted"),
        (0.98, 0.97, "none"),
        (0.12, 0.105, "leakage"),
    ],
)
def test_leakage_verdicts(own: float, flipped: float, expected: str) -> None:
    assert leakage(own, flipped, chance=0.1, examples=10_000).verdict == expected


def test_a_small_sample_needs_more_to_be_above_chance() -> None:
    assert leakage(0.2, 0.15, chance=0.1, examples=100_000).verdict == "none"
    assert leakage(0.2, 0.15, chance=0.1, examples=60).verdict == "not fitted"


def test_a_network_that_only_guesses_the_frequent_label_does_not_look_sound() -> None:
    assert leakage(1.0, 0.856, chance=0.899, examples=1000).verdict == "leakage"


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
