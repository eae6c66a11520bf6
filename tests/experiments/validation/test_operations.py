"""What runs cost: operations by formulas, and a run of narrow networks that leaves the costs of others alone."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.experiments.validation.estimates import Condition, gather
from turnover.experiments.validation.operations import of_scoring, of_training
from turnover.runs.execute import execute

SMALL = ("scale=smoke", "logger=none", "dataset=digits", "dataset.limit=60", "dataset.test_limit=20", "device=cpu")


def config(*overrides: str) -> RunConfig:
    [found] = sweep([*SMALL, *overrides])
    return found


@pytest.mark.parametrize("hidden", [[7], [32], [9, 5]])
def test_operations_of_linear_layers(hidden: list[int]) -> None:
    found = config(f"model.hidden={str(hidden).replace(' ', '')}")
    sizes = [64, *hidden, 10]
    forwards = [2 * a * b for a, b in pairwise(sizes)]
    assert of_scoring(found) == sum(forwards)
    # the gradient of every weight, and of the inputs of all layers but the first
    assert of_training(found) == 3 * sum(forwards) - forwards[0]


def test_operations_of_convolutions() -> None:
    found = config("model=conv", "model.width=4")
    forwards = [2 * 9 * 1 * 4 * 16, 2 * 9 * 4 * 8 * 4, 2 * 9 * 8 * 16 * 1, 2 * 16 * 10]
    assert of_scoring(found) == sum(forwards)
    assert of_training(found) == 3 * sum(forwards) - forwards[0]


def test_a_run_of_narrow_networks_changes_no_other_cost() -> None:
    ordinary = config("model.hidden=[32]", "estimator=one_run", "epochs=3")
    half = ("estimator=subsampling", "estimator.models=8", "estimator.fractions=[0.5]")
    wide = config("model.hidden=[32]", *half, "epochs=3")
    narrow = config("model.hidden=[4]", "estimator=blocks", "estimator.blocks=6", "epochs=2")
    for each in (ordinary, wide, narrow):
        execute(each)

    def costs(configs: list[RunConfig]) -> dict[tuple[str, int], float]:
        return {(each.name, each.networks): each.cost for each in gather(configs, [ordinary])[Condition.of(ordinary)]}

    before, after = costs([ordinary, wide]), costs([ordinary, wide, narrow])
    assert before["cumulative_loss", 1] == 1
    assert before["memorization", 8] == 4
    assert {key: after[key] for key in before} == before
    work: dict[str, Any] = {"ordinary": 3 * of_training(ordinary), "narrow": 6 * 2 * of_training(narrow) / 2}
    expected = (work["narrow"] + 6 * of_scoring(narrow)) / work["ordinary"]
    assert after["blocks", 6] == pytest.approx(expected)


def test_half_of_the_pairs_of_a_run_are_a_run_of_half_as_many() -> None:
    def gathered(blocks: int) -> dict[tuple[str, int], Any]:
        options = ("model.hidden=[4]", "estimator=blocks", f"estimator.blocks={blocks}", "epochs=2")
        run = config(*options)
        execute(run)
        return {(each.name, each.networks): each for each in gather([run], [run])[Condition.of(run)]}

    small, large = gathered(6), gathered(12)
    assert set(large) == {(name, count) for name in ("blocks", "blocks_memorization") for count in (6, 12)}
    for name in ("blocks", "blocks_memorization"):
        np.testing.assert_allclose(large[name, 6].scores, small[name, 6].scores, atol=1e-6)
        assert large[name, 6].cost == pytest.approx(small[name, 6].cost) == pytest.approx(large[name, 12].cost / 2)
