"""Doing a reproduction: scripts one after another, stopping and going on, the record, and what is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import processes
import pytest

from turnover.common.files import write_json
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput, RunFailed
from turnover.experiments.plots.figure import NAMES
from turnover.experiments.reproduction import work
from turnover.experiments.reproduction.plan import Planned, Step
from turnover.runs import scripts
from turnover.runs.scripts import call
from turnover.runs.store.provenance import provenance

FIG1 = Step("fig1", (), ("figure.py", "figure=fig1", "scale=smoke", "logger=none"))
INFLUENCE = Step("influence", ("influence",), ("figure.py", "figure=influence", "scale=smoke"), ("logger=none",))
REPORT = Step("report", (), ("report.py", "scale=smoke"))


def script(folder: Path, code: str) -> str:
    path = folder / "script.py"
    path.write_text(code)
    return str(path)


# --- one script ---


def test_a_script_ends_as_it_does_for_itself(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call(script(tmp_path, f"import pathlib, sys; pathlib.Path({str(mark)!r}).write_text(sys.argv[1])"), ["one two"])
    assert mark.read_text() == "one two"
    with pytest.raises(SystemExit) as ended:
        call(script(tmp_path, "raise SystemExit(3)"), [])
    assert ended.value.code == 3
    with pytest.raises(KeyboardInterrupt):
        call(script(tmp_path, "raise SystemExit(130)"), [])
    with pytest.raises(RunFailed, match=r"script\.py was killed by SIGKILL"):
        call(script(tmp_path, "import os; os.kill(os.getpid(), 9)"), [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


CHILD = """
import pathlib, signal, time
came = []
signal.signal(signal.{name}, lambda *arguments: came.append(1))
pathlib.Path({ready!r}).touch()
while not came:
    time.sleep(0.01)
