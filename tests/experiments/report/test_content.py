"""What the report says is what the results say: claims, numbers, tables, and which results are taken."""

import base64
import io
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
from turnover.experiments.plots.figure import remarks
from turnover.experiments.report import sections, sets
from turnover.experiments.report.claims import by_construction, claims, tally
from turnover.experiments.report.explorer import COLUMNS, figure, pixels, sheets
from turnover.experiments.report.make import ReportJob, make
from turnover.experiments.results import Result, Validation
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores, scores_by_epoch

REFERENCE = checkout() / "outputs" / "reference"


def result(name: str, scale: str, claims: dict[str, Any], **values: Any) -> Result:
    """Return a figure that nobody drew."""
    return Result(name, scale, Path("none.png"), {"claims": claims, "overrides": [], **values}, local=False)


def claim(id: str, verdict: str, effect: float) -> dict[str, Any]:
    """Return a claim with one measure that decides it and, of 2b and onion, one that is reported only."""
    names = {"2b": ["auroc", "auroc_wrong"], "6": ["transfer"], "onion": ["found_gain", "gain"]}[id]
    common = {"interval": [effect - 0.1, effect + 0.1], "side": "above", "condition": False, "by_seed": [effect] * 3}
    deciding = common | {"effect": effect, "threshold": 0.5, "verdict": verdict}
    reported = common | {"effect": effect, "threshold": None, "verdict": None}
    measures = [values | {"name": name} for values, name in zip((deciding, reported), names, strict=False)]
    return {"text": "it holds", "verdict": verdict, "measures": measures}


def test_every_claim_stands_once_with_its_verdicts_and_numbers() -> None:
    whole, part = (
        {id: claim(id, *of) for id in ("onion", "6", "2b")} for of in (("reproduced", 0.75), ("inconclusive", 0.5))
    )
    laptop = [
        result(name, "laptop", {id: whole[id]}) for name, id in (("onion", "onion"), ("fig6", "6"), ("fig2", "2b"))
    ]
    paper = [
        result("fig6-seed=0", "paper", {"6": part["6"]}, overrides=["seed=0"]),
        result("fig2-seed=0", "paper", {"2b": part["2b"]}, overrides=["seed=0"]),
        result("fig2", "paper", {"2b": whole["2b"]}),
    ]
    rows = claims([laptop, paper])
    assert [(row.id, row.figure, row.paper_figure) for row in rows] == [
        ("2b", "fig2", "2"),
        ("6", "fig6", "6"),
        ("onion", "onion", ""),
    ]
    assert [row.verdicts for row in rows] == [
        ("reproduced", "reproduced"),
        ("reproduced", "inconclusive"),
        ("reproduced", ""),
    ]
    notes = [(), (*remarks("6", ["reproduced"]), "at paper scale with seed=0"), ()]
    assert [row.notes for row in rows] == notes, "the whole figure comes first"
    assert [by_construction(rows, scale) for scale in (0, 1)] == [1, 0], "6, which is inconclusive at paper scale"
    assert tally(rows, 1) == {"reproduced": 1, "inconclusive": 1, "not reproduced": 0, "not tested": 0}
    [of_fitting] = rows[1].rows
    assert [cell and cell.text for cell in of_fitting.cells] == ["0.75 [0.65, 0.85]", "0.50 [0.40, 0.60]"]
    deciding, reported = rows[0].rows
    assert (deciding.claimed, reported.claimed) == ("> 0.5", "reported only")
    assert [cell and cell.verdict for cell in reported.cells] == ["", ""]
    assert rows[2].rows[0].cells[1] is None


def test_what_can_only_support_a_claim_says_so() -> None:
    rows = {row.id: row for row in claims([results.results("laptop")])}
    sides = {row.claimed for row in rows["factor_weight_decay_mnist"].rows}
    assert {"< -0.5", "< 0 (supports only)", "< 0", "> 0.9 (condition)", "reported only"} <= sides


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


def test_the_table_of_the_validation_has_one_run_and_the_mean_of_all() -> None:
    common = {"dataset": "mnist", "augmentation": "none", "networks": 1, "cost": 1.0}
    scores = [("turnover", 1, 0.5), ("turnover", 10, 0.75), ("aum", 1, 0.625), ("aum", 10, 0.875)]
    made = [
        common | {"estimator": name, "seeds": seeds, "spearman": value, "precision": value / 2}
        for name, seeds, value in scores
    ]
    values = {"columns": {"cost": "in trainings"}}
    table = sections.agreement(Validation(Path(), pd.DataFrame(made), values, local=False))
    assert [row[1:] for row in table.rows] == [
        ("1.0", "0.625 → 0.875", "0.312 → 0.438"),
        ("1.0", "0.500 → 0.750", "0.250 → 0.375"),
    ]


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
    [text] = sheets(pixels("digits"), ids, "digits")
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
