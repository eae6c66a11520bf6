"""Every experiment and every figure at smoke scale, end to end on real data."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import matplotlib.pyplot as plt
import numpy as np
import oracles
import pandas as pd
import pytest
import yaml
from curve_oracles import certainty
from looking import finish_and_look
from PIL import Image

from turnover.common.files import checkout, write_json
from turnover.config.compose import sweep
from turnover.config.datasets import DATASETS
from turnover.config.options import NoLogger
from turnover.config.parse import parse
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput, RunFailed
from turnover.experiments.figures import fig1, fig2
from turnover.experiments.figures import make as making
from turnover.experiments.figures.make import FigureJob, make, redraw
from turnover.experiments.plots.figure import FigureConfig, _Survey
from turnover.experiments.plots.notes import Source
from turnover.experiments.reproduction import committed
from turnover.experiments.results import results, sealed
from turnover.models.conv import vgg11
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_metrics, read_scores
from turnover.stats.claims import Verdict

CONF = checkout() / "conf"
VALIDATION = yaml.safe_load((CONF / "validate.yaml").read_text())
VALIDATED = {*VALIDATION["truth"], *VALIDATION["estimates"], *VALIDATION["influence"]}
FIGURES = sorted(path.stem for path in (CONF / "figure").glob("*.yaml"))


def job(name: str) -> FigureJob:
    figure = yaml.safe_load((CONF / "figure" / f"{name}.yaml").read_text())
    config = FigureConfig.model_validate(figure)
    return FigureJob(figure=config, scale="smoke", overrides=[], logger=NoLogger(name="none"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few_replicates: None) -> Iterator[Path]:
    """An outputs folder that the tests of this module share, so that no run is done twice; VGG-11 is narrow there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turnover.models.vgg11", lambda *sizes, width, **options: vgg11(*sizes, width=8, **options))
        yield tmp_path_factory.mktemp("smoke")


@pytest.fixture
def smoke(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(folder))
    return folder / "figures" / "smoke"


def draw(name: str) -> Path:
    """Do the runs of a figure that are not done yet, and draw it."""
    for experiment in job(name).figure.experiments:
        for config in sweep([f"+experiment={experiment}", "scale=smoke", "logger=none"]):
            execute(config)
    return make(job(name))


def runs(experiment: str) -> list[RunConfig]:
    return sweep([f"+experiment={experiment}", "scale=smoke"])


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_runs_and_has_picture_numbers_and_claims(
    name: str, smoke: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "finish", finish_and_look)
    draw(name)
    image = Image.open(smoke / f"{name}.png")
    assert image.width >= 1200
    assert len(np.unique(np.asarray(image.convert("L")))) > 20, "the picture is empty"
    assert (smoke / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert len(pd.read_csv(smoke / f"{name}.csv")) > 10
    result = json.loads((smoke / f"{name}.json").read_text())
    config = job(name).figure
    sources = [run for experiment in config.experiments for run in runs(experiment)]
    assert set(result["runs"]) == {Run(run).name for run in sources}
    for run_name, record in result["runs"].items():  # each has its own fields
        assert record.get("dataset.name", "") in run_name
        assert record.get("model.name", "") in run_name
    assert set(result["score_runs"]) == {Run(parent).name for run in sources for parent in run.parents}
    for each in result["score_runs"].values():
        assert each["seconds"] > 0
        assert name in ("methods", "onion", "pruning", "unlearning") or each["leakage"]["verdict"]
    assert set(result["claims"]) == set(config.claims)
    assert result["commit"]
    assert result["versions"]["torch"]
    for id, claim in result["claims"].items():
        assert claim["verdict"] in get_args(Verdict)
        assert [each["name"] for each in claim["measures"]] == list(config.claims[id].measures)
        for each in claim["measures"]:
            assert len(each["by_seed"]) >= 3
            assert np.mean(each["by_seed"]) == pytest.approx(each["effect"], nan_ok=True)
            if np.isnan(each["effect"]):  # nothing that it is measured of is there at this scale
                assert each["verdict"] in (None, "inconclusive")
                continue
            low, high = each["interval"]
            assert low <= each["effect"] + 1e-9
            assert each["effect"] <= high + 1e-9
    assert not committed.figure(smoke / f"{name}.json").wrong, "its claims follow from its table"


def without_a_figure() -> list[str]:
    drawn = {name for figure in FIGURES for name in job(figure).figure.experiments}
    return sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - drawn - VALIDATED)


