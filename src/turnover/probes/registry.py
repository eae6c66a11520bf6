"""Measuring by the name of a probe, and the table of what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from importlib import import_module
from typing import Any

import pandas as pd

from turnover.config.probes import options_of
from turnover.probes.trained import Row, Trained

COLUMNS = ["probe", "run", "epoch", "block", "group", "id", "measure", "value"]


def measured(probe: str, networks: Sequence[Trained], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return what a probe measures of networks, a row for each number, with the columns `COLUMNS`.

    Raises:
        RefusedInput: there is no such probe or option, or the networks lack what it needs.
    """
    chosen = options_of(probe, options)
    rows = [astuple(row) for row in import_module(f"turnover.probes.{probe}").measure(networks, **chosen)]
    table = pd.DataFrame(rows, columns=[field.name for field in fields(Row)])
    table["probe"] = probe
    return table.astype({"epoch": "Int32", "id": "Int64", "value": "float64"})[COLUMNS]
