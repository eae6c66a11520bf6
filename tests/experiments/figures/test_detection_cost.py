"""What it costs to find wrong labels, against plain loops over epochs, networks and pairs of examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ensemble_oracles import kept

from turnover.config.compose import sweep
from turnover.errors import RefusedInput
from turnover.experiments.figures import detection_cost as study
from turnover.experiments.plots.notes import Source
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_scores


def pairs_in_order(scores: Mapping[Any, float], wrong: Mapping[Any, bool]) -> float:
    """How often a wrong label scores higher than a right one; ties count half."""
    found = [
        1.0 if scores[a] > scores[b] else 0.5 if scores[a] == scores[b] else 0.0
        for a in scores
        for b in scores
        if wrong[a] and not wrong[b]
    ]
    return sum(found) / len(found)


def source(experiment: str, *overrides: str) -> Source:
    configs = sweep([f"+experiment={experiment}", "scale=smoke", "logger=none", "seed=0", *overrides])
    execute(configs[0])
    return Source(configs[0], Run(configs[0]).folder)


def test_a_run_may_stop_after_every_scored_epoch() -> None:
    run = source("detection_cost")
    rows = study.rows(run)
    table = pd.read_parquet(run.folder / "scores.parquet")
    assert rows["epochs"].tolist() == sorted(table["epoch"].unique()) == [1, 2, 3]
    assert rows["trained"].tolist() == [200, 400, 600]
    for epoch, found in zip(rows["epochs"], rows["auroc"], strict=True):
        part = table[table["epoch"] == epoch].set_index("id")
        wrong = (part["label"] != part["true_label"]).to_dict()
        assert sum(wrong.values()) == 20
        assert found == pytest.approx(pairs_in_order(part["score"].to_dict(), wrong))


def test_an_ensemble_may_stop_after_every_network() -> None:
    run = source("detection_cost_ensemble", "epochs=3")
    rows, members, table = study.rows(run), kept(run.folder), read_scores(run.folder)
    wrong = (table["label"] != table["true_label"]).to_dict()
    ids, included = members["ids"].tolist(), members["included"]
    for count in (2, 5, 20):
        ensemble = rows[rows["networks"] == count].set_index("method")
        assert set(ensemble["trained"]) == {count * 140 * 3}
        right, loss = {}, {}
        for place, id in enumerate(ids):
            with_it = [n for n in range(count) if included[n, place]]
            without = [n for n in range(count) if not included[n, place]]
            if not with_it or not without:
                continue
            answers, odds = members["right"][:, place], members["confidence"][:, place].astype(float)
            right[id] = np.mean(answers[with_it]) - np.mean(answers[without])
            losses = np.log1p(np.exp(-odds))
            loss[id] = np.mean(losses[without]) - np.mean(losses[with_it])
        for method, scores in (("ensemble", right), ("ensemble, by losses", loss)):
            middle = float(np.median(list(scores.values())))
            filled = {id: float(np.float32(scores.get(id, middle))) for id in ids}
            assert ensemble.loc[method, "auroc"] == pytest.approx(pairs_in_order(filled, wrong))


def test_costs_are_counted_until_the_aim_is_reached_first() -> None:
    rows = [
        ("one turn-over run", 0, 100, 0.9),
        ("one turn-over run", 0, 200, 0.98),
        ("one turn-over run", 0, 300, 0.97),
        ("ensemble", 0, 9000, 0.99),  # few networks of many epochs, here, are cheaper
        ("ensemble", 0, 8000, 0.985),
        ("ensemble", 0, 7000, 0.979),
        ("ensemble, by losses", 0, 9000, 0.5),
    ]
    table = pd.DataFrame(rows, columns=["method", "seed", "trained", "auroc"])
    found = study.costs(table)
    assert list(found.loc[0]) == [200, 8000, np.inf]
    with pytest.raises(RefusedInput, match="seed 1 has not both"):
        study.costs(pd.concat([table, table.iloc[:1].assign(seed=1)]))
