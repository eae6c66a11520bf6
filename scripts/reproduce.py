"""Make every figure and study, the validation, the benchmark and the report; then keep them in outputs/reference.

The whole plan is printed first. Finished work is never done again: stopped, the same command goes on. Prints the path
of the record of times as its last line.
"""

import argparse

from turnover.runs.cli import enter


def main() -> None:
    from turnover.experiments.reproduction.work import reproduce

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("smoke", "laptop", "paper"), default="laptop", help="default: laptop")
    parser.add_argument("--launcher", default="basic", help="of the runs: basic (default), joblib, slurm, or another")
    parser.add_argument("--only", default="", help="these steps in this order, by their names in the plan: fig10,bench")
    given = parser.parse_args()
    print(reproduce(given.scale, given.launcher, list(filter(None, given.only.split(",")))), flush=True)


if __name__ == "__main__":
    enter(main)
