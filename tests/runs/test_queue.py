"""Waiting for jobs on Slurm: the store and the queue decide together, whatever one of them says for a moment."""

import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from digits import digits
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_checksums import SMALL
from test_cli import ROOT

from turnover.config.compose import sweep
from turnover.errors import RunFailed
from turnover.runs import slurm
from turnover.runs.plan import Sweep
from turnover.runs.slurm import Listed, Queue, launch, parsed, wait
from turnover.runs.store.run import Run


def runs(count: int) -> dict[str, Run]:
    return {f"7_{seed}": Run(digits(*SMALL, f"seed={seed}")) for seed in range(count)}


def finish(run: Run) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "DONE").touch()


def listed(*ids: str, state: str = "RUNNING", reason: str = "None", comment: str = "(null)") -> Queue:
    return {id: Listed(state, reason, comment) for id in ids}


def answers(*every: Queue | Callable[[], Queue | None] | None) -> Callable[[], Queue | None]:
    """A queue that says one thing after another, and the last one ever after."""
    turns: Iterator[Queue | Callable[[], Queue | None] | None] = iter([*every, *[every[-1]] * 50])

    def look() -> Queue | None:
        answer = next(turns)
        return answer() if callable(answer) else answer

    return look


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("turnover"), "propagate", True)
    caplog.set_level("INFO", logger="turnover")
    return caplog


def test_a_list_of_squeue_is_read() -> None:
    text = "12_3|RUNNING|None|(null)\n13|PENDING|(launch failed requeued held)|a|b\nnonsense\n\n"
    reason = "(launch failed requeued held)"
    assert parsed(text) == {"12_3": Listed("RUNNING", "None", "(null)"), "13": Listed("PENDING", reason, "a|b")}


def test_a_cancelled_job_is_lost_and_the_others_are_waited_for(said: pytest.LogCaptureFixture) -> None:
    jobs = runs(3)
    cancelled, *others = jobs.values()

    def end() -> Queue:
        for run in others:
            finish(run)
        return {}

    look = answers(listed(*jobs), listed("7_1", "7_2"), listed("7_1", "7_2"), listed("7_1", "7_2"), end)
    assert wait(jobs, look, poll=0, grace=0) == [cancelled]
    assert all(run.finished for run in others)
    assert [record.args for record in said.records if record.levelname == "WARNING"] == [(cancelled.name, "7_0")]


@pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL", "REQUEUED", "PREEMPTED", "PENDING", "COMPLETING"])
def test_no_state_in_the_queue_is_an_end(state: str) -> None:
    jobs = runs(1)
    asked = []

    def look() -> Queue:
        asked.append(state)
        if len(asked) == 20:
            finish(jobs["7_0"])
        return listed("7_0", state=state)

    assert wait(jobs, look, poll=0, grace=0) == []
    assert len(asked) == 20


def test_a_job_that_is_away_for_one_look_is_not_lost() -> None:
    jobs = runs(1)

    def end() -> Queue:
        finish(jobs["7_0"])
        return {}

    assert wait(jobs, answers({}, listed("7_0"), {}, listed("7_0"), {}, None, None, None, end), poll=0, grace=0) == []


def test_a_job_that_seemed_lost_while_others_were_waited_for_may_come_back() -> None:
    """As a cancelled one does when Slurm's controller is killed before it has written that down."""
    jobs = runs(2)

    def end() -> Queue:
        for run in jobs.values():
            finish(run)
        return {}

    assert wait(jobs, answers(*[listed("7_1")] * 5, listed("7_0", "7_1"), end), poll=0, grace=0) == []


def test_a_job_is_lost_after_a_minute_of_absence_while_slurm_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], []
    monkeypatch.setattr("turnover.runs.slurm.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("turnover.runs.slurm.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    def look() -> Queue | None:
        asked.append(clock[0])
        if clock[0] == 60:  # what was seen before says nothing of now
            return None
        return listed("7_0") if clock[0] == 20 else {}

    jobs = runs(1)
    assert wait(jobs, look) == list(jobs.values())
    assert asked[-1] == 65 + slurm.GRACE


def test_a_job_that_left_the_queue_is_waited_for_while_its_run_is_locked(tmp_path: Path) -> None:
    jobs = runs(1)
    with ExitStack() as at_work:
        at_work.enter_context(jobs["7_0"].lock())

        def end() -> Queue:
            finish(jobs["7_0"])
            at_work.close()
            return {}

        assert wait(jobs, answers(*[{}] * 9, end), poll=0, grace=0) == []


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_queue_says_lost_are_those_that_nobody_works_on(seed: int) -> None:
    """Jobs that run, end, are cancelled or queued again at random; a controller that does not answer now and then."""
    dice, jobs = random.Random(seed), runs(5)
    alive, cancelled = set(jobs), set[str]()
    away: set[str] = set()  # for one look

    def look() -> Queue | None:
        away.clear()
        for id in sorted(alive):
            match dice.choice(["go on"] * 6 + ["end", "cancel", "away"]):
                case "end":
                    finish(jobs[id])
                    alive.discard(id)
                case "cancel":
                    cancelled.add(id)
                    alive.discard(id)
                case "away" if id not in before:
                    away.add(id)
        if dice.random() < 0.2:
            return None
        before.clear()
        before.update(away)
        return listed(*(alive - away))

    before: set[str] = set()
    lost = wait(jobs, look, poll=0, grace=0)
    assert {run.name for run in lost} == {jobs[id].name for id in cancelled}
    assert all(run.finished for id, run in jobs.items() if id not in cancelled)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("launch failed requeued held", "scontrol release 7_0"),
        ("JobHeldUser", "scontrol release 7_0"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "state=resume"),
        ("ReqNodeNotAvail, UnavailableNodes:vm", "state=resume"),
        ("Resources", None),
        ("BeginTime", None),
    ],
)
def test_what_slurm_holds_is_told_once(reason: str, remedy: str | None, said: pytest.LogCaptureFixture) -> None:
    jobs = runs(1)

    def end() -> Queue:
        finish(jobs["7_0"])
        return {}

    wait(jobs, answers(*[listed("7_0", state="PENDING", reason=reason)] * 5, end), poll=0, grace=0)
    told = [message for message in said.messages if "Slurm holds job" in message]
    assert len(told) == (remedy is not None)
    assert remedy is None or remedy in told[0]


