"""What every estimator and the ground truth say of every single example: for readers, and for the report's explorer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from turnover.common.files import replacing
from turnover.config.estimators import TurnoverEstimator
from turnover.config.run import RunConfig
from turnover.estimators.average import average
from turnover.experiments.validation.estimates import TITLES, Condition, Estimate
from turnover.experiments.validation.truth import Truth
from turnover.runs.store.run import Run
from turnover.runs.store.tables import SCORE_COLUMNS, read_scores

KNOWN = "id label true_label own_loss flipped_loss own_prediction flipped_prediction".split()
TRUTHS = {  # columns of `truth.known`
    "true_memorization": ("probability", "ground truth: memorization"),
    "true_memorization_loss": ("loss", "ground truth: memorization as a loss, in nats"),
    "true_error": ("error", "ground truth: share of the networks not trained on it that are wrong about it"),
}


def file_name(dataset: str) -> str:
    """Of the table of a data set, in the folder of a validation."""
    return f"examples_{dataset}.parquet"


def title(column: str) -> str:
    """What a column of numbers is called on an axis."""
    if column in TRUTHS:
        return TRUTHS[column][1]
    return TITLES.get(column, column.replace("_", " "))


def examples(runs: Sequence[RunConfig], estimates: Sequence[Estimate], known: Truth) -> pd.DataFrame:
    """A row for each example: labels, losses and predictions of sub-networks, every estimate, the ground truth.

    Estimates are means over the seeds; of ensembles of several sizes the largest one's. All are high for examples that
    are memorized, difficult or wrongly labelled.

    Args:
        runs: finished runs with estimator=turnover, which differ in their seeds.
        estimates: of the same examples, by runs of every kind.
    """
    sub_networks = average([read_scores(Run(config).folder) for config in runs])
    table = sub_networks[[name for name in KNOWN if name != "id"]].copy()
    for name in TITLES:
        found = [each for each in estimates if each.name == name]
        largest = [each.scores for each in found if each.networks == max(one.networks for one in found)]
        if largest:
            table[name] = np.mean([scores.reindex(table.index).to_numpy() for scores in largest], axis=0)
    for name, (column, _) in TRUTHS.items():
        table[name] = known.table[column].reindex(table.index)
    return table.reset_index()


def sub_network_runs(condition: Condition, among: Sequence[RunConfig]) -> list[RunConfig]:
    """The runs that say what sub-networks do under a condition: turn-over dropout as the paper has it, not tuned."""
    return [
        config
        for config in among
        if Condition.of(config) == condition
        and isinstance(config.estimator, TurnoverEstimator)
        and config.experiment != "validate_tuned"
    ]


def write_examples(path: Path, table: pd.DataFrame) -> None:
    """Write a table of `examples`, all or nothing; every column says what it is in its field's metadata."""
    whole_numbers = {name: pa.int8() for name in KNOWN if name.endswith(("label", "prediction"))} | {"id": pa.int32()}
    fields = []
    for name in table:
        about = SCORE_COLUMNS[name][1] if name in KNOWN else f"{title(str(name))}; mean over seeds"
        fields.append(pa.field(str(name), whole_numbers.get(str(name), pa.float32()), metadata={"doc": about}))
    with replacing(path) as temporary:
        whole = pa.Table.from_pandas(table, schema=pa.schema(fields), preserve_index=False)
        pq.write_table(whole, temporary, compression="zstd")


def read_examples(path: Path) -> pd.DataFrame:
    """A table of `examples`, index "id"."""
    return pd.read_parquet(path).set_index("id")
