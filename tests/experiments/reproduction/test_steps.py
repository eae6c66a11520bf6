"""What `make reproduce` does, and the plan that it tells first."""

import logging
from pathlib import Path

import pytest

from turnover.experiments.plots.figure import NAMES
from turnover.experiments.reproduction.plan import Step, announce, left_seconds, steps
from turnover.runs import plan as planning
from turnover.runs.store.run import Run

FIG2 = Step("fig2", ("fig2",), ("figure.py", "figure=fig2", "scale=smoke"))
FIG9 = Step("fig9", ("fig9",), ("figure.py", "figure=fig9", "scale=smoke"))
BENCH = Step("bench", (), ("benchmark.py",), about="12 min")


def test_every_figure_and_the_rest_is_reproduced_once() -> None:
    assert [step.name for step in steps("laptop")] == [*NAMES, "validate", "bench", "report"]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged; every run takes a minute."""
    monkeypatch.setattr("turnover.runs.timing.seconds", lambda config: 60.0)
    monkeypatch.setattr(planning.log, "propagate", True)
    caplog.set_level(logging.INFO, logger="turnover")
    return caplog


def cells(message: str) -> list[str]:
    return message.split()


def test_the_plan_counts_a_run_that_figures_share_once(told: pytest.LogCaptureFixture) -> None:
    planned = announce([FIG2, FIG9, BENCH], "laptop", "basic")
    first, second, bench, last = told.messages[2:]
    assert cells(first) == ["fig2", "10", "0", "0", "10", "10", "min"]
    assert cells(second) == ["fig9", "10", "0", "5", "5", "5", "min"], "its runs of MNIST are those of figure 2"
    assert cells(bench) == ["bench", "0", "0", "0", "0", "12", "min"]
    assert last == "15 different runs: 0 cached, 15 to do; training takes about 15 min, one run after another"
    assert (left_seconds(planned), left_seconds(planned[1:])) == (900, 300)


def test_a_plan_knows_what_is_finished(told: pytest.LogCaptureFixture) -> None:
    configs = announce([FIG2], "smoke", "basic")[0].runs["fig2"]
    told.clear()
    for config in configs[:4]:
        Run(config).folder.mkdir(parents=True)
        (Run(config).folder / "DONE").touch()
    assert announce([FIG2], "smoke", "basic")[0].to_do == 2
    assert cells(told.messages[2]) == ["fig2", "6", "4", "0", "2", "2", "min"]
    assert told.messages[-1].startswith("6 different runs: 4 cached, 2 to do")


def test_what_was_timed_is_not_timed_again(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, outputs: Path
) -> None:
    announce([FIG2], "laptop", "basic")
    monkeypatch.setattr("turnover.runs.timing.seconds", lambda config: 120.0)
    told.clear()
    announce([FIG2, FIG9], "laptop", "basic")
    assert cells(told.messages[2])[5:] == ["10", "min"]
    assert cells(told.messages[3])[5:] == ["10", "min"], "only the five of another network were timed"
    for damage in ("{", "[]", '{"x": 3}'):
        (outputs / "reproduction" / "expected.json").write_text(damage)
        told.clear()
        announce([FIG2], "smoke", "basic")
        assert cells(told.messages[2])[5:] == ["12", "min"]


def test_how_long_runs_take_elsewhere_is_not_told(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("turnover.runs.timing.seconds")  # nothing is timed, so nothing is trained here
    [planned] = announce([FIG2], "smoke", "joblib")
    assert planned.seconds is None
    assert cells(told.messages[2]) == ["fig2", "6", "0", "0", "6"]
    assert told.messages[-1] == "6 different runs: 0 cached, 6 to do"


def test_score_runs_that_come_before_others_are_counted_with_them(told: pytest.LogCaptureFixture) -> None:
    [planned] = announce([Step("onion", ("onion",), ("figure.py",))], "smoke", "basic")
    assert cells(told.messages[2])[:5] == ["onion", "9", "0", "0", "9"]
    names = list(planned.every)
    for config in planned.runs["onion"]:
        assert all(names.index(Run(parent).name) < names.index(Run(config).name) for parent in config.parents)
