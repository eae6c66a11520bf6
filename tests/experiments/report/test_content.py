"""What the report says is what the results say: claims, numbers, tables, and which results are taken."""

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits import digits
from hydra.errors import HydraException
from PIL import Image
from sklearn.datasets import load_digits

from turnover.common.files import checkout
from turnover.common.text import effect
from turnover.errors import RunFailed
from turnover.experiments import results
from turnover.experiments.documentation.tables import every_claim
from turnover.experiments.plots.figure import words
from turnover.experiments.report import sections, sets
from turnover.experiments.report.claims import claims, tally
from turnover.experiments.report.make import ReportJob, make
from turnover.experiments.report.packing import COLUMNS, figure, sheets
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores, scores_by_epoch

REFERENCE = checkout() / "outputs" / "reference"


def test_every_claim_stands_once_with_its_verdicts_and_numbers() -> None:
    by_scale = [results.results("laptop"), results.results("paper")]
    rows = claims(by_scale)
    assert len({row.id for row in rows}) == len(rows)
    for place, scale in enumerate(("laptop", "paper")):
        known: dict[str, Any] = {}
        for path in (REFERENCE / scale).glob("*.json"):
            known |= json.loads(path.read_text()).get("claims", {})
        assert {row.id: row.verdicts[place] for row in rows if row.verdicts[place]} == {
            id: claim["verdict"] for id, claim in known.items()
        }
        assert sum(tally(rows, place).values()) == len(known)
        for row in rows:
            if row.id not in known:
                continue
            told = {each.words: each.cells[place] for each in row.rows}
            for one in known[row.id]["measures"]:
                cell = told[words(row.id, one["name"])]
                assert cell is not None
                places = len(cell.text.split()[0].partition(".")[2])
                expected = [one["effect"], *(one["interval"] or [])]
                found = [float(text) for text in re.findall(r"-?[\d.]+", cell.text.removesuffix("(one seed)"))]
                assert found == pytest.approx(expected, abs=0.51 * 10**-places)
                assert cell.verdict == (one["verdict"] or "")
    shown = {row.id: row.paper_figure for row in rows if row.id in ("2a", "10c", "4a-vgg", "onion")}
    assert shown == {"2a": "2", "10c": "10", "4a-vgg": "", "onion": ""}, (
        "no claim of the paper's is of VGG-11's gradients"
    )
    assert not next(row.notes for row in rows if row.id == "5a"), "its figure is whole at both scales"


def test_marks_lie_as_the_numbers_do() -> None:
    for row in claims([results.results("laptop")]):
        for each in row.rows:
            cell = each.cells[0]
            if cell is None or cell.mark is None:
                continue
            mark = cell.mark
            assert 0 <= mark.low <= mark.effect <= mark.high <= 100
            assert 0 <= mark.threshold <= 100
            if cell.verdict == "reproduced":
                assert mark.low > mark.threshold if mark.above else mark.high < mark.threshold


@pytest.mark.parametrize(
    ("value", "interval", "told"),
    [
        (0.97793, (0.97521, 0.98066), "0.9779 [0.9752, 0.9807]"),
        (7.643, (6.868, 8.418), "7.64 [6.87, 8.42]"),
        (99.0, (99.0, 99.0), "99 [99, 99]"),
        (62.31, (41.2, 83.4), "62 [41, 83]"),
        (0.0054, (0.0009, 0.0099), "0.0054 [0.0009, 0.0099]"),
        (0.0, (0.0, 0.0), "0 [0, 0]"),
        (0.00002, (0.000019, 0.000021), "0.0000 [0.0000, 0.0000]"),
        (-0.00001, (-0.02, 0.02), "0.000 [-0.020, 0.020]"),
        (0.5, (0.5, 0.5), "0.5 [0.5, 0.5]"),
        (0.51234, None, "0.512 (one seed)"),
    ],
)
def test_effects_have_the_decimals_of_their_interval(
    value: float, interval: tuple[float, float] | None, told: str
) -> None:
    assert effect(value, interval) == told


def test_the_report_and_the_documentation_tell_the_same_numbers() -> None:
    documented, told = every_claim(), 0
    by_scale = [results.results(scale) for scale in ("laptop", "paper")]
    for row in claims(by_scale):
        for each in row.rows:
            if each.claimed != "reported only":
                cells = [cell.text if cell else "" for cell in each.cells]
                assert f"| {each.words} | {each.claimed} | {cells[0]} | {cells[1]} |" in documented
                told += 1
    assert told > 30


