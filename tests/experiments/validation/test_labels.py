"""Labels of a file at smoke scale: every score is held against which of them differ from the data set's."""

import subprocess
from pathlib import Path

import numpy as np
import oracles
import pandas as pd
import pytest
from looking import finish_and_look

from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.data.datasets import load
from turnover.errors import RefusedInput, RunFailed
from turnover.experiments.validation import labels
from turnover.experiments.validation.labels import LabelsJob, make
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_scores

SCORES = ["cumulative_loss", "turnover", "blocks"]


def job(path: Path, scores: list[str], seeds: int, launcher: str | None = None) -> LabelsJob:
    where = {"path": str(path), "setting": "mnist_3000", "scale": "smoke", "launcher": launcher}
    return LabelsJob.model_validate(where | {"scores": scores, "seeds": seeds})


def runs_of(path: Path, *overrides: str) -> list[RunConfig]:
    return sweep(["setting=mnist_3000", "corruption=file", f'corruption.path="{path}"', "scale=smoke", *overrides])


@pytest.fixture
def clean() -> pd.DataFrame:
    """Ids and labels of the 200 examples."""
    [config] = sweep(["setting=mnist_3000", "estimator=aum", "scale=smoke"])
    train = load(config.dataset, config.corruption).train
    return pd.DataFrame({"id": train.ids.numpy(), "label": train.labels.numpy()})


def test_scores_are_held_against_the_labels_that_differ(
    clean: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 of the 200 examples, every tenth with the class before."""
    people, table = tmp_path / "of people.csv", clean.head(150).copy()
    table.loc[::10, "label"] = (table.loc[::10, "label"] + 9) % 10
    table.to_csv(people, index=False)
    monkeypatch.setattr(labels, "finish", finish_and_look)
    with pytest.raises(RunFailed, match="is not finished: make it with: make validate_labels"):
        make(job(people, SCORES, 2))
    asked = []

    def made(script: str, arguments: list[str]) -> None:
        asked.append(script)
        for config in sweep([text for text in arguments if text != "-m" and not text.startswith("hydra/")]):
            execute(config)

    monkeypatch.setattr(labels, "call", made)
    path = make(job(people, SCORES, 2, "basic"))
    assert asked == ["train.py"] * 3
    assert make(job(people, SCORES, 2)) == path
    table = pd.read_csv(path)
    assert (path.parent / "found.png").is_file()
    assert set(table["estimator"]) == set(SCORES) | {"turnover_probability", "turnover_flipped", "blocks_memorization"}
    assert set(table["wrong"]) == {15}
    assert set(table["examples"]) == {200}
    scores = [read_scores(Run(config).folder) for config in runs_of(people, "estimator=turnover", "seed=0,1")]
    wrong = (scores[0]["label"] != scores[0]["true_label"]).to_numpy()
    mean = np.mean([each["score"].to_numpy(float) for each in scores], axis=0)
    mine = table[table["estimator"] == "turnover"].set_index("seeds")
    assert mine.loc[2, "auroc"] == pytest.approx(oracles.auroc(mean, wrong), abs=1e-4)
    single = [oracles.auroc(each["score"].to_numpy(), wrong) for each in scores]
    assert mine.loc[1, "auroc"] == pytest.approx(np.mean(single), abs=1e-4)
    assert mine.loc[2, "precision"] == pytest.approx(wrong[np.argsort(-mean)[:15]].mean(), abs=1e-4)
    assert (table["auroc_low"] <= table["auroc"] + 1e-4).all()
    (tmp_path / "others").mkdir()
    other = tmp_path / "others" / people.name
    clean.assign(label=(clean["label"] + 1) % 10).head(20).to_csv(other, index=False)
    assert make(job(other, ["turnover"], 1, "basic")) != path, "a file of the same name has a folder of its own"
    blocks = table[(table["estimator"] == "blocks") & (table["seeds"] == 1)]
    assert blocks["networks"].tolist() == [6], "by the setting of their own"


def test_labels_that_all_agree_are_refused(clean: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "same.csv"
    clean.to_csv(path, index=False)
    for config in runs_of(path, "estimator=aum", "seed=0"):
        execute(config)
    with pytest.raises(RefusedInput, match="0 of 200 labels differ: nothing to find"):
        make(job(path, ["aum"], 1))


@pytest.mark.parametrize("name", ["Anna's ${x} $(1,2) = #写真.csv", ""])
def test_the_door_takes_any_path(tmp_path: Path, root: Path, name: str) -> None:
    given = f"LABELS={tmp_path / name}" if name else "LABELS="
    command = ["make", "-o", ".venv/installed", "validate_labels", "SCALE=smoke", given]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    told = ("must be a csv or npy file that is there", f"/{name}") if name else ("make validate_labels LABELS=path",)
    assert all(text in done.stdout + done.stderr for text in told), done.stderr
