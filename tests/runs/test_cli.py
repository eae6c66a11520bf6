"""The entry points as a user runs them: exit codes, one readable message, cached runs, interruption."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf
from processes import script

from turnover.config.compose import of_probe
from turnover.config.parse import parse
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput, RunFailed, TurnOverError
from turnover.experiments.figures.make import FigureJob
from turnover.runs.cli import leave, one_message

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["dataset=digits", "scale=smoke", "logger=none"]


@dataclass(frozen=True)
class Done:
    """One finished command."""

    code: int
    out: str
    err: str
    imported: set[str]  # top-level packages; empty unless asked for

    @property
    def last_line(self) -> Path:
        return Path(self.out.splitlines()[-1])


def environment(outputs: Path) -> dict[str, str]:
    return {**os.environ, "TURNOVER_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"}


def command(name: str, overrides: Sequence[str], *options: str) -> list[str]:
    return [sys.executable, *options, str(ROOT / "scripts" / name), *overrides]


def invoke(outputs: Path, name: str, *overrides: str, imports: bool = False, fresh: bool = False) -> Done:
    """Run a script from another folder than the checkout, in a fresh process if its imports are asked for."""
    where = outputs.parent
    if not imports and not fresh:
        done = script(ROOT / "scripts" / name, *overrides, environment=environment(outputs), where=where)
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr, set())
    called = command(name, overrides, *["-X", "importtime"] * imports)
    done = subprocess.run(called, env=environment(outputs), cwd=where, capture_output=True, text=True)
    trace = re.findall(r"^import time:.*\|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE)
    assert bool(trace) == imports
    err = re.sub(r"^import time:.*\n", "", done.stderr, flags=re.MULTILINE)
    assert "Traceback" not in err
    return Done(done.returncode, done.stdout, err, {name.split(".")[0] for name in trace})


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def outputs_of_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One outputs folder for the commands that build on each other."""
    return tmp_path_factory.mktemp("commands") / "outputs"


@pytest.fixture(scope="module")
def trained(outputs_of_module: Path) -> Done:
    return invoke(outputs_of_module, "train.py", *SMALL, "epochs=2")


# --- a run that ends well ---


def test_a_run_ends_with_code_0_and_its_folder_as_the_last_line(trained: Done, outputs_of_module: Path) -> None:
    assert trained.code == 0
    assert trained.last_line.parent == outputs_of_module / "runs"
    assert trained.last_line.name.startswith("train-digits-mlp-")
    assert {"DONE", "config.yaml", "manifest.json", "metrics.parquet", "checkpoint.pt", "log.txt"} <= {
        path.name for path in trained.last_line.iterdir()
    }
    assert manifest(trained.last_line)["status"] == "finished"


def test_it_says_before_its_folder_what_was_measured(trained: Done) -> None:
    rows = pd.read_parquet(trained.last_line / "metrics.parquet").query("epoch == 2 and metric == 'full_accuracy'")
    test, train = (float(rows.query("split == @split")["value"].iloc[0]) for split in ("test", "train"))
    assert f"test accuracy {test:.1%}, training accuracy {train:.1%}" in trained.err


def test_the_same_command_again_is_cached_and_does_not_import_torch(trained: Done, outputs_of_module: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.last_line.iterdir()}
    again = invoke(outputs_of_module, "train.py", *SMALL, "epochs=2", imports=True)
    assert (again.code, again.last_line) == (0, trained.last_line)
    assert again.err.strip() == f"cached: {trained.last_line.name}, {manifest(trained.last_line)['measured']}"
    assert "hydra" in again.imported
    assert not {"torch", "wandb", "sklearn"} & again.imported
    assert {path: path.stat().st_mtime_ns for path in trained.last_line.iterdir()} == before


def test_a_score_run_writes_scores(outputs_of_module: Path) -> None:
    done = invoke(outputs_of_module, "score.py", *SMALL, "epochs=1")
    assert done.code == 0
    assert done.last_line.name.startswith("score-digits-mlp-")
    assert len(pd.read_parquet(done.last_line / "scores.parquet")) == 1500


def test_a_figure_without_runs_is_drawn(outputs_of_module: Path) -> None:
    done = invoke(outputs_of_module, "figure.py", "figure=fig1", "scale=smoke", "logger=none")
    assert (done.code, done.last_line) == (0, outputs_of_module / "figures" / "smoke" / "fig1.png")
    assert done.last_line.read_bytes().startswith(b"\x89PNG")


