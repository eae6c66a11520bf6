"""Write the generated parts of the README anew: figures, claims and scores, from the committed results.

python scripts/readme.py [--check]        # --check writes nothing; exit code 3 if the README is not up to date
"""

import argparse
import sys

from turnover.common.files import checkout, write_text
from turnover.experiments.documentation.pages import filled_readme


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether it would change")
    check = parser.parse_args().check
    path = checkout() / "README.md"
    before = path.read_text(encoding="utf-8")
    after = filled_readme(before)
    if after == before:
        print(f"{path} is up to date")
        return 0
    if check:
        print(f"{path} is not what the committed results say: make readme", file=sys.stderr)
        return 3
    write_text(path, after)
    print(f"{path} is written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
