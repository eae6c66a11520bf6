"""What is released: the wheel, installed where nothing else of the project is; its version and its changelog."""

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tracked files, by the pinned setuptools that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "src", "pyproject.toml"]
    listed += ["README.md", "LICENSE"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        target = sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "--wheel-dir", folder, sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel and what it requires, and with nothing else.

    What it requires is not downloaded again: links to the installed files of those distributions stand for it.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    asked = "import site; print(site.getsitepackages()[0])"
    site = Path(subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip())
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--quiet", str(wheel)], check=True, capture_output=True)
    for name in required(PROJECT["project"]["dependencies"]):
        for top in tops(name):
            if not (site / top.name).exists():
                (site / top.name).symlink_to(top)
    return python


def required(dependencies: list[str]) -> set[str]:
    """The names of these distributions and of all that they require, without extras."""
    found: set[str] = set()
    ahead = list(dependencies)
    while ahead:
        requirement = Requirement(ahead.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            ahead += distribution(requirement.name).requires or []
        except PackageNotFoundError:
            continue  # of another platform
        found.add(requirement.name)
    return found


def tops(name: str) -> set[Path]:
    """What a distribution has put into site-packages."""
    known = distribution(name)
    root = Path(str(known.locate_file("")))
    parts = {file.parts[0] for file in known.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {root / part for part in parts if (root / part).exists()}


def run(python: Path, code: str, folder: Path) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([python, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_has_every_module_and_the_mark_of_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    assert {path.relative_to(source).as_posix() for path in source.rglob("*.py")} <= names
    assert "turnover/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"turnover", f"turnover-{PROJECT['project']['version']}.dist-info"}


def test_the_package_needs_neither_hydra_nor_wandb() -> None:
    base = required(PROJECT["project"]["dependencies"])
    assert base >= {"numpy", "pandas", "torch", "tqdm"}
    assert not base & {"hydra-core", "omegaconf", "submitit", "wandb", "matplotlib", "torchvision"}


def test_the_api_works_where_only_the_wheel_is_installed(clean_python: Path, tmp_path: Path) -> None:
    code = """
import importlib.util, sys
there = [name for name in ("hydra", "omegaconf", "wandb", "matplotlib", "mkdocs") if importlib.util.find_spec(name)]
assert there == [], there
import torch, turnover
from torch import nn
assert sys.prefix in turnover.__file__, turnover.__file__
def make(): return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))
x = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
y = x[:, :3].argmax(1)
table = turnover.memorization(make, x, y, epochs=3, lr=0.1, batch_size=30, seeds=2, progress=False)
assert len(table) == 90 and table["score"].notna().all() and "verdict" in table.attrs["leakage"]
model = turnover.attach(make())
ids = torch.arange(90)
with turnover.own(model, ids): model(x)
with turnover.flipped(model, ids): model(x)
assert turnover.influence(model, x[:2], y[:2], ids).shape == (2, 90)
assert len(turnover.score(model, x, y)) == 90
assert turnover.mask(ids, 64, 0, 0).shape == (90, 64)
turnover.detach(model)
print("done")
"""
    assert run(clean_python, code, tmp_path) == "done"


def test_the_installed_version_is_that_of_the_project(clean_python: Path, tmp_path: Path) -> None:
    found = run(clean_python, "from importlib.metadata import version; print(version('turnover'))", tmp_path)
    assert found == PROJECT["project"]["version"]


# --- changelog ---

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_newest_release_is_the_version_of_the_project() -> None:
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", CHANGELOG, flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["project"]["version"]