def test_no_command_writes_anything_else(trained: Done, outputs_of_module: Path) -> None:
    assert {path.name for path in outputs_of_module.parent.iterdir()} == {"outputs"}
    assert {path.name for path in outputs_of_module.iterdir()} <= {"runs", "figures"}


# --- a run that fails ---


def test_a_loss_that_is_not_finite_fails_and_the_rest_of_the_sweep_goes_on(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", "-m", *SMALL, "epochs=1", "optimizer.lr=1e30,0.05")
    assert done.code == 3
    message = done.err.splitlines()[-1]
    for part in ("failed: ", "nan", "epoch 1", "step ", "of 6", "learning rate 1e+30"):
        assert part in message
    folders = {manifest(folder)["status"]: folder for folder in (tmp_path / "outputs" / "runs").iterdir()}
    assert set(folders) == {"failed", "finished"}
    assert not (folders["failed"] / "DONE").exists()
    assert (folders["finished"] / "DONE").exists()
    assert manifest(folders["failed"])["message"] == message.replace("failed: ", "RunFailed: ")
    assert done.last_line == folders["finished"]


def test_a_failed_run_alone_ends_with_code_3_and_no_folder_line(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", *SMALL, "epochs=1", "optimizer.lr=1e30")
    assert (done.code, done.out) == (3, "")
    assert [line.split(":")[0] for line in messages(done)] == ["failed"]


def test_a_figure_whose_runs_are_missing_names_the_command_that_makes_them(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "figure.py", "figure=fig2", "scale=smoke", "logger=none", "launcher=null")
    assert (done.code, done.out) == (3, "")
    assert len(messages(done)) == 1
    assert "make fig2 SCALE=smoke" in done.err


def test_a_figure_that_fails_hides_no_other_of_its_command(tmp_path: Path) -> None:
    figures = ("figure.py", "-m", "figure=fig2,fig1,fig3", "scale=smoke", "logger=none", "launcher=null")
    done = invoke(tmp_path / "outputs", *figures)
    assert done.code == 3
    assert done.last_line == tmp_path / "outputs" / "figures" / "smoke" / "fig1.png"
    assert done.last_line.is_file()
    for name in ("fig2", "fig3"):
        assert f"make {name} SCALE=smoke" in done.err
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"figures", "sweeps"}


def test_a_script_that_fails_for_a_figure_ends_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, ends_with in (("RUN", SystemExit), ("MULTIRUN", RunFailed)):
        monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.get", lambda mode=mode: HydraConf(mode=RunMode[mode]))
        with pytest.raises(ends_with), one_message("fig2"):
            raise SystemExit(2)


# --- refused input ---


def messages(done: Done) -> list[str]:
    """Standard error without a progress bar."""
    lines = re.split(r"[\r\n]", done.err)
    return [line for line in lines if line.strip() and "step/s]" not in line]


def test_a_wrong_run_refuses_its_whole_sweep_before_any_run(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", "-m", *SMALL, "seed=0,1", "epochs=1,0", imports=True)
    assert (done.code, done.out) == (2, "")
    assert messages(done) == ["refused: epochs = 0: should be greater than or equal to 1"]
    assert not (tmp_path / "outputs").exists()
    assert "hydra" in done.imported
    assert "torch" not in done.imported


def test_a_refused_run_does_not_import_torch_and_leaves_nothing(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", *SMALL, "epohcs=1", imports=True)
    assert (done.code, done.out) == (2, "")
    assert messages(done) == ["refused: epohcs = 1: there is no such field; did you mean epochs?"]
    assert not (tmp_path / "outputs").exists()
    assert "torch" not in done.imported


def test_a_misspelt_field_of_a_figure_is_refused_with_the_fields_of_figures(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "figure.py", "figure=fig1", "logger=none", "figure.titel=3")
    assert (done.code, done.out) == (2, "")
    assert "figure.titel = 3: there is no such field" in done.err
    assert "figure.title" in done.err
    assert "optimizer.lr" not in done.err


def test_help_lists_groups_and_options_and_does_not_import_torch(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", "--help", imports=True)
    assert done.code == 0
    assert "dataset: cifar10, digits, fashion_mnist, mnist" in done.out
    assert "torch" not in done.imported


# --- interruption ---


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    help = command("train.py", ["--help"])
    done = subprocess.run(help, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(tmp_path))
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.usefixtures("trained")
def test_a_command_without_standard_output_is_done(outputs_of_module: Path) -> None:
    called = shlex.join(command("train.py", [*SMALL, "epochs=2"])) + " >&-"
    done = subprocess.run(called, shell=True, stderr=subprocess.PIPE, text=True, env=environment(outputs_of_module))
    assert done.returncode == 0, done.stderr


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "ended too early"
        time.sleep(0.01)


def test_an_interrupted_run_says_so_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    overrides = [*SMALL, "epochs=40"]
    process = subprocess.Popen(
        command("train.py", overrides),
        env=environment(outputs),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have it ignored in background
    )
    try:
        wait_for(lambda: any(outputs.glob("runs/*/checkpoint.pt")), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        process.kill()
    [folder] = (outputs / "runs").iterdir()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "interrupted: the same command goes on where it stopped" in err
    assert manifest(folder)["status"] == "interrupted"
    assert not (folder / "DONE").exists()

    done = invoke(outputs, "train.py", *overrides)
    assert (done.code, done.last_line) == (0, folder)
    assert "goes on after epoch" in done.err
    assert (manifest(folder)["status"], manifest(folder)["starts"]) == ("finished", 2)
    epochs = pd.read_parquet(folder / "metrics.parquet").query("metric == 'loss'")["epoch"]
    assert epochs.tolist() == list(range(1, 41))


# --- messages, without a process of their own ---


def told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        leave(error)
    printed = capsys.readouterr()
    assert printed.out == ""
    return int(caught.value.code or 0), printed.err.removesuffix("\n")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RefusedInput("a = 1: no"), 2, "refused: a = 1: no"),
        (TurnOverError("ids missing"), 2, "refused: ids missing"),
        (RunFailed("nan"), 3, "failed: nan"),
        (KeyboardInterrupt(), 130, "interrupted: the same command goes on where it stopped"),
    ],
)
def test_exit_codes(error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(error, capsys) == (code, message)


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        leave(ZeroDivisionError("a bug"))


def test_a_bug_in_a_run_of_another_process_is_not_called_a_refusal() -> None:
    """Its trace is lost on the way, and Hydra raises it again."""
    done = JobReturn(status=JobStatus.FAILED, _return_value=IndexError("a bug"))
    with pytest.raises(IndexError, match="a bug") as caught:
        _ = done.return_value
    with pytest.raises(IndexError, match="a bug"):
        leave(caught.value)


@pytest.fixture(scope="module")
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def begin(entry: str, overrides: Sequence[str]) -> None:
    """What an entry point does before any work."""
    config = compose(entry, overrides=list(overrides))
    if entry == "probe":
        of_probe(config)
        return
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    parse(FigureJob if entry == "figure" else RunConfig, values)


def refused(entry: str, overrides: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """What goes wrong with these arguments."""
    monkeypatch.setattr(sys, "argv", [f"{entry}.py", *overrides])
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any kind; what is told about it is tested
        begin(entry, overrides)
    return caught.value


OPTIONS_OF_DATASET = "dataset = imagenet: there is no such option; options of dataset: cifar10"


@pytest.mark.usefixtures("_hydra")
@pytest.mark.parametrize(
    ("entry", "overrides", "parts", "never"),
    [
        ("train", "epohcs=1", ["epohcs = 1", "did you mean epochs?"], "Traceback"),
        ("train", "optimiser.lr=1", ["optimiser.lr = 1", "did you mean optimizer.lr"], "Traceback"),
        ("train", "corruption.counts=3", ["corruption.counts = 3", "did you mean corruption.count"], "Traceback"),
        ("train", "qqq=1", ["qqq = 1", "allowed: augmentation"], "Traceback"),
        ("train", "datset=digits", ["datset = digits", "did you mean dataset or"], "Traceback"),
        ("train", "dataset=imagenet", [OPTIONS_OF_DATASET, "digits", "fashion_mnist", "mnist"], "Config search"),
        ("train", "model=resnet", ["model = resnet", "mlp"], "Config search"),
        ("train", "schedule=warmup", ["schedule = warmup", "constant", "multistep", "cosine"], "Config search"),
        ("train", "+experiment=fig99", ["experiment = fig99", "fig2"], "Config search"),
        ("train", "schedule.gamma=0.5", ["schedule.gamma = 0.5", "not a field of the chosen option of 'sch"], "+sch"),
        ("train", "experiment=fig2", ["experiment = fig2", "+experiment=fig2"], "not a field"),
        ("train", "epochs=[1", ["[1"], "Traceback"),
        ("train", "epochs", ["epochs: is no option; one is set by name=value"], "EQUAL"),
        (
            "probe",
            "probe=knm runs=['dataset=digits']",
            ["probe = knm: there is no such option", "knn"],
            "Config search",
        ),
        ("probe", "probe.k=3 runs=['dataset=digits']", ["probe.k = 3"], "Traceback"),
        ("probe", "probe.neighbours=0 runs=['dataset=digits']", ["probe.neighbours = 0: must be a whole"], "Traceback"),
        ("probe", "runs=[]", ["runs = []: must be a list of overrides of scripts/train.py"], "Traceback"),
        ("probe", "runs=['epohcs=1']", ["runs = ['epohcs=1']", "name train runs, for example runs=["], "Traceback"),
        ("figure", "scale=smoke", ["figure", "fig1", "fig2"], "Traceback"),
        ("figure", "figure=fig99", ["figure = fig99: there is no such option", "fig1", "fig2"], "Config search"),
        ("figure", "figure=fig1 logger.mode=maybe", ["logger.mode = 'maybe'", "'offline' or 'online'"], "NoLogger"),
        ("audit", "data=. model=gpt", ["model = gpt: chooses its own optimizer", "another model"], "Did you mean"),
        ("figure", "figure=fig1 scale.name=huge", ["scale.name"], "Traceback"),
    ],
)
def test_a_wrong_override_is_told_in_a_readable_way(
    entry: str,
    overrides: str,
    parts: list[str],
    never: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, message = told(refused(entry, overrides.split(), monkeypatch), capsys)
    assert code == 2
    assert message.startswith("refused: ")
    assert all(part in message for part in parts), message
    assert not any(each in message for each in ("HYDRA_FULL_ERROR", never)), message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"seed: [1\nfoo: }", "line 2"),
        (b'seed: !!python/object/apply:os.system ["true"]', "could not determine a constructor for the tag"),
        (b"\xff\xfe bad", "cannot be read"),
        (b"seed: \x00", "special characters are not allowed"),
    ],
    ids=["syntax", "tag", "binary", "zero"],
)
def test_a_config_file_that_cannot_be_read_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    folder = tmp_path / "sent" / "experiment"
    folder.mkdir(parents=True)
    (folder / "sent.yaml").write_bytes(content)
    done = invoke(tmp_path / "outputs", "train.py", "--config-dir", str(tmp_path / "sent"), "+experiment=sent", *SMALL)
    assert done.code == 2, done.err
    assert done.err.startswith("refused: ")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_a_sweep_over_nothing_is_refused(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", "-m", *SMALL, "seed=range(0)")
    assert done.code == 2
    assert "seed=range(0): a sweep over no value" in done.err


def test_a_field_of_another_launcher_is_named(tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", *SMALL, "hydra.launcher.n_jobs=0")
    told = "refused: hydra.launcher.n_jobs = 0: there is no such field of what was chosen for hydra.launcher\n"
    assert (done.code, done.err) == (2, told)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hydra/job_logging=default", "hydra.verbose=true"),
        ("+hydra.job.env_set.TURNOVER_TRIED=1", "hydra.output_subdir=.hydra", "hydra.run.dir=here"),
        ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "hydra.launcher.verbose=1", "seed=0"),
        ("-m", "hydra.sweep.dir=swept", "hydra.sweep.subdir=x", "seed=0"),
    ],
)
def test_what_hydra_allows_is_allowed(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = invoke(tmp_path / "outputs", "train.py", *arguments, *SMALL, "epochs=1")
    assert done.code == 0, done.err
    assert (done.last_line / "DONE").is_file()


@pytest.mark.usefixtures("_hydra")
def test_a_cluster_may_need_lines_of_its_own() -> None:
    """Slurm's launcher writes them into its script before the job."""
    given = ["hydra/launcher=slurm", 'hydra.launcher.setup=["module load cuda"]']
    config = compose("train", overrides=given, return_hydra_config=True)
    assert list(config.hydra.launcher.setup) == ["module load cuda"]
