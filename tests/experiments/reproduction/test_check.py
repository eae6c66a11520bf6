"""The check of the committed results: what it says of results that differ."""

import shutil
from pathlib import Path

import pandas as pd
from readings import REFERENCE

from turnover.experiments.reproduction.check import differences, every


def test_every_committed_figure_is_held_and_a_changed_one_is_named(tmp_path: Path) -> None:
    scale = tmp_path / "laptop"
    scale.mkdir()
    for name in ("fig1", "fig6"):
        for kind in ("json", "csv", "png"):
            shutil.copy(REFERENCE / "laptop" / f"{name}.{kind}", scale)
    shutil.copy(REFERENCE / "laptop" / "bench_machine.json", scale)
    assert [(each.file, each.wrong) for each in every(tmp_path)] == [("laptop/fig1.json", []), ("laptop/fig6.json", [])]
    told = (scale / "fig6.json").read_text()
    (scale / "fig6.json").write_text(told.replace('"verdict": "reproduced"', '"verdict": "not reproduced"'))
    named = {each.file: each.wrong for each in every(tmp_path)}
    assert named["laptop/fig1.json"] == []
    assert named["laptop/fig6.json"]


def test_a_result_that_comes_out_differently_is_named() -> None:
    made = pd.DataFrame({"seed": [0, 0, 1], "epochs": [1, 2, 1], "auroc": [0.5, 0.75, 0.8]})
    assert differences(made, made.assign(auroc=made["auroc"] + [0.004, -0.004, 0])) == []
    assert differences(made, made.assign(auroc=made["auroc"] + [0, 0.006, 0])) == [
        "seed 0, epoch 2: AUROC 0.7500, committed 0.7560"
    ]
    assert differences(made, made[:2]) == ["seed 1, epoch 1: AUROC 0.8000, committed nan"]
    assert differences(made[:2], made) == ["seed 1, epoch 1: AUROC nan, committed 0.8000"]