@pytest.mark.parametrize("experiment", without_a_figure())
def test_every_other_experiment_runs(experiment: str, smoke: Path) -> None:
    for config in sweep([f"+experiment={experiment}", "scale=smoke", "logger=none", "seed=0"]):
        assert read_metrics(execute(config))["value"].notna().all()


def test_fig2_draws_the_scores_of_its_runs(smoke: Path) -> None:
    draw("fig2")
    numbers = pd.read_csv(smoke / "fig2.csv")
    assert numbers.groupby(["panel", "group", "seed"])["examples"].sum().unstack("seed").to_dict("list") == {
        0: [1500, 1500, 500, 1000],
        1: [1500, 1500, 500, 1000],
        2: [1500, 1500, 500, 1000],
    }

    def tables(corrupted: bool, estimator: str) -> dict[int, pd.DataFrame]:
        chosen = [config for config in runs("fig2_control") if bool(config.corruption.count) == corrupted]
        return {c.seed: read_scores(Run(c).folder) for c in chosen if c.estimator.name == estimator}

    noisy = tables(True, "turnover")
    claims = json.loads((smoke / "fig2.json").read_text())["claims"]
    for seed, table in noisy.items():
        scores, corrupted = table["score"].to_numpy(), table["corrupted"].to_numpy()
        wrong = (table["label"] != table["true_label"]).to_numpy()
        by_name = {each["name"]: each["by_seed"][seed] for each in claims["2b"]["measures"]}
        assert by_name["auroc"] == pytest.approx(oracles.auroc(scores, corrupted), abs=1e-12)
        assert by_name["auroc_wrong"] == pytest.approx(oracles.auroc(scores, wrong), abs=1e-12)
        assert by_name["auroc_flipped"] == pytest.approx(oracles.auroc(table["flipped_loss"].to_numpy(), corrupted))
        losses = tables(True, "one_run")[seed]["final_loss"][table.index].to_numpy()
        assert by_name["auroc_final"] == pytest.approx(oracles.auroc(losses, corrupted), abs=1e-12)
    labels = [table["label"].tolist() for table in noisy.values()]
    assert labels[0] == labels[1] == labels[2], "seeds share the corrupted labels"
    for seed, table in tables(False, "turnover").items():
        by_name = {each["name"]: each["by_seed"][seed] for each in claims["2a"]["measures"]}
        losses = tables(False, "one_run")[seed]["final_loss"][table.index].to_numpy()
        for name, values in (("fitted_share", table["score"].to_numpy()), ("final_fitted_share", losses)):
            assert by_name[name] == pytest.approx(
                oracles.share_among(values.tolist(), (losses < 0.1).tolist()), rel=1e-9
            )
        assert by_name["final_top_decile_share"] == pytest.approx(oracles.top_share(losses, 1), rel=1e-6)


def test_fig2_without_ordinary_networks_lacks_their_measures(smoke: Path) -> None:
    sources = [Source(c, Run(c).folder) for c in runs("fig2")]
    plotted = fig2.tabulate(sources)
    names = {"fitted_share", "auroc_final"}
    names |= {f"final_{of}" for of in ("fitted_share", "median_distance", "skewness", "top_decile_share")}
    assert plotted.values.keys() == names
    assert np.isnan(list(plotted.values.values())).all()
    assert set(plotted.statistics) == {"median_distance", "skewness", "top_decile_share"} | {
        "auroc",
        "auroc_flipped",
        "auroc_wrong",
    }


@pytest.mark.parametrize(("setting", "dataset"), [("mnist_mlp", "mnist"), ("fashion_cvt", "fashion_mnist")])
def test_fig9_of_one_setting_says_so_in_its_claim(setting: str, dataset: str, smoke: Path) -> None:
    alone = [f"setting={setting}"]
    for config in sweep(["+experiment=fig9", "scale=smoke", "logger=none", *alone]):
        execute(config)
    result = json.loads(make(job("fig9").model_copy(update={"overrides": alone})).with_suffix(".json").read_text())
    claim = result["claims"]["9"]
    assert claim["text"] == f"{job('fig9').figure.claims['9'].text} ({DATASETS[dataset].title} alone)"
    measures = ("own_settled", "flipped_settled", "early_rank", "early_kept")
    assert [each["name"] for each in claim["measures"]] == [f"{name}_{dataset}" for name in measures]
    letter = {"mnist": "a", "fashion_mnist": "b"}[dataset]  # as in the whole figure
    assert set(pd.read_csv(smoke / f"fig9-setting={setting}.csv")["panel"]) == {letter}


