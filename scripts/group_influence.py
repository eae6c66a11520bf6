"""Measure influence of groups of training examples by blocks and by turn-over dropout, against networks without them.

Writes outputs/group_influence.csv anew after each setting and kind of groups: some ten minutes for each data set.
"""

import argparse
from itertools import product

from turnover.runs.cli import enter


def main() -> None:
    from turnover.experiments.validation.groups import KINDS, measure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["mnist_3000", "fashion_3000"])
    parser.add_argument("--groups", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--size", type=int, default=30, help="of a group")
    parser.add_argument("--networks", type=int, default=200, help="that are the truth")
    parser.add_argument("--seeds", type=int, default=5, help="of what is held against it")
    given = parser.parse_args()

    import pandas as pd
    from tqdm import tqdm

    from turnover.common.files import outputs_root
    from turnover.experiments.validation.audits import write

    path, rows = outputs_root() / "group_influence.csv", []
    for setting, kind in product(given.settings, given.groups):
        with tqdm(unit="step", desc=f"{setting}, {kind}") as bar:
            rows += measure(setting, kind, given.size, given.networks, given.seeds, bar.update)
        write(path, pd.DataFrame(rows))
        print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    enter(main)
