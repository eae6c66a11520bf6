"""Measure the audit where wrong labels are known: against logistic regression, and the share of them it estimates.

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
    parser.add_argument("--features", default="pixels", help="as of scripts/audit.py")
    parser.add_argument(
        "--size", default="null", help="of images, for other features; null: as their network takes them"
    )
    given = parser.parse_args()
    if given.features == "pixels" and given.size != "null":
        parser.error("--size is of other features: pixels are taken as they are")

    import pandas as pd

    from turnover.common.files import outputs_root
    from turnover.experiments.validation.audits import add, at_most, done, measure, name_of, options, summary, write

    path, config = outputs_root() / "audit_draws.csv", options(f"features={given.features}", f"size={given.size}")
    for draw, wrong, examples, dataset in product(given.draws, given.wrong, given.examples, given.datasets):
        if (dataset, name_of(config), at_most(dataset, examples), wrong, draw) not in done(path):
            row = measure(config, dataset, examples, wrong, draw)
            add(path, row)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    write(path.with_name("audit.csv"), summary(pd.read_csv(path)))
    print(path.with_name("audit.csv"))


if __name__ == "__main__":
    enter(main)
