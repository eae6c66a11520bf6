"""The pages on adding something: a test does what they say, in a copy of the repository."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from processes import script
from readings import ROOT, page

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)


def copy(folder: Path) -> Path:
    """What of the repository is needed to work with it."""
    for part in ("src", "conf", "scripts"):
        # with what is compiled, which is as old as its source
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def changed(text: str, diff: str) -> str:
    """Text with the lines of a diff changed; they must stand in it once, together."""
    lines = [(line[:1] or " ", line[1:]) for line in diff.splitlines()]
    before = "".join(f"{line}\n" for sign, line in lines if sign in " -")
    after = "".join(f"{line}\n" for sign, line in lines if sign in " +")
    assert text.count(before) == 1, f"these lines must be there once:\n{before}"
    return text.replace(before, after)


def follow(name: str, here: Path) -> Path:
    """Do what a page says, in this copy; returns the path that its last command prints."""
    printed, files = "", []
    for kind, title, body in _BLOCK.findall(page(name)):
        if kind == "diff":
            path = here / title
            path.write_text(changed(path.read_text(encoding="utf-8"), body), encoding="utf-8")
        elif kind == "sh":
            for command in body.splitlines():
                python, path, *arguments = shlex.split(command)
                assert python == ".venv/bin/python"
                environment = os.environ | {"TURNOVER_DATA": str(here / "data")}
                done = script(here / path, *arguments, environment=environment, where=here, source=here / "src")
                assert done.returncode == 0, f"{command}\n{done.stderr}"
                printed = done.stdout
            continue
        else:
            assert title, f"docs/{name}: a block of {kind} does not say where it belongs"
            (here / title).write_text(body, encoding="utf-8")
        files += [title] if title.endswith(".py") else []
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, *sorted(set(files))]
        done = subprocess.run(ruff, cwd=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return Path(printed.splitlines()[-1])


def test_lines_of_a_diff_must_be_there() -> None:
    assert changed("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    with pytest.raises(AssertionError, match="must be there once"):
        changed("a\nc\n", " a\n-b\n+d\n")


def test_a_model_is_added_as_the_page_says(tmp_path: Path) -> None:
    run = follow("adding-a-model.md", copy(tmp_path))
    assert run.name.startswith("score-digits-residual-")
    table = pd.read_parquet(run / "scores.parquet")
    assert table["score"].notna().all()
    assert "depth: 3" in (run / "config.yaml").read_text(encoding="utf-8")


def test_a_data_set_is_added_as_the_page_says(tmp_path: Path) -> None:
    run = follow("adding-a-dataset.md", copy(tmp_path))
    assert run.name.startswith("score-mydata-mlp-")
    table = pd.read_parquet(run / "scores.parquet").query("epoch == epoch.max()")
    assert len(table) == 1200
    assert table["corrupted"].sum() == 120
    means = table.groupby("corrupted")["score"].mean()
    assert means[True] > means[False] + 0.1


def test_an_estimator_is_added_as_the_page_says(tmp_path: Path) -> None:
    run = follow("adding-an-estimator.md", copy(tmp_path))
    table = pd.read_parquet(run / "scores.parquet")
    assert table["variability"].between(0, 0.5).all()
    assert table["variability"].nunique() > 100
    assert (table["score"] - table["variability"]).abs().max() < 1e-6


def test_a_method_is_added_as_the_page_says(tmp_path: Path) -> None:
    run = follow("adding-a-method.md", copy(tmp_path))
    assert "name: sce" in (run / "config.yaml").read_text(encoding="utf-8")
    assert pd.read_parquet(run / "scores.parquet")["score"].nunique() > 100


def test_a_factor_is_added_as_the_page_says(tmp_path: Path) -> None:
    here = copy(tmp_path)
    run = follow("adding-a-factor.md", here)
    assert "momentum: 0.0" in (run / "config.yaml").read_text(encoding="utf-8")
    swept = """
from turnover.experiments.figures.factors import factor_of
from turnover.experiments.plots.figure import runs_of
print(*[factor_of(config) for config in runs_of(["factors"], "laptop")])"""
    done = subprocess.run(
        [sys.executable, "-c", swept],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(here / "src")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split().count("no_momentum") == 10, done.stderr  # with and without wrong labels, five seeds


def test_a_probe_is_added_as_the_page_says(tmp_path: Path) -> None:
    folder = follow("adding-a-probe.md", copy(tmp_path))
    assert folder.name.startswith("probe-participation-digits-mlp-")
    values = pd.read_parquet(folder / "probes.parquet").set_index("block")["value"]
    assert list(values.index) == ["1", "3", "5"]
    assert (values > 1).all()
    assert (values < [32, 16, 10]).all()


def test_a_figure_is_added_as_the_page_says(tmp_path: Path) -> None:
    picture = follow("adding-a-figure.md", copy(tmp_path))
    assert picture.name == "gap.png"
    numbers = pd.read_csv(picture.with_suffix(".csv"))
    last = numbers[numbers["epoch"] == numbers["epoch"].max()].pivot(index="seed", columns="curve", values="value")
    claim = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))["claims"]["gap"]
    gap, train = claim["measures"]
    assert gap["by_seed"] == pytest.approx((last["train"] - last["test"]).tolist())
    assert train["by_seed"] == pytest.approx(last["train"].tolist())
    assert len(gap["by_seed"]) == 3
    assert claim["verdict"] == gap["verdict"]
