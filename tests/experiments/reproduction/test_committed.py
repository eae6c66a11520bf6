"""The committed results agree with themselves; and what would not agree is noticed."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readings import REFERENCE, ROOT

from turnover.experiments.figures import fig2, fig3
from turnover.experiments.reproduction.check import validation
from turnover.experiments.reproduction.committed import figure, near
from turnover.experiments.results import SCALES, sealed

FIGURES = [
    path for scale in SCALES for path in sorted((REFERENCE / scale).glob("*.json")) if "claims" in path.read_text()
]


@pytest.fixture(scope="module")
def checked() -> tuple[int, list[str]]:
    """The exit code of scripts/check_reference.py, and the lines that it prints."""
    main = runpy.run_path(str(ROOT / "scripts" / "check_reference.py"))["main"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(sys, "argv", ["check_reference.py"])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0), printed.getvalue().splitlines()


def test_the_script_ends_well_on_what_is_committed(checked: tuple[int, list[str]]) -> None:
    code, lines = checked
    assert code == 0, lines
    assert lines[0].startswith("ok      laptop/detection_cost.csv: ")
    assert lines[-1] == "all committed results agree"
    assert len([line for line in lines if ".json: " in line]) == len(list(REFERENCE.glob("*/*.png")))


@pytest.mark.parametrize(
    "file",
    [
        *(f"{path.parent.name}/{path.name}" for path in FIGURES),
        *(f"laptop/validate/{name}.csv" for name in ("table", "exposure")),
    ],
)
def test_what_is_committed_agrees(file: str, checked: tuple[int, list[str]]) -> None:
    [line] = [line for line in checked[1] if f" {file}: " in line]
    assert line.startswith("ok      "), checked[1]


# --- what must be noticed ---

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str, str], Path]:
    """A copy of a committed figure that may be changed."""

    def make(scale: str, name: str) -> Path:
        for kind in ("json", "csv", "png"):
            shutil.copy(REFERENCE / scale / f"{name}.{kind}", tmp_path)
        return tmp_path / f"{name}.json"

    return make


def measured(result: dict[str, Any], claim: str, name: str) -> dict[str, Any]:
    return next(each for each in result["claims"][claim]["measures"] if each["name"] == name)


RUNS = json.loads((REFERENCE / "laptop" / "fig3.json").read_text())["runs"]
FIRST = next(iter(RUNS))

CHANGES: dict[str, Change] = {
    f"{FIRST}, seed: 7, conf/ says {RUNS[FIRST]['seed']}": lambda result: result["runs"][FIRST].update(seed=7),
    "title: not those that conf/ says": lambda result: result.update(title="Another"),
    "runs: not those that conf/ says": lambda result: result["inputs"]["runs"].pop(),
    "what is recorded of runs: not those": lambda result: result["runs"].pop(result["inputs"]["runs"][0]),
    "seeds: not those that conf/ says": lambda result: result["seeds"].append(7),
    "score runs: not those that conf/ says": lambda result: result["score_runs"].update(another={}),
    "claims: not those that conf/ says": lambda result: result["claims"].pop("3b"),
    "training_seconds: 1.0, its runs say": lambda result: result.update(training_seconds=1.0),
    "3a: another claim than that of conf/": lambda result: result["claims"]["3a"].update(text="what we like"),
    "3a: verdict 'not reproduced' does not follow": lambda result: result["claims"]["3a"].update(
        verdict="not reproduced"
    ),
    "3c, fall: verdict 'reproduced', its interval": lambda result: measured(result, "3c", "fall").update(
        verdict="reproduced"
    ),
    "3c, fall: threshold 0.0, conf/ says 0.005": lambda result: measured(result, "3c", "fall").update(threshold=0.0),
    "3c, fall: side 'below', conf/ says 'above'": lambda result: measured(result, "3c", "fall").update(side="below"),
    "3a, easy_highest: condition False": lambda result: measured(result, "3a", "easy_highest").update(condition=False),
    "3c, fall: effect 0.01, the mean": lambda result: measured(result, "3c", "fall").update(effect=0.01),
    "3c, fall: interval [0.0, 0.1]": lambda result: measured(result, "3c", "fall").update(interval=[0.0, 0.1]),
    "3c, fall: interval None": lambda result: measured(result, "3c", "fall").update(interval=None),
    "3a, epochs_ahead: not there, and the claim is decided": lambda result: result["claims"]["3a"]["measures"].pop(0),
    "3c, fell: no measure of conf/": lambda result: measured(result, "3c", "fall").update(name="fell"),
    "3c, fall: by seed": lambda result: measured(result, "3c", "fall")["by_seed"].append(0.0),
}


@pytest.mark.parametrize("told", CHANGES)
def test_a_changed_result_is_noticed(told: str, copy: Callable[[str, str], Path]) -> None:
    path = copy("laptop", "fig3")
    result = json.loads(path.read_text())
    CHANGES[told](result)
    path.write_text(json.dumps(result))
    assert "fig3.json: not as it was written" in figure(path).wrong
    path.write_text(json.dumps(sealed(result)))
    assert any(each.startswith(told) for each in figure(path).wrong), figure(path).wrong


def test_another_number_of_counted_items_is_noticed(copy: Callable[[str, str], Path]) -> None:
    path = copy("laptop", "language_extraction")
    result = json.loads(path.read_text())
    counted = measured(result, "L4", "most")["items"]
    measured(result, "L4", "most")["items"] = 1000  # which would make the interval narrow
    path.write_text(json.dumps(sealed(result)))
    wrong = figure(path).wrong
    assert any(each.startswith(f"L4, most: a share of 1000 items, the table says {counted}") for each in wrong), wrong
    assert any(each.startswith("L4, most: interval") for each in wrong), wrong


def wrong_after(path: Path, change: Callable[[pd.DataFrame], None]) -> list[str]:
    """What is noticed when a table is changed that no checksum guards."""
    table = pd.read_csv(path.with_suffix(".csv"))
    change(table)
    table.to_csv(path.with_suffix(".csv"), index=False)
    return figure(path).wrong


ENDS = {"fig3": "3c, fall", "fig5": "5c, final_gap_mnist", "fig6": "6, transfer", "fig10": "10c, fitted"}


@pytest.mark.parametrize(("name", "claim"), ENDS.items())
def test_a_changed_table_is_noticed(name: str, claim: str, copy: Callable[[str, str], Path]) -> None:
    def change(table: pd.DataFrame) -> None:
        easy = table["curve"].str.startswith(("easy", "all", "1,500"))
        table.loc[easy & (table["epoch"] == table["epoch"].max()), "value"] -= 0.01

    assert any(each.startswith(claim) for each in wrong_after(copy("laptop", name), change))


@pytest.mark.parametrize("name", ["fig4", "fig4_vgg", "fig9"])
def test_a_changed_curve_is_noticed(name: str, copy: Callable[[str, str], Path]) -> None:
    def change(table: pd.DataFrame) -> None:
        curves = table["curve"].isin(["easy (real labels)", "own, train"])
        table.loc[curves & (table["epoch"] == table["epoch"].max()), "value"] += 3.0

    assert wrong_after(copy("laptop", name), change)


def test_a_changed_study_is_noticed(copy: Callable[[str, str], Path]) -> None:
    def moved(column: str) -> Callable[[pd.DataFrame], None]:
        return lambda table: table.update(table[[column]] + 0.01)

    for scale, name, column in (
        ("laptop", "early_stopping", "spearman"),
        ("laptop", "leakage", "value"),
        ("paper", "sensitivity", "test_accuracy"),
    ):
        assert any(each.startswith("summary") for each in wrong_after(copy(scale, name), moved(column))), name


def test_another_order_of_examples_of_the_onion_is_noticed(copy: Callable[[str, str], Path]) -> None:
    def swap(table: pd.DataFrame) -> None:
        table["tenth"] = table["tenth"].replace({9: 10, 10: 9})

    assert any(each.startswith("onion, found_next_tenth") for each in wrong_after(copy("laptop", "onion"), swap))


def test_a_table_of_something_else_is_noticed(copy: Callable[[str, str], Path]) -> None:
    path = copy("laptop", "fig3")
    shutil.copy(REFERENCE / "laptop" / "fig7.csv", path.with_suffix(".csv"))
    assert any(each.startswith("fig3.csv: no table of such a figure") for each in figure(path).wrong)


def test_a_changed_histogram_is_noticed(copy: Callable[[str, str], Path]) -> None:
    def swap(table: pd.DataFrame) -> None:
        table["group"] = table["group"].replace({"corrupted": "uncorrupted", "uncorrupted": "corrupted"})

    assert any(each.startswith("2b, auroc") for each in wrong_after(copy("laptop", "fig2"), swap))


@pytest.mark.parametrize("kind", ["csv", "png"])
def test_a_file_that_was_not_drawn_is_noticed(kind: str, copy: Callable[[str, str], Path]) -> None:
    path = copy("paper", "fig2")
    with path.with_suffix(f".{kind}").open("ab") as file:
        file.write(b"\n")
    assert f"fig2.{kind}: not the file that was drawn" in figure(path).wrong
    path.with_suffix(f".{kind}").unlink()
    assert f"fig2.{kind}: not there" in figure(path).wrong


def test_a_changed_validation_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "validate"
    shutil.copytree(REFERENCE / "laptop" / "validate", folder)
    table = pd.read_csv(folder / "table.csv")
    row = table.query("dataset == 'mnist' and wrong == 300 and estimator == 'aum' and seeds == 10").index[0]
    table["spearman_loss"] += 0.0001 * (table.index == row)
    table.to_csv(folder / "table.csv", index=False)
    exposure = pd.read_csv(folder / "exposure.csv")
    exposure["memorization"] += 0.0001 * (exposure.index == 3)
    exposure.to_csv(folder / "exposure.csv", index=False)
    first, second = (each.wrong for each in validation(folder))
    assert [each.partition(":")[0] for each in first] == ["mnist, aum, spearman_loss"]
    assert [each.partition(":")[0] for each in second] == ["mnist, tenth 3, memorization"]


# --- what is computed again ---


def test_what_a_histogram_leaves_open_holds_the_truth() -> None:
    bins = {"panel": "b", "seed": 0, "bin_high": 0.0}
    table = pd.DataFrame(
        [
            {**bins, "group": group, "bin_low": low, "examples": count}
            for group, counts in {"corrupted": (1, 3), "uncorrupted": (2, 1)}.items()
            for low, count in zip((0.0, 1.0), counts, strict=True)
        ]
        + [
            {"panel": "a", "group": "all examples", "seed": 0, "bin_low": low, "bin_high": low + 1, "examples": count}
            for low, count in ((-1.5, 1), (-0.5, 1), (0.5, 5))
        ]
    )
    # of 12 pairs 3 x 2 are in order for sure; 1 x 2 and 3 x 1 share a bin; the median of 7 is the fourth score
    assert fig2.bounds(table) == {"auroc": [(6 / 12, 11 / 12)], "median_distance": [(0.5, 1.5)]}


def test_a_changed_measure_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    of_fig3 = fig3.measures
    monkeypatch.setattr(fig3, "measures", lambda numbers: of_fig3(numbers) | {"fall": [0.1, 0.2, 0.3]})
    assert [each.partition(":")[0] for each in figure(REFERENCE / "laptop" / "fig3.json").wrong] == ["3c, fall"]


@pytest.mark.parametrize(
    ("there", "here", "same"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0 + 1e-6, False),
        (0.0, 1e-12, True),
        ({"a": [1.0, "x", None]}, {"a": [1.0 + 1e-12, "x", None]}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ([1.0], [1.0, 2.0], False),
        (None, 1.0, False),
        ("x", 1.0, False),
        ("x", "y", False),
        (3, 3, True),
    ],
)
def test_near_is_the_same_but_for_last_digits(there: Any, here: Any, same: bool) -> None:
    assert near(there, here) is same
