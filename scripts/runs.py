"""Look after the store of runs: list them, show one, compare files with their checksums, remove what is of no use.

python scripts/runs.py ls [PART_OF_A_NAME]
python scripts/runs.py show NAME
python scripts/runs.py verify             # exit code 3 if something is damaged
python scripts/runs.py gc --damaged --failed [--yes]
"""

import argparse
import sys

from turnover.common.text import clock, size
from turnover.runs.cli import leave
from turnover.runs.store.housekeeping import REMOVABLE, Found, remove, runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("ls", "list runs"), ("show", "show one run"), ("verify", "compare files with checksums")):
        commands.add_parser(name, help=words).add_argument("name", nargs="?", default="", help="part of a run's name")
    cleaning = commands.add_parser(
        "gc", help="remove runs of the named kinds; says what it would do, does it with --yes"
    )
    cleaning.add_argument("name", nargs="?", default="", help="part of a run's name")
    for state, words in REMOVABLE.items():
        cleaning.add_argument(f"--{state}", action="store_true", help=words)
    cleaning.add_argument("--yes", action="store_true", help="remove them")
    given = parser.parse_args()
    found = [each for each in runs(thorough=given.command in ("verify", "gc")) if given.name in each.folder.name]
    if given.command == "show":
        return show(found, given.name)
    if given.command == "gc":
        return clean([each for each in found if getattr(given, each.state, False)], really=given.yes)
    shown = (
        found if given.command == "ls" else [each for each in found if each.state in ("damaged", "unreadable", "old")]
    )
    for each in shown:
        print(line(each))
    print(f"{len(found)} runs, {size(sum(each.size for each in found))}: {counts(found)}")
    return 3 if given.command == "verify" and any(each.state in ("damaged", "unreadable") for each in found) else 0


def line(each: Found) -> str:
    seconds = clock(each.manifest.get("seconds", 0.0))
    told = f"{each.folder.name:48} {each.state:12} {seconds:>8} {size(each.size):>9}  {each.title}"
    return f"{told}  {each.about}".rstrip()


def counts(found: list[Found]) -> str:
    states = [each.state for each in found]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"


def show(found: list[Found], name: str) -> int:
    if len(found) != 1:
        print(f"{len(found)} runs have {name!r} in their name; name one of: python scripts/runs.py ls", file=sys.stderr)
        return 2
    print(line(found[0]))
    for file in ("config.yaml", "manifest.json"):
        path = found[0].folder / file
        print(f"\n{path}\n{path.read_text(encoding='utf-8', errors='replace') if path.exists() else 'is not there'}")
    return 0


def clean(chosen: list[Found], *, really: bool) -> int:
    for each in chosen:
        print(line(each))
        if really and not remove(each):
            print("  a process works on it, or did since: left alone")
    done = "removed" if really else "would be removed; add --yes"
    print(f"{len(chosen)} runs, {size(sum(each.size for each in chosen))} {done}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:
        leave(error)
