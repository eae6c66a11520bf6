"""Fetch a dataset if it is missing: `python scripts/data.py --dataset mnist`.

Exit code 0: its files are there and have the published checksums; 2: no such dataset; 3: no source has it.
"""

import argparse
import sys

from turnover.runs.cli import end_with


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch a dataset if it is missing, byte for byte as published.")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="a dataset of conf/dataset, for example mnist")
    name = parser.parse_args().dataset

    from turnover.config.datasets import DATASETS, TEXTS
    from turnover.data.fetch import data_root, ensure
    from turnover.data.sources import COLLECTIONS

    if name not in {**DATASETS, **TEXTS}:
        print(f"--dataset {name}: there is no such dataset; allowed: {', '.join([*DATASETS, *TEXTS])}", file=sys.stderr)
        return 2
    if name not in COLLECTIONS:
        print(f"{DATASETS[name].title} comes with scikit-learn; there is nothing to fetch.")
        return 0
    files = ensure(name)
    folder = data_root() / COLLECTIONS[name].folder
    print(f"{COLLECTIONS[name].title}: {len(files)} files with the published checksums in {folder}")
    return 0


if __name__ == "__main__":
    end_with(main)