def test_the_table_of_the_validation_is_that_of_the_results() -> None:
    found = results.validation("laptop")
    assert found is not None
    table = sections.agreement(found)
    rows = {row[0]: row[1:] for row in table.rows}
    known = found.table.query("augmentation == 'none' and estimator == 'aum' and wrong == 300 and noise == 'symmetric'")
    [one] = known.query("seeds == 1 and dataset == 'mnist'").to_dict("records")
    [mean] = known.query("seeds > 1 and dataset == 'mnist'").to_dict("records")
    assert [heading for heading, _ in table.headings[:3]] == ["estimator", "cost, MNIST", "Spearman, MNIST"]
    assert rows["AUM"][:2] == (f"{one['cost']:.1f}", f"{one['spearman']:.3f} → {mean['spearman']:.3f}")
    assert rows["AUM"][4] == f"{one['precision']:.3f} → {mean['precision']:.3f}"


def test_results_made_here_come_before_committed_ones(outputs: Path) -> None:
    folder = outputs / "figures" / "laptop"
    folder.mkdir(parents=True)
    for kind in ("png", "json"):
        shutil.copy(REFERENCE / "laptop" / f"fig2.{kind}", folder)
    found = {result.name: result for result in results.results("laptop")}
    assert found["fig2"].local
    assert found["fig2"].picture == folder / "fig2.png"
    assert not found["fig3"].local
    assert [result.name for result in found.values()][:4] == ["fig1", "fig2", "fig3", "fig4"]
    assert dict(sections.shown(found["fig2"]).facts)["Source"] == "made here"


def test_what_is_not_there_is_told(outputs: Path) -> None:
    with pytest.raises(RunFailed, match="no figure at smoke scale: make one with: make fig2 SCALE=smoke"):
        make(ReportJob(scale="smoke", examples=[]))
    assert not (outputs / "report").exists()
    with pytest.raises(HydraException, match="no_such_experiment"):  # told as refused input by the entry point
        sets.from_store(["no_such_experiment"], "smoke")
    broken = outputs / "figures" / "smoke" / "fig2.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    with pytest.raises(RunFailed, match="is damaged: remove it"):
        results.results("smoke")


def test_a_set_is_what_its_runs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of one network and one ordinary run on the same examples: means, curves, a column for each kind."""
    scored = [digits(f"seed={seed}", "epochs=3", "estimator.epochs=[1,2]") for seed in (0, 1)]
    plain = digits("turnover=off", "estimator=aum")
    other = digits("corruption=labels", "corruption.count=100")
    every = [*scored, plain, other]
    for config in every:
        execute(config)
    monkeypatch.setattr(sets, "sweep", lambda overrides: every if overrides[0].endswith("=some") else [])
    found, missing = sets.from_store(["some", "none"], "smoke")
    assert missing == ["none"]
    assert len(found) == 2
    [first] = [each for each in found if each.curves]
    tables = [read_scores(sets._folder(config)) for config in scored]
    mean = (tables[0]["score"].astype(float) + tables[1]["score"]) / 2
    np.testing.assert_allclose(first.table["turnover"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.table["seed_1"], tables[1]["score"], rtol=1e-6)
    np.testing.assert_allclose(first.table["aum"], read_scores(sets._folder(plain))["aum"])
    assert first.curves is not None
    assert first.curves.epochs == [1, 2, 3]
    curve = np.mean([scores_by_epoch(sets._folder(config)).to_numpy() for config in scored], axis=0).T
    np.testing.assert_allclose(first.curves.flipped - first.curves.own, curve, atol=1e-5)
    [second] = [each for each in found if not each.curves]
    assert "100 labels replaced" in second.title


def test_images_are_on_their_sheets() -> None:
    ids = np.array([*range(0, 1500, 3), 1500, 1796])
    everything = load_digits().images.astype(int)
    [text] = sheets("digits", ids)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L")).astype(int)
    for place, id in enumerate(ids):
        top, left = place // COLUMNS * 8, place % COLUMNS * 8
        np.testing.assert_allclose(sheet[top : top + 8, left : left + 8], everything[id] * 255 / 16, atol=9)


def test_a_figure_is_shown_as_it_was_drawn() -> None:
    path = REFERENCE / "laptop" / "fig2.png"
    content = base64.b64decode(figure(path))
    assert len(content) < path.stat().st_size / 2
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=float)
    drawn = np.asarray(Image.open(path).convert("RGB"), dtype=float)
    assert np.abs(shown - drawn).mean() < 0.5


def test_validation_sets_hold_every_estimator() -> None:
    validated = results.validation("laptop")
    assert validated is not None
    found = sets.from_validation(validated)
    assert [each.dataset for each in found] == ["mnist", "fashion_mnist", "cifar10"]
    assert next(iter(found[0].numbers)) == "turnover"
    assert {"aum", "true_memorization", "own_loss"} <= set(found[0].numbers)
    assert isinstance(found[0].table, pd.DataFrame)
    assert "300 wrong labels by 1000 networks" in found[0].about
