"""What reaches wandb's server: an offline run that is synced later, a run that is sent while it works, a workspace.

The server is a stand-in on this machine (`wandb_server.py`); what talks to it is wandb's own program.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_checksums import stop_after
from wandb_records import NONE, OFFLINE, offline_runs, set_up, small
from wandb_server import Server, serving

from turnover.common.files import checkout
from turnover.errors import RefusedInput
from turnover.runs.dashboard import panels
from turnover.runs.dashboard import summary as showing
from turnover.runs.dashboard.summary import CLAIMS, FIGURES, HISTOGRAM, MOST_MEMORIZED, NUMBERS, QUANTILES, show_figure
from turnover.runs.dashboard.wandb import Files, dashboard
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import METRICS, read_metrics

wandb = pytest.importorskip("wandb")

KEY = "0123456789" * 4  # looks like one


@pytest.fixture(autouse=True)
def _own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as started:
        monkeypatch.setenv("WANDB_BASE_URL", started.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield started
        wandb.teardown()  # while there is a server to talk to; another test has another one


def command(*words: str) -> str:
    """What a command prints, in an environment as this test's."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sync(*folders: Path) -> None:
    """As a user does."""
    command("-m", "wandb", "sync", *map(str, folders))


def told(server: Server, run: str) -> dict[str, Any]:
    """Everything logged by a run, epoch by epoch."""
    return {f"{line['epoch']}/{name}": line[name] for line in server.history[run] for name in line if "/" in name}


def table(run: Path) -> dict[str, float]:
    metrics = read_metrics(run)
    subset = metrics["subset"].map(lambda name: "" if name == "all" else f"{name}/")
    names = metrics["epoch"].astype(str) + "/" + metrics["split"] + "/" + subset + metrics["metric"]
    return dict(zip(names, metrics["value"], strict=True))


def states(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a run outside of wandb's own folder: its bytes and who may read it."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "wandb" not in path.relative_to(folder).parts)
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in paths}


def test_an_offline_run_is_synced_with_what_it_was_made_from(server: Server, tmp_path: Path) -> None:
    run = execute(small(OFFLINE))
    before = states(run)
    pictures = {"A title": tmp_path / "x.png"}
    _picture(pictures["A title"])
    drawn: dict[str, Any] = {"numbers": read_metrics(run), "pictures": pictures, "files": pictures.values()}
    show_figure(OFFLINE, {}, name="fig99-smoke", group="fig99", scale="smoke", runs=[small(OFFLINE)], **drawn)
    sync(run / "wandb")
    sync(tmp_path / "wandb")

    assert (server.runs[run.name]["groupName"], server.runs[run.name]["jobType"]) == ("fig99", "score")
    assert set(server.runs[run.name]["tags"]) == {"fig99", "smoke", "digits", "mlp", "turnover"}
    assert table(run).items() <= told(server, run.name).items()
    for kind in ("metrics", "scores"):
        artifact = server.artifact(f"{kind}-{run.name}")
        assert (artifact.made_by, artifact.used_by, artifact.committed) == (run.name, ["fig99-smoke"], True)
        assert server.uploads[f"{kind}.parquet"] == (run / f"{kind}.parquet").read_bytes()
    checkpoint = server.artifact(f"checkpoint-{run.name}")
    assert (checkpoint.made_by, checkpoint.committed) == (run.name, True)
    assert "checkpoint.pt" not in server.uploads
    assert server.artifact("figure-fig99-smoke").made_by == "fig99-smoke"
    assert states(run) == before, "wandb must leave what it sends as it is"


def test_a_figure_that_is_synced_before_its_runs_is_linked_to_them_too(server: Server, tmp_path: Path) -> None:
    made = tmp_path / "scores.parquet"
    made.write_bytes(b"scores")
    files = Files("scores", "score-x", (made,))
    common: dict[str, Any] = {"group": None, "tags": [], "config": {}}
    with dashboard(OFFLINE, folder=tmp_path / "run", name="score-x", job="score", **common) as run:
        run.keep(files)
    with dashboard(OFFLINE, folder=tmp_path / "figure", name="fig99", job="figure", **common) as figure:
        figure.use(files)
    sync(tmp_path / "figure" / "wandb")
    sync(tmp_path / "run" / "wandb")
    artifact = server.artifact("scores-score-x")  # one, though both have it
    assert (artifact.used_by, artifact.committed) == (["fig99"], True)


