"""Lay out the panels of a project on wandb: python scripts/wandb_workspace.py --entity ME. Prints its address.

Needs a network and `wandb login`; runs come with `logger.mode=online`, or later with `wandb sync`.
"""

import argparse

from turnover.runs.cli import end_with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="your name on wandb, or your team's")
    parser.add_argument("--project", default="turnover", help="logger.project of the runs (turnover)")
    parser.add_argument("--name", default="turnover", help="of the workspace (turnover)")
    given = parser.parse_args()

    from turnover.runs.dashboard.panels import save

    print(save(given.entity, given.project, given.name))


if __name__ == "__main__":
    end_with(main)
