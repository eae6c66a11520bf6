"""Measure the audit where wrong labels are known: against logistic regression on pixels, and the share it estimates.

Adds a row for each draw to outputs/audit_draws.csv, those that are there are left out, and writes their means to
outputs/audit.csv. A draw of all takes long: each row is printed when it is done, and the same command goes on after it.
"""

import argparse
from itertools import product

from turnover.runs.cli import enter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "mnist", "fashion_mnist", "cifar10"])
    parser.add_argument("--examples", nargs="+", type=int, default=[200, 500, 1000, 5000])
    parser.add_argument("--wrong", nargs="+", type=float, default=[0.05], help="share of labels")
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()

    import pandas as pd

    from turnover.common.files import outputs_root
    from turnover.experiments.validation.audits import add, done, measure, options, summary, write

    path = outputs_root() / "audit_draws.csv"
    for draw, wrong, examples, dataset in product(given.draws, given.wrong, given.examples, given.datasets):
        if (dataset, examples, wrong, draw) not in done(path):
            row = measure(options(), dataset, examples, wrong, draw)
            add(path, row)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    write(path.with_name("audit.csv"), summary(pd.read_csv(path)))
    print(path.with_name("audit.csv"))


if __name__ == "__main__":
    enter(main)