def test_a_run_that_was_stopped_is_whole_after_a_sync(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(OFFLINE)
    folder = stop_after(1, config, monkeypatch).folder
    time.sleep(1.1)  # wandb names offline runs by the second
    execute(config)
    assert len(offline_runs(folder)) == 2
    sync(folder / "wandb")
    assert table(folder).items() <= told(server, folder.name).items()


def test_an_online_run_is_sent_while_it_works(server: Server) -> None:
    folder = execute(small(OFFLINE.model_copy(update={"mode": "online", "entity": "me"})))
    assert table(folder).items() <= told(server, folder.name).items()
    assert server.artifact(f"scores-{folder.name}").made_by == folder.name
    assert not offline_runs(folder)
    assert "wandb" not in (folder / "log.txt").read_text(encoding="utf-8"), "no trouble"


def test_an_online_run_without_an_account_goes_on_and_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    folder = execute(small(OFFLINE.model_copy(update={"mode": "online"})))
    assert Run(small(NONE)).finished
    assert "wandb could not start, the run goes on without it" in (folder / "log.txt").read_text(encoding="utf-8")


def test_an_online_run_whose_server_is_gone_does_not_wait_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = showing.show

    def show(*arguments: Any) -> None:
        real(*arguments)
        server.stop()

    monkeypatch.setattr("turnover.runs.dashboard.wandb.PATIENCE", 2)
    monkeypatch.setattr("turnover.runs.dashboard.wandb.RETRIES", 1)
    monkeypatch.setattr("turnover.runs.pipeline.show", show)
    folder = execute(small(OFFLINE.model_copy(update={"mode": "online", "entity": "me"})))
    assert Run(small(NONE)).finished
    assert "wandb failed and is off from here on: TimeoutError" in (folder / "log.txt").read_text(encoding="utf-8")


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(path)


# --- the workspace ---


def names() -> set[str]:
    """Every name that a panel asks for."""
    found: set[str] = set(panels.COLUMNS)
    for each in (panel for section in panels.SECTIONS.values() for panel in section):
        match each:
            case panels.Lines(_, chosen) | panels.Bars(_, chosen):
                found |= {*chosen}
            case panels.Curve(_, name) | panels.Table(_, name) | panels.Pictures(_, name):
                found.add(name)
    return found


def test_every_panel_shows_what_is_logged() -> None:
    media = {HISTOGRAM, MOST_MEMORIZED, QUANTILES, FIGURES, NUMBERS, CLAIMS}
    single = {"scores/auroc_wrong_labels", "scores/auroc_replaced_labels", "scores/top_tenth_share"}
    single |= {"leakage/mask_accuracy", "leakage/bystander_accuracy", "leakage/verdict"}
    for name in names() - media - single:
        split, *subset, metric = name.removeprefix("best/").split("/")
        assert split in ("train", "test"), name
        assert subset in ([], ["easy"], ["difficult"], ["random"], ["control"]), name
        assert metric in METRICS, name


def test_a_workspace_is_saved_with_its_panels(server: Server) -> None:
    pytest.importorskip("wandb_workspaces")
    script = checkout() / "scripts" / "wandb_workspace.py"
    address = command(str(script), "--entity", "me", "--project", "mine").splitlines()[-1]
    [view] = server.views
    assert address.startswith(f"{server.url}/me/mine?nw=")
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "mine", "turnover")
    spec = json.loads(view["spec"])["section"]
    sections = {section["name"]: section["panels"] for section in spec["panelBankConfig"]["sections"]}
    assert {name: len(found) for name, found in sections.items()} == {
        name: len(chosen) for name, chosen in panels.SECTIONS.items()
    }
    for name, chosen in panels.SECTIONS.items():
        for panel, made in zip(chosen, sections[name], strict=True):
            check(panel, made)
    assert spec["settings"]["xAxis"] == "epoch"
    assert spec["runSets"][0]["runFeed"]["columnOrder"][1:] == [f"summary:{column}" for column in panels.COLUMNS]


def check(panel: panels.Panel, made: dict[str, Any]) -> None:
    """That wandb was told to draw this panel."""
    config = made["config"]
    match panel:
        case panels.Lines(title, metrics):
            assert made["viewType"] == "Run History Line Plot"
            assert (config["chartTitle"], config["xAxis"], config["metrics"]) == (title, "epoch", [*metrics])
        case panels.Bars(title, values):
            assert (made["viewType"], config["chartTitle"], config["metrics"]) == ("Bar Chart", title, [*values])
        case panels.Curve(_, name, x, y):
            assert (made["viewType"], config["panelDefId"]) == ("Vega2", "wandb/line/v0")
            assert (config["fieldSettings"]["x"], config["fieldSettings"]["y"]) == (x, y)
            assert {"name": "tableKey", "value": name} in config["userQuery"]["queryFields"][0]["fields"][0]["args"]
        case panels.Table(_, name):
            assert made["viewType"] == "Weave"
            assert f'"{name}"' in json.dumps(config)
        case panels.Pictures(title, name):
            assert (made["viewType"], config["mediaKeys"]) == ("Media Browser", [name])


def test_a_workspace_that_is_not_taken_says_why_and_what_to_do(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces")
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    script = checkout() / "scripts" / "wandb_workspace.py"
    done = subprocess.run([sys.executable, str(script), "--entity", "me"], capture_output=True, text=True)
    assert done.returncode == 3
    assert "wandb did not save the workspace in me/turnover: " in done.stderr
    assert "it needs `wandb login` once" in done.stderr
    assert server.views == []


def test_without_wandbs_library_a_workspace_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from turnover.runs.dashboard.panels import workspace

    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(RefusedInput, match=r"wandb-workspaces cannot be imported .*: pip install '\.\[wandb\]'"):
        workspace("me", "mine")