def test_nothing_is_submitted_twice(monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture) -> None:
    jobs = list(runs(4).values())
    in_queue: Queue = {}
    submitted: list[list[int]] = []
    monkeypatch.setattr(slurm, "queue", lambda: in_queue)
    monkeypatch.setattr(slurm, "wait", lambda waiting, **given: [run for run in waiting.values() if not run.finished])

    def submit(positions: Sequence[int], comment: str) -> list[str]:
        submitted.append(list(positions))
        ids = [f"{len(submitted)}_{number}" for number in range(len(positions))]
        in_queue.update(listed(*ids, comment=f"mine {comment}"))
        return ids

    finish(jobs[0])
    with pytest.raises(RunFailed, match=r"3 of 4 runs did not end well.*the same command goes on"):
        launch(jobs, submit)
    with pytest.raises(RunFailed):
        launch(jobs, submit)
    assert submitted == [[1, 2, 3]], "all are in the queue"
    assert "3 of the runs are queued or worked on already and not submitted again" in said.messages
    del in_queue["1_0"]  # cancelled
    in_queue["1_1"] = listed("1_1", comment="of another command")["1_1"]  # after the numbers of Slurm began anew
    with pytest.raises(RunFailed):
        launch(jobs, submit)
    assert submitted[1:] == [[1, 2]]
    in_queue.clear()
    with jobs[1].lock(), jobs[2].lock(), pytest.raises(RunFailed):
        launch(jobs, submit)
    assert submitted[2:] == [[3]], "who holds the lock of a run is waited for"
    submitted.pop()
    for run in jobs:
        finish(run)
    launch([*jobs, jobs[0]], submit)
    assert len(submitted) == 2
    again = runs(1)["7_0"]
    (again.folder / "DONE").unlink()
    with pytest.raises(RunFailed):
        launch([again, again], submit)
    assert submitted[2:] in ([[0]], [[1]]), "the same run twice is one job"


def test_a_killed_run_is_told_by_its_lock_and_not_by_its_manifest(said: pytest.LogCaptureFixture) -> None:
    killed, at_work, never = runs(3).values()
    for run in (killed, at_work):
        run.folder.mkdir(parents=True)
        (run.folder / "manifest.json").write_text('{"status": "running", "message": ""}')
    with at_work.lock():
        Sweep([run.config for run in (killed, at_work, never)]).tell_outcome()
    text = "\n".join(said.messages)
    assert "3 runs: 3 not finished" in text
    assert f"{killed.name}: its process is gone" in text
    assert f"{at_work.name}: running" in text
    assert f"{never.name}: never started" in text


def test_the_library_submits_and_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an sbatch that keeps the script, and jobs that are done when they are first looked at."""
    library = pytest.importorskip("hydra_plugins.hydra_submitit_launcher.submitit_launcher").SlurmLauncher
    for name, script in {"sbatch": f'cp "$1" {tmp_path}/script; echo job 7', "srun": "", "squeue": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(library, "launch", library.launch)  # and back again
    small = ["dataset=digits", "scale=smoke", "logger=none"]
    given = [*small, "hydra/launcher=slurm", f"hydra.sweep.dir={tmp_path}", "hydra.launcher.comment=mine"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("score", given, return_hydra_config=True)
        slurm.take_over("score")
        params = OmegaConf.to_container(config.hydra.launcher, resolve=True)
        assert isinstance(params, dict)
        launcher = library(**{str(name): value for name, value in params.items() if name != "_target_"})
        launcher.setup(hydra_context=None, task_function=print, config=config)
        batch = [[*small, f"seed={seed}"] for seed in range(3)]
        runs = [Run(each) for each in sweep([*small, "seed=range(3)"], "score")]
        finish(runs[1])

        def done(jobs: dict[str, Run], **given: float) -> list[Run]:
            assert {id: run.name for id, run in jobs.items()} == {"7_0": runs[0].name, "7_1": runs[2].name}
            assert all((tmp_path / "outputs" / "slurm" / f"{runs[at].name}.txt").exists() for at in (0, 2))
            for run in jobs.values():
                finish(run)
            return []

        monkeypatch.setattr(slurm, "wait", done)
        returned = launcher.launch(batch, initial_job_idx=0)
    assert [each.return_value for each in returned] == [run.folder for run in runs]
    assert "--comment='mine turnover " in (tmp_path / "script").read_text()
    assert "--array=0-1" in (tmp_path / "script").read_text()
    assert not list((tmp_path / "outputs" / "slurm").iterdir())


def test_while_slurm_does_not_answer_nothing_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # it has no squeue
    with pytest.raises(RunFailed, match="Slurm does not answer"):
        launch(list(runs(1).values()), lambda positions, comment: pytest.fail("submitted"))
