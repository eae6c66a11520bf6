"""An earlier validation to which estimators are added: its ground truth, and all rows that are not made anew.

A new estimator is then held against a thousand networks without training them.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from turnover.common.text import in_order
from turnover.errors import RunFailed
from turnover.experiments.results import Values, read
from turnover.experiments.validation.estimates import SIZES, TITLES, Condition, Estimate
from turnover.experiments.validation.table import ordered
from turnover.experiments.validation.truth import KNOWN, TRUTHS, Truth, file_name, means, read_examples
from turnover.stats.agreement import bias, slope

_CONDITION = [field.name for field in fields(Condition)]
_KEYS = [*_CONDITION, "estimator"]


@dataclass(frozen=True)
class Earlier:
    """A folder that `make` has written."""

    folder: Path
    values: Values  # of validate.json

    @classmethod
    def of(cls, folder: Path, scale: str) -> "Earlier":
        """Read what a folder holds.

        Raises:
            RunFailed: there is no validation of that scale in it.
        """
        if not (folder / "validate.json").is_file():
            raise RunFailed(f"onto = {folder}: there is no validate.json; give a folder that make validate has written")
        values = read(folder / "validate.json")
        if values["scale"] != scale:
            raise RunFailed(
                f"onto = {folder}: it is of {values['scale']} scale, not {scale}: give scale={values['scale']}"
            )
        return cls(folder, values)

    def csv(self, name: str) -> pd.DataFrame:
        """Return table, exposure or leave_one_out."""
        return pd.read_csv(self.folder / f"{name}.csv")

    @cached_property
    def examples(self) -> dict[Condition, pd.DataFrame]:
        """Examples of every data set that has a table of them, by the condition of its ground truth; index "id"."""
        known = self.csv("table").dropna(subset="spearman")
        conditions = itertools.starmap(Condition, known[_CONDITION].drop_duplicates().to_numpy(object))
        paths = {condition: self.folder / file_name(condition.dataset) for condition in conditions}
        return {condition: read_examples(path) for condition, path in paths.items() if path.is_file()}

    def truths(self) -> dict[Condition, Truth]:
        """Return the ground truth of every data set."""
        truths = {}
        for condition, table in self.examples.items():
            about = self.values["truth"][condition.dataset]
            known = pd.DataFrame({form: table[column] for column, (form, _) in TRUTHS.items()})
            known["wrong"] = table["label"] != table["true_label"]
            truths[condition] = Truth(known, about["reliability"], about["networks"])
        return truths

    def with_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return its table with new rows, which stand for all of its own of the same estimator and condition."""
        kept = self.csv("table")
        made = set(rows[_KEYS].itertuples(index=False, name=None))
        kept = kept[[row not in made for row in kept[_KEYS].itertuples(index=False, name=None)]]
        return ordered(pd.concat([self._with_sizes(kept), rows], ignore_index=True))

    def _with_sizes(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add slope and bias to the rows whose scores are among the examples; they were no columns at first."""
        table = table.copy()
        for condition, examples in self.examples.items():
            here = (table[_CONDITION] == pd.Series(vars(condition))).all(axis=1)
            real = examples["true_memorization"].to_numpy()
            for name in (name for name in SIZES if name in examples):
                rows = table[here & (table["estimator"] == name)].sort_values(["networks", "seeds"])
                scores, once = examples[name].to_numpy(), np.ones(len(real), dtype=np.int64)
                for measure, statistic in (("slope", slope), ("bias", bias)):
                    table.loc[rows.index[-1:], measure] = statistic(scores, real)(once)
        return table

    def with_scores(self, estimates: Mapping[Condition, Sequence[Estimate]]) -> dict[str, pd.DataFrame]:
        """Return the examples of every data set with the estimates that are new, each in its column; by data set."""
        tables = {}
        for condition, examples in self.examples.items():
            new = means(estimates.get(condition, [])).reindex(examples.index)
            table = examples.drop(columns=[name for name in new if name in examples]).join(new)
            names = in_order(map(str, table), (*KNOWN, *TITLES, *TRUTHS))
            tables[condition.dataset] = table[names].reset_index()
        return tables

    def provenance(self, new: Values, seconds: Mapping[str, float]) -> Values:
        """Return validate.json of both: runs, commits and machines of all rows, and when the kept ones were made.

        Args:
            new: validate.json of what is added.
            seconds: of the training of each run that is added, by its name; one that was added before counts once.
        """
        both = {name: sorted({*self.values[name], *new[name]}) for name in ("commits", "machines")}
        before = [*self.values.get("onto", []), {name: self.values[name] for name in ("made", "commit")}]
        earlier = self.values.get("added", [])
        unknown = [name for name in seconds if name not in earlier]
        sums = {
            "runs": self.values["runs"] + len(unknown),
            "training_seconds": round(self.values["training_seconds"] + sum(seconds[name] for name in unknown), 1),
        }
        return new | both | sums | {"truth": self.values["truth"], "added": [*earlier, *unknown], "onto": before}