def test_fig2_says_what_was_reduced(smoke: Path) -> None:
    draw("fig2")
    result = json.loads((smoke / "fig2.json").read_text())
    assert set(result["reduced"]) == {
        "epochs 20 (paper scale: 200)",
        "batch_size 128 (paper scale: 256)",
        "dataset.limit 1500 (paper scale: all)",
        "dataset.test_limit 1000 (paper scale: all)",
        "model.hidden [1024] (paper scale: [4096])",
        "optimizer.lr 0.05 (paper scale: 0.06)",
        "optimizer.momentum 0.9 (paper scale: 0.0)",
        "corruption.count 500 (paper scale: 20000)",
        "tracking.every 10 (paper scale: 1)",
    }
    assert result["seeds"] == [0, 1, 2]


def test_a_figure_is_drawn_again_from_its_table_without_its_runs(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fig2", "fig9"):
        (smoke / f"{name}.json").unlink(missing_ok=True)  # not one that a test has laid out twice, to look at it
        png = draw(name)
        for kind in ("png", "csv", "json"):
            shutil.copy(png.with_suffix(f".{kind}"), tmp_path)
        path = tmp_path / f"{name}.json"
        (tmp_path / f"{name}.png").write_bytes(b"an older picture")
        with monkeypatch.context() as patch:
            patch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "nothing"))
            redraw(path)
        assert (tmp_path / f"{name}.png").read_bytes() == png.read_bytes()
        assert json.loads(path.read_text()) == json.loads(png.with_suffix(".json").read_text())


def test_a_figure_of_other_runs_is_not_drawn_again(smoke: Path, tmp_path: Path) -> None:
    path = draw("fig2").with_suffix(".json")
    result = json.loads(path.read_text())
    result["inputs"]["runs"].pop()
    (tmp_path / "fig2.json").write_text(json.dumps(sealed(result)))
    with pytest.raises(RunFailed, match="drawn from other runs than those of conf/"):
        redraw(tmp_path / "fig2.json")


