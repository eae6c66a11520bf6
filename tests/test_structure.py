"""The shape of the house: which package imports which, small documented modules, a lock file, no private paths."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from packaging.requirements import Requirement

import turnover
from turnover.common.device import peak_memory
from turnover.runs.store.tables import (
    METRICS,
    METRICS_COLUMNS,
    PROBE_COLUMNS,
    SCORE_COLUMNS,
    STEP_COLUMN,
    SUBSET_COLUMNS,
    Metric,
    write_metrics,
)

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "turnover"
MODULES = sorted(SOURCE.rglob("*.py"))

# The packages of src/turnover, and those of its wing `experiments`. One imports only those before it, and itself.
PACKAGES = """
    errors common config stats core checks data models gradients training estimators probes language runs audit
    experiments integrations
""".split()
WING = "results plots validation figures report reproduction documentation".split()
# what only an extra installs, and no module before `runs` imports at its top; turnover.config composes by Hydra
EXTRAS = "backpack cleanlab hydra jinja2 matplotlib omegaconf PIL scipy sklearn submitit torchvision vit_pytorch wandb"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, except what only a type checker sees."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield child
        yield from statements(child)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, inside functions too."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


# --- packages ---


def test_the_import_reader_sees_what_it_should() -> None:
    code = """
import a.b
from turnover.c import d
from . import e
if TYPE_CHECKING:
    import never
else:
    import f
def function():
    with x:
        from turnover import g
"""
    assert [found for _, found in imports(ast.parse(code))] == ["a.b", "turnover.c.d", "..e", "f", "turnover.g"]


def test_the_top_level_can_be_read_at_a_glance() -> None:
    entries = {path.name for path in SOURCE.iterdir() if path.is_file() or any(path.rglob("*.py"))}
    assert {name.removesuffix(".py") for name in entries - {"__init__.py", "py.typed"}} == set(PACKAGES)
    assert len(entries) <= 19


def place(parts: tuple[str, ...]) -> tuple[int, int]:
    """Where a module is in the order of packages and, inside of `experiments`, in that of its parts."""
    inside = parts[1:2] if parts[0] == "experiments" else ()
    return PACKAGES.index(parts[0]), WING.index(inside[0]) if inside and inside[0] in WING else 0


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_imports_only_packages_before_its_own(path: Path) -> None:
    here = path.relative_to(SOURCE).with_suffix("").parts
    for line, imported in imports(parsed(path)):
        where = f"{name(path)}:{line} imports {imported}"
        assert not imported.startswith("."), f"{where}: relative"
        parts = imported.split(".")
        if parts[0] != "turnover":
            continue
        assert here != ("__init__",), f"{where}: the package itself imports nothing before it is used"
        assert place(tuple(parts[1:])) <= place(here), f"{where}: {'/'.join(here)} is before it"


def test_no_modules_import_each_other() -> None:
    graph = {}
    for path in MODULES:
        known = {".".join(each.relative_to(SOURCE.parent).with_suffix("").parts) for each in MODULES}
        both = {part for _, full in imports(parsed(path)) for part in (full, full.rpartition(".")[0])}
        graph[".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)] = both & known
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    "path", [each for each in MODULES if package(each) in PACKAGES[: PACKAGES.index("runs")]], ids=name
)
def test_the_library_needs_no_extra(path: Path) -> None:
    if name(path) == "src/turnover/config/compose.py":
        return
    tree = parsed(path)
    at_the_top = [alias for node in tree.body if isinstance(node, ast.Import) for alias in (a.name for a in node.names)]
    at_the_top += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert [each for each in at_the_top if each.split(".")[0] in EXTRAS.split()] == []


def test_core_can_be_read_in_an_hour() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.glob("core/*.py")) <= 1800


def test_scripts_hold_no_science() -> None:
    """A page each, and only the doors of the house."""
    for path in sorted((ROOT / "scripts").glob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 80 or path.stem in (
            "benchmark",
            "contestants",
            "contestants_gradients",
            "contestants_labels",
            "faults",
            "scaling",
            "scaling_large",
            "stress",
        ), name(path)
        assert ast.get_docstring(parsed(path)), name(path)


# --- modules ---


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 260


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree) or not tree.body  # an empty __init__.py is only a mark


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[tuple[str, Function, bool]]:
    """Name, definition and whether it is public and new: not a property, and not a hook that a base class documents."""
    for node in tree.body:
        if isinstance(node, Function):
            yield node.name, node, not node.name.startswith("_")
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, Function):
                    plain = not node.bases and "property" not in map(ast.unparse, inner.decorator_list)
                    public = not node.name.startswith("_") and not inner.name.startswith("_")
                    yield f"{node.name}.{inner.name}", inner, plain and public


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_public_function_has_a_docstring(path: Path) -> None:
    silent = [each for each, node, public in functions(parsed(path)) if public and not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_function_has_all_its_types(path: Path) -> None:
    untyped = []
    for each, node, _ in functions(parsed(path)):
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        missing = [one.arg for one in arguments if one and not one.annotation and one.arg not in ("self", "cls")]
        untyped += [f"{each}({', '.join(missing)})"] * (bool(missing) or node.returns is None)
    assert untyped == []


# --- the package from outside ---


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_does_not_import_torch() -> None:
    heavy = "print([name for name in ('torch', 'pandas', 'numpy', 'hydra', 'wandb') if name in sys.modules])"
    assert in_a_new_process(f"import sys, turnover; {heavy}") == "[]"


def test_what_runs_before_a_cached_or_refused_run_does_not_import_torch() -> None:
    modules = ", ".join(
        f"turnover.{each}" for each in ("config.compose", "runs.cli", "runs.plan", "runs.execute", "runs.store.run")
    )
    assert in_a_new_process(f"import sys, {modules}; print('torch' in sys.modules)") == "False"


def test_a_figure_of_finished_runs_does_not_import_torch() -> None:
    modules = ", ".join(f"turnover.experiments.figures.{each}" for each in ("make", *(f"fig{n}" for n in range(2, 7))))
    assert in_a_new_process(f"import sys, {modules}; print('torch' in sys.modules)") == "False"


def test_the_python_api_needs_no_module_of_unix() -> None:
    code = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("resource", "fcntl", "termios", "pwd", "grp"):
            raise ModuleNotFoundError(name)
for name in ("resource", "fcntl", "termios", "pwd", "grp"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
import turnover
names = [getattr(turnover, name).__name__.rpartition(".")[2] for name in turnover.__all__]
import torch
from torch import nn
from turnover.common.device import peak_memory
def make_model():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
table = turnover.memorization(make_model, torch.rand(8, 4), torch.arange(8) % 2, 1, 0.1, seeds=1, progress=False)
print(names == turnover.__all__, len(table), peak_memory(torch.device("cpu")))
"""
    assert in_a_new_process(code) == "True 8 {}"
    assert peak_memory(torch.device("cpu"))["host"] > 1_000_000


