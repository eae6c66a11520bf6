"""The committed examples of the validation are those behind its committed table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from turnover.common.files import checkout
from turnover.experiments.validation.estimates import TITLES
from turnover.experiments.validation.truth import KNOWN, TRUTHS, file_name, read_examples, title, write_examples
from turnover.runs.store.tables import SCORE_COLUMNS

FOLDER = checkout() / "outputs" / "reference" / "laptop" / "validate"
DATASETS = ("mnist", "fashion_mnist", "cifar10")
REPORTED = pd.read_csv(FOLDER / "table.csv").query("noise == 'symmetric' and wrong == 300 and augmentation == 'none'")


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_estimator_agrees_with_the_truth_as_the_table_says(dataset: str) -> None:
    """A mean over seeds is one vector, so its correlation is a plain one; rows of single runs are means of several."""
    table = read_examples(FOLDER / file_name(dataset))
    wrong = (table["label"] != table["true_label"]).to_numpy()
    assert wrong.sum() == 300
    mine = REPORTED[REPORTED["dataset"] == dataset]
    whole = mine.loc[mine.groupby("estimator")["networks"].idxmax(), ["estimator", "networks"]]
    held = 0
    for name, networks in whole.itertuples(index=False):
        rows = mine[(mine["estimator"] == name) & (mine["networks"] == networks)]
        [row] = rows[rows["seeds"] == rows["seeds"].max()].to_dict("records")
        if row["seeds"] == 1 and row["runs"] > 1:
            continue
        scores = table[name].to_numpy(dtype=float)
        assert spearmanr(scores, table["true_memorization"]).statistic == pytest.approx(row["spearman"], abs=2e-4), name
        found = wrong[np.argsort(-scores, kind="stable")[:300]].mean()
        assert found == pytest.approx(row["precision"], abs=0.011), name  # equal scores may be ordered otherwise
        held += 1
    assert held >= 15


@pytest.mark.parametrize("dataset", DATASETS)
def test_scores_of_turn_over_dropout_are_its_losses(dataset: str) -> None:
    table = read_examples(FOLDER / file_name(dataset))
    names = {name.partition("/")[0] for name in table.columns}
    always = (set(KNOWN) - {"id"}) | set(TRUTHS)
    assert names == always | set(TITLES)
    assert table.index.is_unique
    difference = (table["flipped_loss"] - table["own_loss"]).to_numpy()
    np.testing.assert_allclose(difference, table["turnover"].to_numpy(), atol=1e-4)


def test_every_column_says_what_it_is(tmp_path: Path) -> None:
    table = read_examples(FOLDER / file_name("mnist"))
    write_examples(tmp_path / "again.parquet", table.reset_index())
    schema = pq.read_schema(tmp_path / "again.parquet")
    assert schema.field("own_loss").metadata[b"doc"].decode() == SCORE_COLUMNS["own_loss"][1]
    assert schema.field("aum").metadata[b"doc"].decode() == f"{title('aum')}; mean over seeds"
    pd.testing.assert_frame_equal(read_examples(tmp_path / "again.parquet"), table)
