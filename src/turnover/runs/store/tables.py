"""Tables of a run, with the documentation of every column and metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from turnover.common.files import replacing
from turnover.common.text import in_order
from turnover.config.estimators import ESTIMATES

METRICS_COLUMNS = {
    "epoch": (pa.int32(), "whole epochs trained so far; 0: before training"),
    "split": (pa.string(), "train or test"),
    "subset": (
        pa.string(),
        "the examples over which the mean is taken: all; easy, difficult or random; control: difficult ones with "
        "other random labels, which are never trained on; trigger: test images of other classes with the trigger, "
        "under the label that it stands for",
    ),
    "metric": (pa.string(), "name of the metric"),
    "value": (pa.float64(), "its value; losses in nats, accuracies as shares of 1"),
}
STEP_COLUMN = {"step": (pa.int32(), "steps trained since those epochs; 0: none")}  # with tracking.steps

METRICS = {
    "lr": "learning rate of the first step of the epoch",
    "loss": "mean training loss over the epoch, while the weights move",
    "accuracy": "training accuracy over the epoch, while the weights move; with turn-over dropout of own sub-networks",
    # all below: at the end of the epoch, in evaluation mode; train/all over the tracked examples
    "own_loss": "mean loss of own sub-networks",
    "own_accuracy": "accuracy of own sub-networks",
    "flipped_loss": "mean loss of flipped sub-networks",
    "flipped_accuracy": "accuracy of flipped sub-networks",
    "full_loss": "mean loss of the full network",
    "full_accuracy": "accuracy of the full network",
    "label_lead": "of those difficult examples whose random label is wrong: mean of log p(label) - log p(c), in nats, "
    "by the full network, over the classes c that are neither the label nor the true one",
    "constant_loss": "mean loss of own sub-networks on an image that is the same for all examples (every input is 1)",
    "constant_accuracy": "accuracy of own sub-networks on that image: how well labels can be read from the masks alone",
    "in_accuracy": "mean over training examples of the share of right ones among the networks trained on it",
    "out_accuracy": "the same among the networks that were not trained on it",
    "fresh_loss": "mean loss of sub-networks with masks of never-trained ids, averaged over a few such masks",
    "fresh_accuracy": "accuracy of sub-networks with masks of never-trained ids, averaged over a few such masks",
}

# of the gradients v_i of single training examples, with tracking=gradients; g is the gradient of a mean loss
METRICS |= {
    "batch_cosine": "mean cosine of v_i and v_j over all pairs in one mini-batch, over the updates of the epoch",
    "contribution": "mean of v_i · g / ‖g‖ over the updates of the epoch, g of the mini-batch, as the paper defines it",
    "others_contribution": "the same without the part of g that is v_i itself, ‖v_i‖² / (B ‖g‖) in a mini-batch of B",
    "gradient_norm": "mean of ‖v_i‖ over the updates of the epoch",
    "set_cosine": "mean cosine over all pairs of the set, exact, at the end of the epoch; after a slash, of the part "
    "that belongs to one parameter",
    "set_contribution": "mean of v_i · g / ‖g‖ at the end of the epoch, g of all tracked training examples",
}

TEXT_COLUMNS = {  # in the place of classes
    "tokens": (pa.int32(), "of text: how many tokens of it are predicted"),
    "copies": (pa.int32(), "how often an epoch trains on it"),
    "kind": (pa.string(), "text, duplicate (planted copies of a text) or canary (a planted text with a secret code)"),
    "code": (pa.string(), "the secret code of a canary"),
    "text": (pa.string(), "the text, whole if it is cut too"),
    "own_accuracy": (pa.float32(), "share of its tokens to which the own sub-network gives most probability"),
    "flipped_accuracy": (pa.float32(), "the same of the flipped sub-network"),
}

SCORE_COLUMNS = {
    "epoch": (pa.int32(), "whole epochs trained when the example was scored"),
    "id": (pa.int64(), "permanent index of the example in its data set; test examples follow the training examples"),
    "split": (pa.string(), "train or test: where the data set has the example"),
    "label": (pa.int64(), "the class the network was trained on"),
    "true_label": (pa.int64(), "the class in the data set"),
    "corrupted": (pa.bool_(), "whether the label was replaced (by a random class it may be the true one again)"),
    "size": (pa.float64(), "what corruption.sizes did to the example, 0: nothing; of imbalance examples of its class"),
    **TEXT_COLUMNS,
    "score": (pa.float32(), "the estimator's score; of turn-over dropout: flipped_loss - own_loss, in nats"),
    "own_loss": (
        pa.float32(),
        "cross-entropy of the example's own sub-network on it, in nats; of text a mean over tokens",
    ),
    "flipped_loss": (pa.float32(), "cross-entropy of the example's flipped sub-network on it, in nats"),
    "own_prediction": (pa.int64(), "class predicted by the own sub-network"),
    "flipped_prediction": (pa.int64(), "class predicted by the flipped sub-network"),
    **{name: (pa.float64(), text) for name, text in ESTIMATES.items()},
    "prediction": (pa.int64(), "class to which networks not trained on it give most probability, mean over them"),
    "probability": (pa.float64(), "that mean probability"),
}

SUBSET_COLUMNS = {
    "id": SCORE_COLUMNS["id"],
    "split": SCORE_COLUMNS["split"],
    "subset": (pa.string(), "easy, difficult or random, or a name of the user's"),
    "label": (pa.int64(), "the class the network is trained on"),
    "score": (pa.float64(), "mean memorization score over the score runs, in nats; empty if labels chose the subsets"),
}

PROBE_COLUMNS = {
    "probe": (pa.string(), "what was measured, by its name in config.probes.PROBES"),
    "run": (pa.string(), "the run whose network it is; of a pair both, with & between them"),
    "epoch": (pa.int32(), "the weights are those after this epoch, or are set back to it; 0: before training"),
    "block": (pa.string(), "the block, by its module; all: the whole network; none: none is changed; input: the data"),
    "group": (
        pa.string(),
        "examples: clean (right labels) and noisy (wrong ones); forgotten, kept; test; all",
    ),
    "id": (pa.int64(), "the example whose number it is; empty: it is one of the group"),
    "measure": (pa.string(), "name of the measure, as the module of the probe says"),
    "value": (pa.float64(), "its value"),
}


@dataclass(frozen=True)
class Metric:
    """One row of metrics.parquet."""

    epoch: int
    split: str
    subset: str
    metric: str
    value: float
    step: int = 0

    def __post_init__(self) -> None:
        if self.metric.split("/")[0] not in METRICS:
            raise ValueError(f"metric {self.metric!r} is not documented in tables.METRICS")

    @property
    def key(self) -> str:
        """Name on a dashboard: train/own_accuracy, test/easy/full_accuracy."""
        return "/".join([self.split, *([] if self.subset == "all" else [self.subset]), self.metric])


def write_metrics(path: Path, rows: Sequence[Metric]) -> None:
    """Write metrics.parquet, all or nothing."""
    schema = METRICS_COLUMNS | (STEP_COLUMN if any(row.step for row in rows) else {})
    _write(path, pd.DataFrame({name: [getattr(row, name) for row in rows] for name in schema}), schema)


def write_scores(path: Path, table: pd.DataFrame) -> None:
    """Write scores.parquet, all or nothing; its columns are those of `SCORE_COLUMNS` that the estimator has."""
    _write(
        path, table, {name: SCORE_COLUMNS[name.partition("/")[0]] for name in in_order(map(str, table), SCORE_COLUMNS)}
    )


def write_subsets(path: Path, table: pd.DataFrame) -> None:
    """Write subsets.parquet, all or nothing."""
    _write(path, table, SUBSET_COLUMNS)


def write_probes(path: Path, table: pd.DataFrame) -> None:
    """Write probes.parquet, all or nothing."""
    _write(path, table, PROBE_COLUMNS)


def write_influences(run: Path, targets: np.ndarray, ids: np.ndarray, influence: np.ndarray) -> None:
    """Write influences.npz, all or nothing: ids of test examples [t], of training examples [n], influences [t, n]."""
    with replacing(run / "influences.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, targets=targets, ids=ids, influence=influence)


def read_influences(run: Path) -> pd.DataFrame:
    """Read influences in nats; positive: training helped.  # index "id": training examples; columns: test examples"""
    with np.load(run / "influences.npz", allow_pickle=False) as file:
        index = pd.Index(file["ids"], name="id")
        return pd.DataFrame(file["influence"].T, index=index, columns=pd.Index(file["targets"], name="target"))


