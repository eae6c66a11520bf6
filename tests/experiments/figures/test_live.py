"""What the offline run of a figure holds: picture, numbers, claims, and the runs it was drawn from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from wandb_records import (
    NONE,
    OFFLINE,
    Records,
    history,
    logged_table,
    of_kind,
    offline_runs,
    records,
    set_up,
    small,
    summary,
)

from turnover.experiments.figures import fig1
from turnover.experiments.figures.make import FigureJob, make
from turnover.experiments.plots.figure import FigureConfig, Plotted
from turnover.experiments.plots.notes import Notes, Source
from turnover.runs.execute import execute
from turnover.stats.claims import Claim, decide, measure_seeds

wandb = pytest.importorskip("wandb")

FIGURE = FigureConfig(name="fig1", title="The mechanism", experiments=[], claims={})
NUMBERS = pd.DataFrame({"x": range(3000), "y": [place / 7 for place in range(3000)]})
CLAIMS = [
    decide("1a", "it is so", [measure_seeds("far", [1.0, 2.0], above=-20), measure_seeds("told", [3.0])]),
    decide("1b", "one seed", [measure_seeds("near", [0.5], below=1, condition=True)]),
]


def job(*overrides: str) -> FigureJob:
    return FigureJob(figure=FIGURE, scale="smoke", overrides=list(overrides), logger=OFFLINE)


def drawn(sources: list[Source], claims: list[Claim]) -> Path:
    """Figure 1, as if it were drawn from these runs and had these claims."""
    with pytest.MonkeyPatch.context() as patch:
        real = fig1.draw(fig1.tabulate([]).numbers, [])
        patch.setattr("turnover.experiments.figures.make._sources", lambda _: sources)
        patch.setattr("turnover.experiments.figures.make.notes", lambda *_: Notes([]))  # of an experiment
        patch.setattr(fig1, "tabulate", lambda _: Plotted(NUMBERS))
        patch.setattr(fig1, "draw", lambda *_: real)
        patch.setattr("turnover.experiments.figures.interface.claims", lambda *_: claims)
        return make(job("seed=0"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("sources") / "outputs"))
        return [Source(config, execute(config)) for config in (small(NONE), small(NONE, entry="train"))]


@pytest.fixture(scope="module")
def png(sources: list[Source]) -> Iterator[Path]:
    root = sources[0].folder.parents[2]
    with pytest.MonkeyPatch.context() as patch:
        set_up(patch, root)
        yield drawn(sources, CLAIMS)


@pytest.fixture(scope="module")
def found(png: Path) -> Records:
    return records(png.parent)


@pytest.fixture(scope="module")
def artifacts(found: Records) -> dict[str, Any]:
    return {artifact["name"]: artifact for artifact in of_kind(found, "artifact")}


def rows(png: Path, found: Records, name: str) -> pd.DataFrame:
    [offline] = offline_runs(png.parent)
    told = logged_table(offline, found, name)
    return pd.DataFrame(told["data"], columns=told["columns"])


def test_a_figure_has_its_name_group_tags_and_config(found: Records) -> None:
    [run] = of_kind(found, "run")
    assert (run["display_name"], run["run_id"]) == ("fig1-seed=0-smoke", "fig1-seed_0-smoke")
    assert (run["run_group"], run["job_type"], set(run["tags"])) == ("fig1", "figure", {"fig1", "smoke"})
    stored = {key: value for key, value in run["config"]["update"].items() if not key.startswith("_")}
    assert stored == job("seed=0").model_dump(mode="json")
    assert of_kind(found, "metric") == [], "it has no epochs"


def test_its_picture_is_logged_with_its_title(png: Path, found: Records) -> None:
    [offline] = offline_runs(png.parent)
    [picture] = offline.glob("files/media/images/figures*.png")
    assert picture.read_bytes() == png.read_bytes()
    [item] = [item for item in history(found) if "figures.captions" in item]
    assert item["figures.captions"] == ["Figure 1. The mechanism"]


def test_its_numbers_are_a_bounded_table(png: Path, found: Records) -> None:
    told = rows(png, found, "numbers")
    assert len(told) == 1000
    assert told.iloc[[0, -1]].to_numpy().tolist() == NUMBERS.iloc[[0, -1]].to_numpy().tolist()


def test_its_claims_are_a_table_and_their_verdicts_single_values(png: Path, found: Records) -> None:
    assert {name: value for name, value in summary(found).items() if name.startswith("claims/")} == {
        "claims/1a": "reproduced",
        "claims/1b": "inconclusive",
    }
    told = rows(png, found, "claims")
    low, high = CLAIMS[0].measures[0].interval or (0.0, 0.0)
    assert told[["claim", "verdict", "measure", "effect", "claimed"]].values.tolist() == [
        ["1a", "reproduced", "far", 1.5, "above -20"],
        ["1a", "reproduced", "told", 3.0, ""],
        ["1b", "inconclusive", "near", 0.5, "below 1 (condition)"],
    ]
    assert told["text"].tolist() == ["it is so", "it is so", "one seed"]
    assert told[["low", "high"]].to_numpy()[0].tolist() == [low, high]
    assert told[["low", "high"]].iloc[1:].isna().to_numpy().all()


def test_it_names_the_tables_it_was_drawn_from(artifacts: dict[str, Any], sources: list[Source]) -> None:
    scored, trained = sources
    used = {name: each for name, each in artifacts.items() if each.get("use_after_commit")}
    names = [f"metrics-{scored.folder.name}", f"scores-{scored.folder.name}", f"metrics-{trained.folder.name}"]
    assert sorted(used) == sorted(names)
    for name in names:
        kind, _, run = name.partition("-")
        [file] = used[name]["manifest"]["contents"]
        assert file["local_path"] == str(scored.folder.parent / run / f"{kind}.parquet")


def test_its_files_are_an_artifact_of_copies(artifacts: dict[str, Any], png: Path) -> None:
    files = artifacts["figure-fig1-seed_0-smoke"]["manifest"]["contents"]
    copies = {file["path"]: Path(file["local_path"]) for file in files}
    assert set(copies) == {f"fig1-seed=0.{kind}" for kind in ("png", "pdf", "csv", "json")}
    for name, copy in copies.items():
        assert copy.parent == png.parent / "wandb" / "artifacts" / "staging"
        assert copy.read_bytes() == (png.parent / name).read_bytes()


def test_a_figure_is_drawn_without_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no such luck")

    set_up(monkeypatch, tmp_path)
    monkeypatch.setattr("wandb.init", fail)
    png = make(job())
    written = {path.suffix for path in png.parent.iterdir() if path.is_file() and path.suffix != ".lock"}
    assert written == {".png", ".pdf", ".csv", ".json"}
