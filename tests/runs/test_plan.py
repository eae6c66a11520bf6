"""The plan before a sweep: which runs are cached, which are to do and which score runs come before them."""

import logging
from pathlib import Path

import pytest
import torch
from digits import digits

from turnover.common.signals import Stopped
from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.runs import plan
from turnover.runs.build import RunTask, build
from turnover.runs.execute import execute
from turnover.runs.plan import announce, make_here
from turnover.runs.store.run import Run
from turnover.runs.timing import seconds

SMALL = ("epochs=1", "model.hidden=[8]", "dataset.limit=100", "dataset.test_limit=50")
PARENTS = ("dataset=digits", "model.hidden=[8]", "dataset.limit=100", "epochs=1", "seed=0,1")


def by_scores(*overrides: str) -> RunConfig:
    runs = ",".join(f'"{each}"' for each in PARENTS)
    return digits(*SMALL, "subsets=scores", f"subsets.runs=[{runs}]", *overrides, entry="train")


def names(configs: list[RunConfig]) -> list[str]:
    return [Run(config).name for config in configs]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged; no run is timed."""
    monkeypatch.setattr("turnover.runs.timing.seconds", lambda config: 60.0)
    monkeypatch.setattr(plan.log, "propagate", True)
    caplog.set_level(logging.INFO, logger="turnover")
    return caplog


def test_score_runs_that_are_missing_are_announced_once_and_come_first(told: pytest.LogCaptureFixture) -> None:
    configs = [by_scores(), by_scores("subsets.train_on=easy"), digits(*SMALL, entry="train")]
    first = configs[0].parents
    assert names(announce(configs)) == names([*first, *configs])
    assert told.messages[0] == "3 runs: 0 cached, 3 to do, and 2 score runs before them"
    assert len(told.messages) == 1 + 5 + 1
    for config, message in zip([*first, *configs], told.messages[1:-1], strict=True):
        assert Run(config).name in message
    assert told.messages[-1] == "about 5 min in all, one after another on this machine"


def test_score_runs_that_are_there_are_not_announced(told: pytest.LogCaptureFixture) -> None:
    config = by_scores()
    execute(config.parents[0])
    assert names(announce([config])) == names([config.parents[1], config])
    assert "1 runs: 0 cached, 1 to do, and 1 score runs before them" in told.messages
    execute(config)
    told.clear()
    assert announce([config]) == []
    assert told.messages == ["1 runs: 1 cached, 0 to do"]
    other = by_scores("seed=1")
    assert names(announce([config, other])) == names([other])
    assert "2 runs: 1 cached, 1 to do" in told.messages


def test_a_run_that_fails_here_stops_no_other_and_is_told(told: pytest.LogCaptureFixture) -> None:
    fails, other = (digits(*SMALL, "batch_size=50", f"optimizer.lr={lr}", entry="train") for lr in ("1e30", "0.1"))
    with pytest.raises(RunFailed, match=r"learning rate 1e\+30"):
        make_here([fails, other])
    assert not Run(fails).finished
    assert Run(other).finished
    assert any(Run(fails).name in message and "RunFailed" in message for message in told.messages)
    with pytest.raises(RunFailed):
        make_here([fails, other])
    assert "2 runs: 1 cached, 1 to do" in told.messages


def test_runs_that_are_stopped_here_go_on(told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [digits(*SMALL, f"seed={seed}", entry="train") for seed in (0, 1, 2)]

    def stopped_at_the_second(config: RunConfig) -> Path:
        if config is configs[1]:
            raise Stopped("stopped by SIGINT")
        return execute(config)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "execute", stopped_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            make_here(configs)
    assert [Run(config).finished for config in configs] == [True, False, False]
    assert "3 runs: 1 done, 2 not finished" in told.messages
    make_here(configs)
    assert "3 runs: 2 done, 1 cached" in told.messages


def test_a_run_is_timed_before_and_after_its_subsets_are_known() -> None:
    config = by_scores("subsets.train_on=easy")
    assert 0 < seconds(config) < 60
    for parent in config.parents:
        execute(parent)
    assert 0 < seconds(config) < 60
    assert not Run(config).folder.exists(), "timing leaves nothing"


def test_a_run_on_a_subset_is_timed_as_such_before_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))  # every look at the clock is a second later
    monkeypatch.setattr("turnover.runs.timing.time.perf_counter", lambda: float(next(clock)))
    steps = ("batch_size=2", "epochs=1000", "tracking.every=1000")
    every, easy = (by_scores(*steps, f"subsets.train_on={name}") for name in ("all", "easy"))
    assert easy.trained_size == 10
    assert every.trained_size == 100
    # 4 steps take a second, an epoch has 5 or 50 of them; the few evaluations add a little
    assert seconds(easy) == pytest.approx(1000 * 5 / 4, rel=0.05)
    assert seconds(every) == pytest.approx(1000 * 50 / 4, rel=0.05)


@pytest.mark.parametrize(("every", "passes"), [(1, 8), (3, 4), (7, 2), (9, 2)])
def test_accuracy_is_foretold_as_often_as_it_is_tracked(
    monkeypatch: pytest.MonkeyPatch, every: int, passes: int
) -> None:
    clock = iter(range(1000))  # every look at the clock is a second later
    monkeypatch.setattr("turnover.runs.timing.time.perf_counter", lambda: float(next(clock)))
    config = digits(*SMALL, "turnover=off", "epochs=7", "batch_size=2", f"tracking.every={every}", entry="train")
    groups = build(config, torch.device("cpu")).groups
    few = 4 * 2  # examples of four steps, which take a second, as evaluating them twice does
    evaluated = passes * sum(map(len, groups.values())) + 100
    assert seconds(config) == pytest.approx(7 * 50 / 4 + evaluated / (2 * few))


@pytest.mark.parametrize("estimator", ["subsampling", "second_split", "one_run"])
def test_runs_of_several_networks_are_timed_too(estimator: str) -> None:
    ordinary = ("turnover=off", f"estimator={estimator}")
    assert 0 <= seconds(digits(*SMALL, *ordinary, entry="train")) < 60


def test_an_ensemble_takes_as_long_as_all_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))  # every look at the clock is a second later
    monkeypatch.setattr("turnover.runs.timing.time.perf_counter", lambda: float(next(clock)))
    trained = []

    def train_block(parts: RunTask, config: RunConfig, *rest: object) -> None:
        trained.append(config.epochs)
        for _ in range(config.epochs):
            next(clock)

    monkeypatch.setattr("turnover.runs.timing.train_block", train_block)
    ordinary = ("turnover=off", "estimator=subsampling", "estimator.models=40", "epochs=3")
    config = digits(*SMALL, *ordinary, entry="train")
    # an epoch of a stack of 16 networks takes a second; 70 of 100 examples are one step, as all of them are
    assert seconds(config) == pytest.approx(3 * 40 / 16)
    assert trained == [1, 1, 5]
