"""Nothing that stands in a config is run: code, shell commands and loggers are refused before anything is done."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from test_cli import ROOT, SMALL, environment

from turnover.config.guard import LAUNCHERS, refuse_code
from turnover.errors import RefusedInput

CALL = {"_target_": "os.system", "command": "touch {mark}"}
LOGGER = {"version": 1, "handlers": {"x": {"()": "os.system", "command": "touch {mark}"}}, "root": {"handlers": ["x"]}}
CLIENT = "turnover.data.clients.run_client"
RESOLVED = f"{{{{_target_:{CLIENT},command:[touch,{{mark}}],folder:{{{{_target_:pathlib.Path}}}},hint:x}}}}"
FILE = "{{class:logging.FileHandler,filename:{mark}}}"
ATTACKS: dict[str, dict[str, object]] = {
    "a callback": {"callbacks": {"more": CALL}},
    "our callback": {"callbacks": {"plan": CALL}},
    "the launcher": {"launcher": {"_target_": "os.abort"}},
    "the sweeper": {"sweeper": {"_target_": "os.abort"}},
    "logging of jobs": {"job_logging": LOGGER},
    "logging of Hydra": {"hydra_logging": LOGGER},
    "environment": {"job": {"env_set": {"PATH": "{mark}"}}},
    # a resolver makes a mapping of what looks like a text
    "a callback that is resolved": {"callbacks": {"more": "${{oc.create:" + RESOLVED + "}}"}},
    "callbacks that are resolved": {"callbacks": "${{oc.create:{{more:" + RESOLVED + "}}}}"},
    "a callback that is decoded": {"callbacks": {"more": "${{oc.decode:'" + RESOLVED + "'}}"}},
    "logging that is resolved": {"job_logging": "${{oc.create:{{version:1,handlers:{{x:" + FILE + "}}}}}}"},
    "a file of the log": {"job_logging": {"handlers": {"x": {"class": "logging.FileHandler", "filename": "{mark}"}}}},
    "the folder of a run": {"run": {"dir": "{mark}"}},
    "the folder of a config": {"output_subdir": "{mark}"},
    "the folder of a sweep": {"sweep": {"dir": "{mark}"}},
    "the folder of a sweep, resolved": {"sweep": {"dir": "${{experiment}}"}},
    "the folder of a job": {"sweep": {"subdir": "{mark}"}},
    "the working directory": {"job": {"chdir": True}},
}


def written(value: object, mark: Path) -> object:
    if isinstance(value, dict):
        return {key: written(each, mark) for key, each in value.items()}
    if isinstance(value, list):
        return [written(each, mark) for each in value]
    return value.format(mark=mark) if isinstance(value, str) else value


def run(tmp_path: Path, content: dict[str, object], *arguments: str) -> subprocess.CompletedProcess[str]:
    """An experiment that someone sent, in a folder of its own."""
    folder = tmp_path / "sent" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\n" + yaml.safe_dump(content, sort_keys=False)
    (folder / "sent.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--config-dir", str(tmp_path / "sent")]
    return subprocess.run(
        [*command, *arguments, "+experiment=sent", *SMALL],
        env=environment(tmp_path / "outputs"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("arguments", [(), ("-m", "seed=0,1")], ids=["run", "sweep"])
def test_an_experiment_that_names_code_is_refused(attack: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    done = run(tmp_path, {"hydra": written(ATTACKS[attack], mark)}, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("refused: hydra."), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not mark.exists()
    assert not (tmp_path / "outputs" / "runs").exists()


@pytest.mark.parametrize("field", ["model", "optimizer", "corruption", "estimator", "anything"])
def test_a_target_in_a_group_is_refused(field: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    done = run(tmp_path, {field: written(CALL, mark)})
    assert (done.returncode, mark.exists()) == (2, False), done.stderr
    assert "_target_" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_sweep_over_such_values_is_refused(tmp_path: Path) -> None:
    params = {"+hydra.callbacks.more._target_": "os.abort", "seed": "0,1"}
    done = run(tmp_path, {"hydra": {"sweeper": {"params": params}}}, "-m")
    assert done.returncode == 2, done.stderr
    assert "_target_" in done.stderr


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hydra.launcher.setup", ["rm -rf ~"]),
        ("hydra.launcher.teardown", ["rm -rf ~"]),
        ("hydra.launcher.srun_args", ["--task-prolog=evil"]),
        ("hydra.launcher.name", "a\nrm -rf ~"),
        ("hydra.launcher.name", "a --wrap=b"),
        ("hydra.launcher.partition", "$(rm)"),
        ("hydra.launcher.additional_parameters", {"a\nb": "c"}),
        ("hydra.launcher.additional_parameters", {"a\nb": {"c": "d"}}),
        ("hydra.launcher.additional_parameters", {"export": "LD_PRELOAD=x"}),
        ("hydra.launcher.additional_parameters", {"chdir": "elsewhere"}),
        ("hydra.launcher.additional_parameters", {"output": "elsewhere"}),
        ("hydra.launcher.name", "${experiment}"),
        ("hydra.launcher.comment", "${experiment}${hydra.job.num}"),
        ("hydra.launcher.submitit_folder", "${oc.env:HOME}"),
        ("hydra.launcher.submitit_folder", "elsewhere"),
        ("hydra.launcher._target_", "subprocess.Popen"),
        ("hydra.launcher._target_", "${experiment}"),
        ("hydra.launcher.more", [{"_target_": "subprocess.Popen"}]),
        ("hydra.job.name", "a\nrm -rf ~"),
    ],
)
def test_what_would_end_up_in_a_shell_is_refused(field: str, value: object) -> None:
    config = composed("hydra/launcher=slurm")
    config.experiment = "a\nrm -rf ~"
    refuse_code(config)
    OmegaConf.update(config, field, value, force_add=True)
    with pytest.raises(RefusedInput, match=r"hydra\.(launcher|job)\."):
        refuse_code(config)


def test_a_launcher_of_someone_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sent" / "hydra" / "launcher"
    folder.mkdir(parents=True)
    slurm = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    (folder / "evil.yaml").write_text(yaml.safe_dump({"_target_": slurm, "teardown": ["touch mark"]}), encoding="utf-8")
    done = run(tmp_path, {}, "-m", "hydra/launcher=evil", "seed=0,1")
    told = "refused: hydra/launcher = evil: allowed: basic, joblib, slurm, submitit_slurm, submitit_local\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_what_is_chosen_in_another_process_is_checked_there(tmp_path: Path) -> None:
    """A worker of joblib has a variable that the process which starts it has not."""
    mark, folder = tmp_path / "mark", tmp_path / "sent" / "extra"
    folder.mkdir(parents=True)
    handlers = {"x": {"class": "logging.FileHandler", "filename": str(mark)}}
    evil = {"hydra": {"job_logging": {"handlers": handlers, "root": {"handlers": ["x"]}}}}
    for name, content in {"1": evil, "harmless": {}}.items():
        (folder / f"{name}.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content), encoding="utf-8")
    chosen: dict[str, object] = {"defaults": [{"/extra": "${oc.env:ENABLE_IPC,harmless}"}]}
    done = run(tmp_path, chosen, "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", "epochs=1")
    assert (done.returncode, mark.exists()) == (2, False), done.stderr
    assert "refused: hydra.job_logging." in done.stderr


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("entry", ["train", "score", "figure", "validate"])
def test_our_own_configs_are_not_refused(launcher: str, entry: str) -> None:
    figure = ["figure=fig1"] if entry == "figure" else []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        refuse_code(compose(entry, overrides=[f"hydra/launcher={launcher}", *figure], return_hydra_config=True))


@pytest.mark.parametrize(
    "override",
    [
        *("timeout_min=5", "partition=gpu", "cpus_per_task=8", "mem_gb=64", "array_parallelism=2", "gres=gpu:a100:1"),
        *("account=lab", "qos=high", "constraint='[a&b|c]'", "gpus_per_node=1", "nodes=2", "mem_per_cpu=4G"),
    ],
)
def test_a_launcher_may_be_asked_for_resources(override: str) -> None:
    refuse_code(composed("hydra/launcher=slurm", f"hydra.launcher.{override}"))


def test_other_settings_that_are_only_data(outputs: Path) -> None:
    refuse_code(composed("hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "hydra.verbose=true"))
    refuse_code(composed(f"hydra.sweep.dir={outputs}/sweeps/mine"))


@pytest.mark.parametrize("folder", ["{}", "{}/../x", "{}/runs", "{}/runs/x", "elsewhere", "'{}/a b'", "'{}/a\nb'"])
def test_a_sweep_writes_below_outputs_alone(folder: str, outputs: Path) -> None:
    with pytest.raises(RefusedInput, match=r"hydra\.sweep\.dir = .*: must be a folder below .*, outside of runs"):
        refuse_code(composed(f"hydra.sweep.dir={folder.format(outputs)}"))


def test_a_config_file_runs_no_yaml_tags(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    folder = tmp_path / "sent" / "experiment"
    folder.mkdir(parents=True)
    (folder / "sent.yaml").write_text(f'seed: !!python/object/apply:os.system ["touch {mark}"]\n', encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--config-dir", str(tmp_path / "sent")]
    done = subprocess.run(
        [*command, "+experiment=sent", *SMALL],
        env=environment(tmp_path / "outputs"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert not mark.exists()
