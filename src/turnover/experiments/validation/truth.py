"""Ground truth: memorization by many networks, how reliable it is, and a table of it beside every estimator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch.nn.functional as F

from turnover.common.files import replacing
from turnover.common.text import in_order
from turnover.config.estimators import TurnoverEstimator
from turnover.config.run import RunConfig
from turnover.estimators.score import average
from turnover.estimators.subsampling import excess_loss, memorization
from turnover.experiments.validation.estimates import TITLES, Condition, Estimate
from turnover.experiments.validation.estimates import title as of_estimate
from turnover.runs.store.members import read_members
from turnover.runs.store.run import Run
from turnover.runs.store.tables import SCORE_COLUMNS, read_scores
from turnover.stats.agreement import Correlation, ceiling, pearson, reliability, spearman, tie_bound

CORRELATIONS: Mapping[str, Correlation] = {"spearman": spearman, "pearson": pearson}


@dataclass(frozen=True)
class Truth:
    """Memorization of every example by a thousand networks, or a few hundred."""

    table: pd.DataFrame  # index "id": the columns of `known`
    reliability: dict[str, float]  # by correlation, form and "all" or "clean", of the whole ensemble
    networks: int

    def ceiling(self, correlation: str, form: str, part: str) -> float:
        """Return the highest correlation with this truth that is expected of a perfect score without ties.

        A rank correlation is limited by the truth's ties too: nothing is memorized of many examples, whose order is
        arbitrary. Halves of the networks agree about such ties, so reliability does not show them.
        """
        limit = ceiling(self.reliability[f"{correlation}/{form}/{part}"])
        table = self.table if part == "all" else self.table[~self.table["wrong"]]
        return limit * tie_bound(table[form].to_numpy()) if correlation == "spearman" else limit


def truth(config: RunConfig) -> Truth:
    """Return the ground truth of a finished run with estimator=subsampling."""
    run = Run(config)
    table = known(read_scores(run.folder))
    members = read_members(run.folder)
    right, included, losses = members.right, members.included, F.softplus(-members.confidence.double())
    halves = [slice(start, None, 2) for start in (0, 1)]
    forms = {
        "probability": [memorization(right[half], included[half]).float().numpy() for half in halves],
        "loss": [excess_loss(losses[half], included[half]).float().numpy() for half in halves],
    }
    clean = ~table["wrong"].to_numpy()
    reliabilities = {}
    for name, correlation in CORRELATIONS.items():
        for form, (first, second) in forms.items():
            for part, rows in (("all", np.ones(len(table), dtype=bool)), ("clean", clean)):
                finite = rows & np.isfinite(first) & np.isfinite(second)
                reliabilities[f"{name}/{form}/{part}"] = reliability(first[finite], second[finite], correlation)
    return Truth(table, reliabilities, len(included))


def known(scores: pd.DataFrame) -> pd.DataFrame:
    """Return memorization by an ensemble's score table, in both of its forms.

    error: share of the networks not trained on an example that are wrong about it; wrong: whether its label is. Numbers
    are float32, in which differences of shares that are equal but for their rounding are ties.
    """
    columns = {
        "probability": scores["memorization"],
        "loss": scores["memorization_loss"],
        "error": 1 - scores["out_accuracy"],
    }
    mislabelled = scores["label"] != scores["true_label"]
    return pd.DataFrame(columns).astype(np.float32).assign(wrong=mislabelled)


KNOWN = "id label true_label own_loss flipped_loss own_prediction flipped_prediction".split()
TRUTHS = {  # columns of `truth.known`
    "true_memorization": ("probability", "ground truth: memorization"),
    "true_memorization_loss": ("loss", "ground truth: memorization as a loss, in nats"),
    "true_error": ("error", "ground truth: share of the networks not trained on it that are wrong about it"),
}


def file_name(dataset: str) -> str:
    """Return the name of the table of a data set, in the folder of a validation."""
    return f"examples_{dataset}.parquet"


def title(column: str) -> str:
    """Return the name of a column of numbers on an axis."""
    if column in TRUTHS:
        return TRUTHS[column][1]
    return of_estimate(column) or column.replace("_", " ")


def examples(runs: Sequence[RunConfig], estimates: Sequence[Estimate], truth: Truth) -> pd.DataFrame:
    """Return a row for each example: labels, losses and predictions of sub-networks, every estimate, the ground truth.

    Estimates are means over the seeds; of ensembles of several sizes the largest one's. All are high for examples that
    are memorized, difficult or wrongly labelled.

    Args:
        runs: finished runs with estimator=turnover, which differ in their seeds.
        estimates: of the same examples, by runs of every kind.
    """
    sub_networks = average([read_scores(Run(config).folder) for config in runs])
    table = sub_networks[[name for name in KNOWN if name != "id"]].copy()
    table = table.join(means(estimates).reindex(table.index))
    for name, (column, _) in TRUTHS.items():
        table[name] = truth.table[column].reindex(table.index)
    return table.reset_index()


def means(estimates: Sequence[Estimate]) -> pd.DataFrame:
    """Return the mean over seeds of every estimate, of ensembles of several sizes that of the largest; index "id"."""
    columns = {}
    for name in in_order(dict.fromkeys(estimate.name for estimate in estimates), TITLES):
        of_name = [estimate for estimate in estimates if estimate.name == name]
        networks = max(estimate.networks for estimate in of_name)
        largest = [estimate.scores for estimate in of_name if estimate.networks == networks]
        ids = largest[0].index
        columns[name] = pd.Series(np.mean([scores.reindex(ids).to_numpy() for scores in largest], axis=0), ids)
    return pd.DataFrame(columns)


def sub_network_runs(condition: Condition, among: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the runs of turn-over dropout under a condition as the paper has it, not tuned."""
    return [
        config
        for config in among
        if Condition.of(config) == condition
        and isinstance(config.estimator, TurnoverEstimator)
        and config.experiment not in ("validate_tuned", "validate_tied")
    ]


def write_examples(path: Path, table: pd.DataFrame) -> None:
    """Write a table of `examples`, all or nothing; every column is described in its field's metadata."""
    whole_numbers = {name: pa.int8() for name in KNOWN if name.endswith(("label", "prediction"))} | {"id": pa.int32()}
    fields = []
    for name in table:
        about = SCORE_COLUMNS[name][1] if name in KNOWN else f"{title(str(name))}; mean over seeds"
        fields.append(pa.field(str(name), whole_numbers.get(str(name), pa.float32()), metadata={"doc": about}))
    with replacing(path) as temporary:
        whole = pa.Table.from_pandas(table, schema=pa.schema(fields), preserve_index=False)
        pq.write_table(whole, temporary, compression="zstd")


def read_examples(path: Path) -> pd.DataFrame:
    """Return a table of `examples`, index "id"."""
    return pd.read_parquet(path).set_index("id")
