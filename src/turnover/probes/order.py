"""Agreement of networks about when examples are learnt (Hacohen et al., 2020), from score tables."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from turnover.errors import RefusedInput
from turnover.probes.trained import Row, Trained
from turnover.stats.agreement import spearman


def measure(networks: Sequence[Trained], *, column: str) -> Iterator[Row]:
    """Yield Spearman's correlation of the learning times of every pair of networks: of all, clean and noisy examples.

    Args:
        column: of the score tables, that has the times.

    Raises:
        RefusedInput: there is one network alone, or one without such a column.
    """
    if len(networks) < 2:
        raise RefusedInput("probe=order compares networks: give two or more")
    tables = {}
    for network in networks:
        if network.scores is None or column not in network.scores:
            raise RefusedInput(
                f"{network.name}: probe=order reads column {column} of score tables: "
                f"name runs with estimator={column} in scripts/probe.py probe=order"
            )
        tables[network.name] = network.scores[column]
    for a, b in combinations(networks, 2):
        both = pd.concat([tables[a.name], tables[b.name]], axis=1, join="inner")
        for name in ("clean", "noisy"):
            known = [set(network.groups[name].index.tolist()) for network in (a, b) if name in network.groups]
            if len(known) == 2 and known[0] != known[1]:
                raise RefusedInput(
                    f"{a.name} and {b.name} have other {name} examples: probe=order compares networks of the same "
                    "wrong labels, so give corruption.seed and dataset.seed one value"
                )
        groups = {"all": both.index} | {name: a.groups[name].index for name in ("clean", "noisy") if name in a.groups}
        for group, ids in groups.items():
            rows = both[both.index.isin(ids)].to_numpy(np.float64)
            if len(rows) > 1:
                agreement = spearman(rows[:, 0], rows[:, 1])(np.ones(len(rows), dtype=np.int64))
                yield Row(f"{a.name} & {b.name}", "spearman", agreement, a.epoch, group=group)
