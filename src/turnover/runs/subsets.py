"""Choice of a run's subsets: by labels, by the scores of other runs, or from a table in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from turnover.common.seeding import stream
from turnover.config.run import PrunedSubsets, RunConfig, ScoreSubsets
from turnover.config.subset_options import LabelSubsets, NoSubsets, TableSubsets
from turnover.data.datasets import Dataset, Split
from turnover.data.subsets import by_labels, by_scores, pruned
from turnover.errors import RefusedInput
from turnover.estimators.score import average
from turnover.runs.store.run import Run, require
from turnover.runs.store.tables import read_scores


def choose(config: RunConfig, dataset: Dataset) -> pd.DataFrame | None:
    """Return the subsets of a run, of train and if scored of test, with columns `tables.SUBSET_COLUMNS`; or None.

    Raises:
        RunFailed: a score run that chooses them is not finished.
        RefusedInput: they cannot be had from these examples.
    """
    splits = {"train": dataset.train, "test": dataset.test}
    match config.subsets:
        case NoSubsets():
            return None
        case LabelSubsets() as subsets:
            labels = _labels(dataset.train).assign(corrupted=dataset.train.corrupted.cpu().numpy())
            table = by_labels(labels, subsets.size, config.dataset.seed, balanced=subsets.balanced)
            return table.assign(split="train")
        case ScoreSubsets() as subsets:
            scores = scored_by(subsets.runs)
            tables = []
            for split, examples in splits.items():
                rows = scores[(scores["split"] == split) & scores.index.isin(examples.ids.cpu().numpy())]
                if len(rows):  # not every score run scores the test examples
                    _same_labels(rows, _labels(examples))
                    anew = subsets.random_of == "all"
                    seed = stream(config.seed, "random subset") if anew else config.dataset.seed
                    table = by_scores(rows, subsets.size, seed, balanced=subsets.balanced, of_all=anew)
                    tables.append(table.assign(split=split))
            return pd.concat(tables, ignore_index=True)
        case PrunedSubsets() as subsets:
            scores, train = scored_by(subsets.runs), dataset.train
            labels = _labels(train)
            rows = scores[(scores["split"] == "train") & scores.index.isin(labels.index)]
            _same_labels(rows, labels)
            wrong = pd.Series((train.labels != train.true_labels).cpu().numpy(), labels.index)
            seed = stream(config.seed, "random subset")
            table = pruned(rows.assign(wrong=wrong), subsets.size, subsets.keep, seed)
            return table.assign(split="train")
        case TableSubsets(path=path):
            tables = [_labels(examples).assign(split=split) for split, examples in splits.items()]
            return _read(Path(path), pd.concat(tables))


def scored_by(runs: Sequence[RunConfig]) -> pd.DataFrame:
    """Return the score table that chooses the subsets: the mean over the score runs.

    Raises:
        RunFailed: one of them is not finished.
    """
    return average([read_scores(require(Run(run), "make it with scripts/score.py")) for run in runs])


def _same_labels(scores: pd.DataFrame, labels: pd.DataFrame) -> None:
    # with another dataset.limit the same corruption replaces the labels of other examples
    differing = int((scores["label"] != labels["label"].reindex(scores.index)).sum())
    if differing:
        raise RefusedInput(
            f"subsets.runs: {differing} of {len(scores)} examples have other labels in the score run than here; "
            "with random labels, dataset.limit must be the same"
        )


def _labels(split: Split) -> pd.DataFrame:
    return pd.DataFrame({"label": split.labels.cpu().numpy()}, index=pd.Index(split.ids.cpu().numpy(), name="id"))


def _read(path: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Read a table of subsets and add the labels of this run; every row must be an example that the run has."""
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError) as error:  # what pandas and pyarrow raise
        message = " ".join(str(error).split())
        raise RefusedInput(f"subsets.path = {path}: cannot be read as {path.suffix[1:]}: {message}") from None
    missing = {"id", "split", "subset"} - set(table.columns)
    if missing or not len(table):
        raise RefusedInput(f"subsets.path = {path}: must have rows, and columns id, split and subset")
    table["score"] = table.get("score", np.nan)
    for name, right, allowed in (
        ("id", is_integer_dtype(table["id"]), "whole numbers"),
        ("split", all(isinstance(value, str) for value in table["split"]), "names"),
        ("subset", all(isinstance(value, str) for value in table["subset"]), "names"),
        ("score", is_numeric_dtype(table["score"]), "numbers"),
    ):
        if not right:
            raise RefusedInput(f"subsets.path = {path}: column {name} must have {allowed} alone")
    if (table["subset"] == "all").any() or table.duplicated(["id", "split", "subset"]).any():
        raise RefusedInput(f"subsets.path = {path}: a subset is named all, or holds an example twice")
    table = table.drop(columns="label", errors="ignore").merge(labels.reset_index(), on=["id", "split"], how="left")
    unknown = table["label"].isna()
    if unknown.any():
        row = table[unknown].iloc[0]
        raise RefusedInput(
            f"subsets.path = {path}: {unknown.sum()} of {len(table)} rows are examples that this run does not have, "
            f"the first is id {row['id']} of split {row['split']!r}; test ids follow the training ids"
        )
    table = table.astype({"label": np.int64, "score": np.float64})
    return table[["id", "split", "subset", "label", "score"]]
