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
from turnover.experiments.figures.interface import claims
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_scores

# operations of the smoke scale's networks for one example, products and sums apart: every weight once forwards, once
# for its gradient, and those after the hidden layer once for the gradient there
PIXELS, CLASSES, EXAMPLES = 784, 10, 200


def forwards(hidden: int) -> int:
    return 2 * hidden * (PIXELS + CLASSES)


def training(hidden: int) -> int:
    return 2 * forwards(hidden) + 2 * hidden * CLASSES


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
    assert rows["operations"].tolist() == [EXAMPLES * (epoch * training(64) + forwards(64)) for epoch in (1, 2, 3)]
    for epoch, found in zip(rows["epochs"], rows["auroc"], strict=True):
        part = table[table["epoch"] == epoch].set_index("id")
        wrong = (part["label"] != part["true_label"]).to_dict()
        assert sum(wrong.values()) == 20
        assert found == pytest.approx(pairs_in_order(part["score"].to_dict(), wrong))


def test_an_ordinary_network_stops_with_both_of_its_scores() -> None:
    run = source("detection_cost_one_run", "epochs=2")
    rows, table = study.rows(run).set_index("method"), read_scores(run.folder)
    wrong = (table["label"] != table["true_label"]).to_dict()
    scored = {"cumulative_loss": 0, "el2n": EXAMPLES * forwards(32)}  # the losses are those of the training passes
    for column, extra in scored.items():
        row = rows.loc[{"el2n": "EL2N of one network"}.get(column, "cumulative loss of one network")]
        assert (row["epochs"], row["trained"]) == (2, 400)
        assert row["operations"] == 400 * training(32) + extra
        rounded = {id: float(np.float32(score)) for id, score in table[column].items()}
        assert row["auroc"] == pytest.approx(pairs_in_order(rounded, wrong))


def test_an_ensemble_may_stop_after_every_network() -> None:
    run = source("detection_cost_ensemble", "epochs=3")
    rows, members, table = study.rows(run), kept(run.folder), read_scores(run.folder)
    wrong = (table["label"] != table["true_label"]).to_dict()
    ids, included = members["ids"].tolist(), members["included"]
    for count in (2, 5, 20):
        ensemble = rows[rows["networks"] == count].set_index("method")
        assert set(ensemble["trained"]) == {count * 140 * 3}
        assert set(ensemble["operations"]) == {count * (140 * 3 * training(32) + EXAMPLES * forwards(32))}
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
        for method, scores in (("ensemble by right answers", right), ("ensemble by losses", loss)):
            middle = float(np.median(list(scores.values())))
            filled = {id: float(np.float32(scores.get(id, middle))) for id in ids}
            assert ensemble.loc[method, "auroc"] == pytest.approx(pairs_in_order(filled, wrong))


def test_blocks_may_stop_after_every_pair_from_the_third() -> None:
    run = source("detection_cost_blocks", "estimator.blocks=8")
    rows, table = study.rows(run).set_index("networks"), read_scores(run.folder)
    wrong = (table["label"] != table["true_label"]).to_dict()
    assert rows.index.tolist() == [6, 8]
    assert rows["trained"].tolist() == [3 * 200 * 3, 4 * 200 * 3]  # a pair sees each example once in an epoch
    assert rows["operations"].tolist() == [
        pairs * EXAMPLES * (3 * training(8) + 2 * forwards(8)) for pairs in (3, 4)
    ]  # and each of its networks scores all of them
    whole = {id: float(np.float32(score)) for id, score in table["blocks"].items()}
    assert rows.loc[8, "auroc"] == pytest.approx(pairs_in_order(whole, wrong))
    first = source("detection_cost_blocks")  # three pairs alone
    assert rows.loc[6, "auroc"] == pytest.approx(study.rows(first)["auroc"].item())


