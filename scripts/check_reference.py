"""Hold the committed results in outputs/reference against conf/, against themselves and against their own tables.

A minute on 2 cores. The smallest result is made again: the turn-over runs of detection_cost, on 3,000 images of
MNIST, whose AUROC must be the committed one within .005. Nothing else is trained. Of every figure: runs, seeds and
claims are those of conf/, verdicts follow from the values of the seeds, these from the table beside them where it has
all that is needed, and checksums are right. Of the validation: what the examples of its data sets say again.
Exit code 1: something differs, and is named.
"""

import argparse
import sys
from itertools import chain

from turnover.runs.cli import enter


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from turnover.common.files import checkout
    from turnover.experiments.reproduction.check import again, every

    root, failed = checkout() / "outputs" / "reference", 0
    for verdict in chain([again(root)], every(root)):
        print(f"{'DIFFERS' if verdict.wrong else 'ok':8}{verdict.file}: {verdict.compared}", flush=True)
        for text in verdict.wrong:
            print(f"        {text}")
        failed += bool(verdict.wrong)
    print(f"{failed} of the committed results differ" if failed else "all committed results agree")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    enter(main)