@pytest.mark.parametrize("package", [turnover, turnover.language])
def test_every_public_name_resolves(package: Any) -> None:
    assert sorted(package.__all__) == package.__all__ == dir(package)
    for public in package.__all__:
        found = getattr(package, public)
        if found is turnover.language:
            continue
        assert callable(found)
        assert found.__doc__
        assert getattr(importlib.import_module(found.__module__), public) is found


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'turnover' has no attribute 'masks_of'"):
        _ = turnover.masks_of
    with pytest.raises(AttributeError, match=r"module 'turnover\.language' has no attribute 'exposures'"):
        _ = turnover.language.exposures


# --- versions ---


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = project["project"]["optional-dependencies"].values()
    groups = (project["build-system"]["requires"], project["project"]["dependencies"], *extras)
    return [Requirement(text) for group in groups for text in group]


def test_the_package_has_lower_bounds_and_the_reproduction_exact_versions(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    for each in requirements(project):
        assert [bound.operator for bound in each.specifier] == [">="], f"{each}: one lower bound"
        assert each.specifier.contains(locked[each.name]), f"{each}: constraints.txt has {locked[each.name]}"


def test_the_python_version_is_the_same_everywhere(project: dict[str, Any]) -> None:
    version = project["tool"]["mypy"]["python_version"]
    assert project["project"]["requires-python"] == f">={version}"
    assert project["tool"]["ruff"]["target-version"] == "py" + version.replace(".", "")


def test_the_citation_agrees_with_the_project(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    for ours, theirs in (("title", "name"), ("version", "version"), ("license", "license")):
        assert citation[ours] == project["project"][theirs]


# --- what is tracked ---


def tracked() -> list[Path]:
    """Every file of the repository that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in done.stdout.split("\0") if line and (ROOT / line).is_file()]


PRIVATE = re.compile(r"(?<![\w.~$}])/(?:home|root|tmp|Users|work|mnt|scratch)/\w")
REGISTRY = re.compile(r"https?://\S*?(?:pypi|pythonhosted|npmjs|anaconda|deb\.debian|ubuntu|devpi|artifactory)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see " + "/".join(["", "home", "me", "x"]), True),
        ("'" + "/".join(["", "tmp", "x"]) + "'", True),
        ("$HOME/tmp/x ~/tmp/x ./tmp/x a/tmp/x", False),
        ("https:" + "//registry.npmjs.org/x", True),
        ("--index-url https:" + "//mirror.local/pypi/simple", True),
        ("https:" + "//arxiv.org/abs/2112.08798 npm pack, pip install", False),
    ],
)
def test_the_search_for_private_paths_finds_them(text: str, found: bool) -> None:
    assert bool(PRIVATE.search(text) or REGISTRY.search(text)) == found


def test_no_private_path_and_no_registry_is_written_down() -> None:
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:  # a picture or a table
            continue
        bad = (number for number, line in enumerate(lines, 1) if PRIVATE.search(line) or REGISTRY.search(line))
        found += [f"{name(path)}:{number}" for number in bad]
    assert found == []


# --- documented tables ---


def test_every_metric_and_column_is_documented() -> None:
    columns = [
        *METRICS_COLUMNS.values(),
        *STEP_COLUMN.values(),
        *SCORE_COLUMNS.values(),
        *SUBSET_COLUMNS.values(),
        *PROBE_COLUMNS.values(),
    ]
    for text in [*METRICS.values(), *(doc for _, doc in columns)]:
        assert len(text) > 8
        assert not text.endswith(".")
    assert all(re.fullmatch(r"[a-z0-9_]+", metric) for metric in METRICS)


def test_a_metric_without_a_line_of_documentation_is_refused() -> None:
    with pytest.raises(ValueError, match="'acuracy' is not documented"):
        Metric(1, "test", "all", "acuracy", 1.0)


def test_a_table_carries_its_documentation(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.parquet", [Metric(1, "test", "easy", metric, 0.5) for metric in METRICS])
    schema = pq.read_schema(tmp_path / "metrics.parquet")
    assert schema.names == list(METRICS_COLUMNS)
    for column, (kind, doc) in METRICS_COLUMNS.items():
        assert schema.field(column).type == kind
        assert schema.field(column).metadata[b"doc"].decode() == doc