def test_an_ordinary_training_costs_one() -> None:
    runs = [source("detection_cost"), source("detection_cost_one_run", "epochs=2")]
    numbers = study.tabulate(runs).numbers.set_index(["method", "epochs"])["cost"]
    assert numbers["cumulative loss of one network", 2] == pytest.approx(2 / 3)
    assert numbers["EL2N of one network", 2] == pytest.approx((2 + forwards(32) / training(32)) / 3)
    assert numbers["one turn-over run", 3] == pytest.approx(2 + 2 * forwards(32) / training(32) / 3)


# --- when the aim is reached, and what that decides ---

ONE_RUN = "one turn-over run"
# of each way two moments to stop at: cost, trained, AUROC
REACHED = {
    ONE_RUN: [(0.1, 100, 0.9), (0.2, 200, 0.98), (0.3, 300, 0.97)],
    "EL2N of one network": [(0.5, 500, 0.981), (0.9, 900, 0.99)],
    "cumulative loss of one network": [(0.3, 300, 0.979), (0.4, 400, 0.979)],
    "blocks": [(0.7, 700, 0.99), (2.0, 2000, 0.99)],
    "ensemble by losses": [(9.0, 9000, 0.99), (8.0, 8000, 0.985)],  # few networks of many epochs are cheaper here
    "ensemble by right answers": [(20.0, 30000, 0.98), (30.0, 20000, 0.98)],
}


def made(stops: Mapping[str, list[tuple[float, int, float]]], seeds: int = 3) -> pd.DataFrame:
    rows = [
        {"method": method, "epochs": 1, "networks": 1, "seed": seed, "cost": cost, "trained": trained, "auroc": auroc}
        for seed in range(seeds)
        for method, moments in stops.items()
        for cost, trained, auroc in moments
    ]
    return pd.DataFrame(rows)


def test_costs_are_counted_until_the_aim_is_reached_first() -> None:
    table = made(REACHED, seeds=1)
    assert list(study.costs(table).loc[0]) == [0.2, 0.5, np.inf, 0.7, 8.0, 20.0]
    assert list(study.costs(table, "trained").loc[0]) == [200, 500, np.inf, 700, 8000, 20000]
    until = study.summary(table, {})["cost_until"]
    assert (until[ONE_RUN], until["cumulative loss of one network"]) == ({"0": 0.2}, {"0": None})
    with pytest.raises(RefusedInput, match=r"seed 1 has no run of EL2N"):
        study.costs(pd.concat([table, table.iloc[:1].assign(seed=1)]))


def test_the_cheapest_of_those_that_reach_the_aim_decides() -> None:
    found = study.measures(made(REACHED, seeds=1))
    expected = {
        "saving": 2.5,  # of EL2N; cumulative loss had less, but never got there
        "saving_el2n": 2.5,
        "saving_cumulative_loss": 2.0,  # at least
        "saving_blocks": 3.5,
        "saving_losses": 40.0,
        "saving_right": 100.0,
        "examples_right": 100.0,
    }
    assert {name: value for name, [value] in found.items()} == pytest.approx(expected)


def verdict(stops: Mapping[str, list[tuple[float, int, float]]]) -> tuple[str, float]:
    [claim] = claims(configured("detection_cost"), Plotted(made(stops)), ["mnist"], "laptop")
    return claim.verdict, claim.measures[0].effect


def test_the_claim_holds_where_every_other_way_takes_more_and_fails_where_one_takes_less() -> None:
    never = [(1.0, 1000, 0.9)]
    assert verdict(REACHED)[0] == "reproduced"
    assert verdict(REACHED | {"EL2N of one network": [(0.1, 100, 0.98)]}) == ("not reproduced", pytest.approx(0.5))
    assert verdict(REACHED | {"blocks": [(0.2, 200, 0.98)]})[0] == "not reproduced"  # as much is no saving
    assert verdict(REACHED | {ONE_RUN: never}) == ("not reproduced", 0.0)
    nobody_else = dict.fromkeys(REACHED, never) | {ONE_RUN: [(0.5, 500, 0.99)]}
    assert verdict(nobody_else) == ("reproduced", pytest.approx(2.0))
    assert verdict(dict.fromkeys(REACHED, never)) == ("not reproduced", 0.0)
