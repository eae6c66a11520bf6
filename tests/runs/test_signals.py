"""Runs asked to stop in the middle of an epoch: they write a checkpoint, pass the signal on, and go on bit for bit."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from digits import digits
from torch.utils._pytree import tree_leaves

from turnover.common import signals
from turnover.common.signals import Stopped, stoppable
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.runs import one_network, pipeline
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.training.fit import fit

SMALL = ("dataset.limit=101", "model.hidden=[16]", "batch_size=25", "epochs=4", "corruption.count=30")
RECIPE = (
    "optimizer=adamw",
    "schedule=cosine",
    "schedule.by=step",
    "schedule.warmup=7",
    "method=label_smoothing",
    "class_weights=balanced",
    "model.dropout=0.2",
    "augmentation=torchvision",
    "augmentation.transforms=[{name: RandomCrop, size: 8, padding: 1}, {name: GaussianNoise}]",
)
KINDS = {
    "steps": ("tracking.steps=[1,5,7,10,15]",),
    "turnover": ("estimator.epochs=[1,3]", "optimizer.momentum=0.9"),
    "own_dropout": ("turnover.dropout=0.5", "turnover.groups=16"),
    "gradients": ("tracking=gradients", "tracking.every=1"),
    "one_run": ("turnover=off", "estimator=one_run"),
    "augmented": ("augmentation=crop", "model=cvt"),
    "recipe": RECIPE,
    "elr": ("method=elr", "class_weights=balanced"),
    "co_teaching": ("method=co_teaching", "method.ramp=3", "optimizer.momentum=0.9"),
    "dp_sgd": ("turnover=off", "estimator=cumulative_loss", "method=dp_sgd"),
    "trades": ("turnover=off", "estimator=cumulative_loss", "method=trades", "method.steps=2"),
    "second_split": ("turnover=off", "estimator=second_split"),
    "ensemble": ("turnover=off", "estimator=subsampling", "estimator.models=20"),
}


class Bar:
    """A progress bar that sends this process a signal at one of its steps."""

    def __init__(self, at: int, number: int) -> None:
        self.steps, self.at, self.number = 0, at, number

    def update(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps - steps < self.at <= self.steps:
            signal.raise_signal(self.number)


@contextmanager
def signalled(monkeypatch: pytest.MonkeyPatch, at: int, number: int) -> Iterator[None]:
    @contextmanager
    def progress(total: int, done: int, name: str) -> Iterator[Any]:
        bar = Bar(at, number)
        bar.steps = done
        yield bar

    with monkeypatch.context() as patch:
        for module in (pipeline, one_network):
            patch.setattr(module, "progress", progress)
        yield


def config_of(kind: str) -> RunConfig:
    if kind == "augmented":  # and a network that is no MLP
        small = [each for each in SMALL if not each.startswith("model")]
        [config] = sweep(["dataset=digits", "scale=smoke", "logger=none", "device=cpu", *small, *KINDS[kind]], "score")
        return config
    return digits(*SMALL, *KINDS[kind])


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    """A run of each kind, and its folder when nothing stops it."""
    config = config_of(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("whole")))
        return config, execute(config)


@pytest.mark.parametrize("at", [1, 7, 8, 16])
def test_stopped_at_any_step_a_run_goes_on_bit_for_bit(
    at: int, whole: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = whole
    run = Run(config)
    with signalled(monkeypatch, at, signal.SIGUSR2), pytest.raises(Stopped, match="SIGUSR2"):
        execute(config)
    if not run.finished:  # a signal in the last step comes too late to stop anything
        assert run.manifest["status"] == "interrupted"
        execute(config)
    for name in ("metrics.parquet", "scores.parquet", "config.yaml"):
        assert (run.folder / name).read_bytes() == (expected / name).read_bytes(), name
    if (expected / "checkpoint.pt").exists():
        ours, theirs = (torch.load(each / "checkpoint.pt", weights_only=True) for each in (run.folder, expected))
        assert all(torch.equal(ours["model"][key], value) for key, value in theirs["model"].items())
        both = zip(tree_leaves(ours["method"]), tree_leaves(theirs["method"]), strict=True)
        assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in both)
    assert not signals.asked()


def test_no_step_of_one_network_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("turnover")
    with signalled(monkeypatch, 8, signal.SIGTERM), pytest.raises(Stopped):
        execute(config)
    state = torch.load(Run(config).folder / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 1
    assert state["partial"]["epoch"] == 2
    assert len(state["partial"]["losses"]) == 75, "8 steps: 5 of the first epoch, then 3 of 25 examples"
    steps: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        on_step = options.pop("on_step")

        def both(count: int) -> None:
            steps.append(count)
            on_step(count)

        return fit(*arguments, on_step=both, **options)

    monkeypatch.setattr(one_network, "fit", counted)
    execute(config)
    assert sum(steps) == 4 * 5 - 8
    assert "in the middle of the next (75 examples)" in (Run(config).folder / "log.txt").read_text()


def test_whoever_handled_the_signal_gets_it_after_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """As submitit does, which puts the job back into the queue and leaves."""
    config, seen = config_of("turnover"), []

    def requeue(number: int, frame: Any) -> None:
        seen.append((number, (Run(config).folder / "checkpoint.pt").exists(), Run(config).manifest["status"]))
        raise SystemExit(-1)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with signalled(monkeypatch, 3, signal.SIGUSR2), pytest.raises(SystemExit):
            execute(config)
        assert seen == [(signal.SIGUSR2, True, "interrupted")]
        assert signal.getsignal(signal.SIGUSR2) is requeue
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_who_ignores_sigterm_is_not_stopped_by_it() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stoppable():
            signal.raise_signal(signal.SIGTERM)
            assert not signals.asked()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_second_time_ctrl_c_interrupts_at_once() -> None:
    after = []

    def press_twice() -> None:
        with stoppable():
            signal.raise_signal(signal.SIGINT)
            after.append(signals.asked())
            signal.raise_signal(signal.SIGINT)
            after.append(True)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert after == [True]
    assert not signals.asked()


def test_one_inside_another_is_one() -> None:
    after = []

    def nested() -> None:
        with stoppable():
            with stoppable():
                signal.raise_signal(signal.SIGUSR2)
            after.append(signals.asked())  # the outer one delivers it
            signals.stop_if_asked()

    with pytest.raises(Stopped):
        nested()
    assert after == [True]


def test_in_a_thread_it_does_nothing() -> None:
    import threading

    failed: list[BaseException] = []

    def work() -> None:
        try:
            with stoppable():
                signals.stop_if_asked()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