def read_metrics(run: Path, *, within: bool = False) -> pd.DataFrame:
    """Read metrics of a finished run: epoch, split, subset, metric, value.

    Args:
        within: those from within epochs too, in a column `step` more.
    """
    table = pd.read_parquet(run / "metrics.parquet")
    if "step" not in table:
        table = table.assign(step=0)
    return table if within else table[table["step"] == 0].drop(columns="step").reset_index(drop=True)


def read_probes(run: Path) -> pd.DataFrame:
    """Read what a finished run measured of networks: probe, run, epoch, block, group, id, measure, value."""
    return pd.read_parquet(run / "probes.parquet")


def read_subsets(run: Path) -> pd.DataFrame:
    """Read the subsets of a finished run: id, split, subset, label, score."""
    return pd.read_parquet(run / "subsets.parquet")


def read_scores(run: Path, epoch: int | None = None) -> pd.DataFrame:
    """Read scores of a finished run, index "id"; of the last epoch or of another scored one."""
    path = run / "scores.parquet"
    if epoch is None:
        epoch = int(pd.read_parquet(path, columns=["epoch"])["epoch"].max())
    table = pd.read_parquet(path, filters=[("epoch", "==", epoch)])
    pa.default_memory_pool().release_unused()  # of a million rows twice the table, which it would keep for itself
    return table.drop(columns="epoch").set_index("id")


def scores_by_epoch(run: Path) -> pd.DataFrame:
    """Read scores of a finished run after every scored epoch.  # index: id; a column for each epoch"""
    table = pd.read_parquet(run / "scores.parquet", columns=["epoch", "id", "score"])
    return table.pivot(index="id", columns="epoch", values="score")


def _write(path: Path, table: pd.DataFrame, columns: dict[str, tuple[pa.DataType, str]]) -> None:
    schema = pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, (kind, doc) in columns.items()])
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pandas(table[list(columns)], schema=schema, preserve_index=False), temporary)