time.sleep(0.5)  # writes a checkpoint; another signal would be counted
pathlib.Path({log!r}).write_text(str(len(came)))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("to_the_group", [False, True], ids=["to the process", "by a terminal"])
def test_who_asks_to_stop_reaches_the_script_once(name: str, to_the_group: bool, tmp_path: Path) -> None:
    ready, log = tmp_path / "ready", tmp_path / "log"
    path = script(tmp_path, CHILD.format(name=name, ready=str(ready), log=str(log)))
    code = (
        "from turnover.runs.scripts import call\n"
        f"try:\n    call({path!r}, [])\nexcept KeyboardInterrupt:\n    raise SystemExit(77)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], process_group=0)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.01)
    (os.killpg if to_the_group else os.kill)(process.pid, getattr(signal, name))
    assert process.wait() == 77
    assert log.read_text() == "1", "it had its time, and was told once"


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        path = script(tmp_path, "import os, signal; os.kill(os.getppid(), signal.SIGHUP)")
        call(path, [])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# --- all steps ---


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The scripts that would be called."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(work, "call", lambda script, arguments: found.append((script, *arguments)))
    monkeypatch.setattr("turnover.runs.timing.seconds", lambda config: 1.0)
    return found


def test_runs_come_before_what_is_made_of_them(called: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "steps", lambda scale: [FIG1, INFLUENCE, REPORT])
    work.reproduce("smoke", "basic")
    assert called == [FIG1.last, (*INFLUENCE.last, "launcher=basic"), REPORT.last]


def test_some_steps_are_done_in_the_order_in_which_they_are_named(
    called: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "steps", lambda scale: [FIG1, INFLUENCE, REPORT])
    work.reproduce("smoke", "basic", ["report", "fig1"])
    assert called == [REPORT.last, FIG1.last]
    with pytest.raises(RefusedInput, match="--only: 'fig11' is no step; there are fig1, influence, report"):
        work.reproduce("smoke", "basic", ["fig1", "fig11"])


def test_missing_runs_are_made_and_finished_ones_start_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(scripts, "call", lambda script, arguments: called.append((script, *arguments)))
    scripts.make_runs(["influence", "fig2"], "smoke", "joblib", ["logger=none"])
    common = ("train.py", "-m", "hydra/launcher=joblib")
    assert called == [
        (*common, "+experiment=influence", "scale=smoke", "logger=none"),
        (*common, "+experiment=fig2", "scale=smoke", "logger=none"),
    ]
    called.clear()
    here: list[RunConfig] = []
    monkeypatch.setattr(scripts, "make_here", here.extend)
    scripts.make_runs(["influence"], "smoke", "basic", ["logger=none"])
    assert (called, here) == ([], sweep(["+experiment=influence", "scale=smoke", "logger=none"]))
    monkeypatch.setattr("turnover.runs.store.run.Run.finished", True)
    scripts.make_runs(["influence", "fig2"], "smoke", "joblib")
    assert called == []


def test_the_benchmark_is_not_repeated_for_the_same_code(
    called: list[tuple[str, ...]], outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Step("bench", (), ("benchmark.py",))
    monkeypatch.setattr(work, "steps", lambda scale: [bench])
    (outputs / "bench").mkdir(parents=True)
    (outputs / "bench" / "bench.csv").touch()
    dirty = "0123abc-dirty"
    for here, told, again in (
        ("0123abc", "0123abc", False),
        ("0123abc", "4567def", True),
        ("0123abc", "", True),
        (dirty, dirty, True),
    ):
        called.clear()
        monkeypatch.setattr(work, "commit", lambda here=here: here)
        write_json(outputs / "bench" / "machine.json", {"commit": told})
        work.reproduce("smoke", "basic")
        assert called == [bench.last] * again, (here, told)


def test_a_script_that_fails_ends_all_and_what_is_done_is_recorded(
    called: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "steps", lambda scale: [FIG1, INFLUENCE, REPORT])

    def bad(script: str, arguments: list[str]) -> None:
        called.append((script, *arguments))
        if "figure=influence" in arguments:
            raise SystemExit(3)

    monkeypatch.setattr(work, "call", bad)
    with pytest.raises(SystemExit) as ended:
        work.reproduce("smoke", "basic")
    assert ended.value.code == 3
    assert REPORT.last not in called
    steps = work.read("smoke")["steps"]
    assert list(steps) == ["fig1", "influence"]
    assert "ended" in steps["fig1"]
    assert "ended" not in steps["influence"]


def test_the_record_adds_up_over_starts(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))  # every look at the clock is ten seconds later
    monkeypatch.setattr("turnover.experiments.reproduction.work.time.monotonic", lambda: float(next(clock)))
    planned = Planned(FIG1, {}, 0, 0.0)
    with pytest.raises(KeyboardInterrupt), work.recorded("laptop", planned):
        raise KeyboardInterrupt
    assert work.read("laptop")["steps"] == {"fig1": {"seconds": 10.0, "runs_made": 0}}
    with work.recorded("laptop", planned):
        pass
    told: dict[str, Any] = json.loads((outputs / "reproduction" / "laptop.json").read_text())
    assert (told["scale"], told["seconds"]) == ("laptop", 20.0)
    fig1 = told["steps"]["fig1"]
    assert (fig1["seconds"], fig1["runs"], fig1["seeds"]) == (20.0, 0, [])
    assert fig1["commit"] == provenance()["commit"]
    assert fig1["machine"] == provenance()["machine"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": 3}'])
def test_a_damaged_record_begins_anew(text: str, outputs: Path) -> None:
    path = work.path("laptop")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with work.recorded("laptop", Planned(FIG1, {}, 0, 0.0)):
        pass
    assert list(work.read("laptop")["steps"]) == ["fig1"]


# --- what is kept ---


def made(outputs: Path) -> set[str]:
    """Results as a reproduction leaves them, each with its own path in it; returns what is to be kept of them."""
    names = {f"figures/laptop/{name}.{kind}" for name in NAMES for kind in ("png", "pdf", "csv", "json")}
    names |= {f"validate/laptop/{name}" for name in ("validate.json", "table.csv", "cost.png", "cost.pdf", "a.parquet")}
    names |= {"bench/bench.csv", "bench/machine.json", "reproduction/laptop.json", "figures/laptop/fig3-seed=0.json"}
    for name in names:
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(name)
    left = {name for name in names if name.endswith(".pdf") or "-" in name}
    return names - left


def test_all_that_is_small_is_kept(outputs: Path, tmp_path: Path) -> None:
    expected = made(outputs)
    folder = work.keep("laptop", folder=tmp_path / "kept")
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert set(found.values()) == expected
    assert found["fig2.csv"] == "figures/laptop/fig2.csv"
    assert found["bench_machine.json"] == "bench/machine.json"
    assert found["validate/table.csv"] == "validate/laptop/table.csv"
    assert found["reproduction.json"] == "reproduction/laptop.json"


def test_of_some_steps_their_results_are_kept(outputs: Path, tmp_path: Path) -> None:
    made(outputs)
    (outputs / "figures" / "laptop" / "onion.json").unlink()
    folder = work.keep("laptop", ["fig10", "bench"], tmp_path / "kept")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"fig10.png", "fig10.csv", "fig10.json", "bench.csv", "bench_machine.json"}


def test_nothing_is_kept_if_something_is_missing(outputs: Path, tmp_path: Path) -> None:
    made(outputs)
    (outputs / "figures" / "laptop" / "onion.json").unlink()
    with pytest.raises(RunFailed, match=r"onion\.json: not there; make reproduce SCALE=laptop makes it"):
        work.keep("laptop", folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(("scale", "kept"), [("smoke", []), ("laptop", ["laptop"]), ("paper", ["paper"])])
def test_results_at_smoke_scale_are_not_kept(
    scale: Any, kept: list[str], called: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(work, "steps", lambda scale: [FIG1])
    monkeypatch.setattr(work, "keep", lambda scale, only: found.append(scale))
    work.reproduce(scale, "basic")
    assert found == kept


# --- the door ---


def test_the_door_goes_from_the_plan_to_the_record(outputs: Path, root: Path, tmp_path: Path) -> None:
    """With figure 1 and the report alone, whose pictures are small ones, as another process."""
    door = tmp_path / "door.py"
    door.write_text(
        "import sys; from turnover.experiments.report import explorer, make, sections\n"
        "make.figure = sections.figure = explorer.small\n"
        "from turnover.experiments.reproduction import work\n"
        "from turnover.experiments.reproduction.plan import steps\n"
        "work.steps = lambda scale: [step for step in steps(scale) if step.name in ('fig1', 'report')]\n"
        f"sys.path.insert(0, {str(root / 'scripts')!r})\n"
        "import reproduce; from turnover.runs.cli import enter; enter(reproduce.main)"
    )
    done = processes.script(door, "--scale", "smoke", environment=dict(os.environ), where=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(outputs / "reproduction" / "smoke.json")
    assert "everything at smoke scale" in done.stderr
    assert "1 of 2: fig1" in done.stderr
    assert (outputs / "figures" / "smoke" / "fig1.png").is_file()
    assert (outputs / "report" / "index.html").is_file()
    assert "nothing is kept" in done.stderr
    refused = processes.script(
        root / "scripts" / "reproduce.py", "--launcher", "cloud", environment=dict(os.environ), where=root
    )
    assert refused.returncode == 2
    assert "basic" in refused.stderr