def test_a_figure_is_not_drawn_twice(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = {"commit": "0123abc", "versions": {}, "machine": {}}
    monkeypatch.setattr(making, "provenance", lambda: clean)
    png = draw("fig2")
    before = png.stat().st_mtime_ns
    assert make(job("fig2")) == png
    assert png.stat().st_mtime_ns == before
    (smoke / "fig2.csv").unlink()
    make(job("fig2"))
    assert (smoke / "fig2.csv").exists()


@pytest.fixture
def clean(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if drawn by a commit, with nothing changed since; figure 1 is axes alone, which is quick."""
    monkeypatch.setattr(fig1, "draw", lambda numbers, configs: plt.subplots(layout="constrained")[0])
    monkeypatch.setattr(making, "provenance", lambda: {"commit": "0123abc", "versions": {}, "machine": {}})
    return smoke


def titled(title: str) -> FigureJob:
    asked = job("fig1")
    return asked.model_copy(update={"figure": asked.figure.model_copy(update={"title": title})})


def test_a_figure_killed_before_its_last_file_is_not_taken_for_another(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png = make(titled("A"))
    picture = png.read_bytes()

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            make(titled("B"))
    assert png.read_bytes() != picture
    assert make(titled("A")).read_bytes() == picture


JSON = [b'{"inp', b"[]", b"null", b"\xff", b""]  # the other files are known by their checksums, whatever is in them


@pytest.mark.parametrize(
    ("kind", "content"), [*(("json", content) for content in JSON), ("png", b""), ("pdf", b""), ("csv", b"[]")]
)
def test_a_damaged_file_of_a_figure_is_made_again(kind: str, content: bytes, clean: Path) -> None:
    path = make(titled("A")).with_suffix(f".{kind}")
    whole = path.read_bytes()
    path.write_bytes(content)
    make(titled("A"))
    if kind == "json":  # which says when it was made
        assert json.loads(path.read_text())["files"] == json.loads(whole)["files"]
    else:
        assert path.read_bytes() == whole
    before = path.stat().st_mtime_ns
    make(titled("A"))
    assert path.stat().st_mtime_ns == before


def forge(path: Path) -> None:
    """Change all verdicts and effects."""
    result = json.loads(path.read_text())
    for claim in result["claims"].values():
        claim["verdict"] = "reproduced"
        for measure in claim["measures"]:
            measure["effect"] = 9.9
    write_json(path, result)


def test_forged_verdicts_are_drawn_again_and_shown_by_nothing(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "provenance", lambda: {"commit": "0123abc", "versions": {}, "machine": {}})
    path = draw("fig2").with_suffix(".json")
    claims = json.loads(path.read_text())["claims"]
    forge(path)
    for show in (lambda: results("smoke"), lambda: redraw(path)):
        with pytest.raises(RunFailed, match=r"fig2.json does not have its checksum .*: make fig2 draws it again"):
            show()
    make(job("fig2"))
    assert json.loads(path.read_text())["claims"] == claims
    assert results("smoke")
    whole = json.loads(path.read_text())
    del whole["checksum"]
    write_json(path, whole)
    make(job("fig2"))
    assert "checksum" in json.loads(path.read_text()), "one without a checksum is no more believed"


def test_what_a_killed_process_left_is_removed(clean: Path) -> None:
    make(titled("A"))
    mine, other = clean / ".fig1.png.123", clean / ".fig10.png.123"
    for path in (mine, other):
        path.write_text("half")
    make(titled("B"))
    assert (mine.exists(), other.exists()) == (False, True)
    other.unlink()


def test_every_figure_that_is_configured_can_be_named() -> None:
    assert sorted(get_args(FigureConfig.model_fields["name"].annotation)) == FIGURES


@pytest.mark.parametrize("name", ["nothing", "make", "../../x", "style", "validate"])
def test_what_is_no_figure_is_refused(name: str) -> None:
    values = job("fig1").model_dump()
    values["figure"]["name"] = name
    with pytest.raises(RefusedInput, match=r"figure\.name = .*should be 'fig1'"):
        parse(FigureJob, values)


def test_a_missing_run_names_the_command_that_makes_it() -> None:
    with pytest.raises(
        RunFailed, match=r"run score-mnist-mlp-\w+ is not finished: make it with: make fig2 SCALE=smoke"
    ):
        make(job("fig2"))


def test_fig1_shows_real_masks(smoke: Path) -> None:
    draw("fig1")
    numbers = pd.read_csv(smoke / "fig1.csv")
    for row in numbers.sample(20, random_state=0).itertuples():
        assert row.own == oracles.own_bit(0, int(row.layer), int(row.example), int(row.unit), 0.5)  # type: ignore


@pytest.mark.parametrize("name", ["fig4", "fig4_vgg"])
def test_fig4_draws_what_was_measured_of_gradients(name: str, smoke: Path) -> None:
    draw(name)
    numbers = pd.read_csv(smoke / f"{name}.csv")
    claims = json.loads((smoke / f"{name}.json").read_text())["claims"].values()
    found = {each["name"]: each["by_seed"] for claim in claims for each in claim["measures"]}
    tables = {}
    for config in runs(name):
        rows = read_metrics(Run(config).folder)
        table = rows[rows["split"] == "train"].set_index(["metric", "subset", "epoch"])["value"]
        tables[config.seed] = table
        for letter, metric in {"a": "batch_cosine", "b": "contribution", "c": "set_cosine"}.items():
            drawn = numbers[(numbers["panel"] == letter) & (numbers["seed"] == config.seed)]
            difficult = drawn[drawn["curve"] == "difficult (random labels)"].set_index("epoch")["value"]
            assert difficult.to_dict() == pytest.approx(table[metric, "difficult"].to_dict())
        assert found["others_easy"][config.seed] == pytest.approx(table["others_contribution", "easy"].mean())
        if name == "fig4_vgg":
            layers = numbers[(numbers["panel"] == "e") & (numbers["seed"] == config.seed)].set_index("curve")["value"]
            assert layers["easy, block3.conv2"] == pytest.approx(
                table["set_cosine/block3.conv2.weight", "easy", config.epochs]
            )
            assert len(layers) == 3 * 9, "eight convolutions and the logits"
    for measure, metric, more, less in (
        ("difficult_over_all", "contribution", "difficult", "all"),
        ("others_all_over_easy", "others_contribution", "all", "easy"),
    ):
        leads = {seed: (table[metric, more] - table[metric, less]).to_dict() for seed, table in tables.items()}
        ends = {epoch: certainty([lead[epoch] for lead in leads.values()]) for epoch in leads[0] if epoch}
        for seed, lead in leads.items():
            assert found[measure][seed] == pytest.approx(lead[min(ends, key=ends.__getitem__)])


def test_make_survey_makes_its_figures() -> None:
    [line] = [line for line in (checkout() / "Makefile").read_text().splitlines() if line.startswith("SURVEY := ")]
    assert line.split()[2:] == sorted(get_args(_Survey))
