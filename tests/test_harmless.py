"""Nothing that stands in a config is run: code, shell commands and loggers are refused before anything is done."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_cli import ROOT, SMALL, environment

from turnover.errors import RefusedInput
from turnover.harmless import refuse_code

CALL = {"_target_": "os.system", "command": "touch {mark}"}
LOGGER = {"version": 1, "handlers": {"x": {"()": "os.system", "command": "touch {mark}"}}, "root": {"handlers": ["x"]}}
ATTACKS = {
    "a callback": {"callbacks": {"more": CALL}},
    "our callback": {"callbacks": {"plan": CALL}},
    "the launcher": {"launcher": {"_target_": "os.abort"}},
    "the sweeper": {"sweeper": {"_target_": "os.abort"}},
    "logging of jobs": {"job_logging": LOGGER},
    "logging of Hydra": {"hydra_logging": LOGGER},
    "environment": {"job": {"env_set": {"PATH": "{mark}"}}},
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hydra.launcher.setup", ["rm -rf ~"]),
        ("hydra.launcher.name", "a\nrm -rf ~"),
        ("hydra.launcher.additional_parameters", {"a\nb": "c"}),
        ("hydra.launcher.additional_parameters", {"a\nb": {"c": "d"}}),
        ("hydra.launcher.name", "${experiment}"),
        ("hydra.launcher.comment", "${experiment}${hydra.job.num}"),
        ("hydra.launcher.submitit_folder", "${oc.env:HOME}"),
        ("hydra.launcher._target_", "subprocess.Popen"),
        ("hydra.launcher.more", [{"_target_": "subprocess.Popen"}]),
    ],
)
def test_what_would_end_up_in_a_shell_is_refused(field: str, value: object) -> None:
    config = OmegaConf.create({"hydra": {"launcher": {}}, "experiment": "a\nrm -rf ~"})
    refuse_code(config)
    OmegaConf.update(config, field, value)
    with pytest.raises(RefusedInput, match=r"hydra\.launcher\."):
        refuse_code(config)


@pytest.mark.parametrize("launcher", ["basic", "joblib", "slurm"])
def test_our_own_launchers_are_not_refused(launcher: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        refuse_code(compose("train", overrides=[f"hydra/launcher={launcher}"], return_hydra_config=True))


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
