"""Housekeeping of the store of runs: list them, show one, verify checksums, remove those of no use.

python scripts/runs.py ls [PART_OF_A_NAME]
python scripts/runs.py show NAME
python scripts/runs.py verify             # exit code 3 if something is damaged
python scripts/runs.py gc --damaged --failed [--yes]
"""

import argparse
import sys

from turnover.common.text import clock, size, visible
from turnover.runs.cli import end_with
from turnover.runs.store.housekeeping import REMOVABLE, Found, remove, runs

VERIFIED = ("damaged", "unreadable", "old", "newer")  # what `verify` lists


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
    named = [run for run in runs(thorough=given.command in ("verify", "gc")) if given.name in run.folder.name]
    if given.command == "show":
        return show(named, given.name)
    if given.command == "gc":
        return clean([run for run in named if getattr(given, run.state, False)], really=given.yes)
    shown = named if given.command == "ls" else [run for run in named if run.state in VERIFIED]
    for run in shown:
        print(line(run))
    print(f"{len(named)} runs, {size(sum(run.size for run in named))}: {counts(named)}")
    return 3 if given.command == "verify" and any(run.state in ("damaged", "unreadable") for run in named) else 0


def line(run: Found) -> str:
    seconds = clock(run.manifest.get("seconds", 0.0))
    text = f"{run.folder.name:48} {run.state:12} {seconds:>8} {size(run.size):>9}  {run.title}"
    return visible(f"{text}  {run.about}".rstrip())


def counts(named: list[Found]) -> str:
    states = [run.state for run in named]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"


def show(named: list[Found], name: str) -> int:
    if len(named) != 1:
        print(f"{len(named)} runs have {name!r} in their name; name one of: python scripts/runs.py ls", file=sys.stderr)
        return 2
    print(line(named[0]))
    for file in ("config.yaml", "manifest.json"):
        path = named[0].folder / file
        print(f"\n{path}\n{visible(path.read_text('utf-8', 'replace')) if path.is_file() else 'is not there'}")
    return 0


def clean(selected: list[Found], *, really: bool) -> int:
    for run in selected:
        print(line(run))
        if really and not remove(run):
            print("  a process works on it, or did since: left alone")
    done = "removed" if really else "would be removed; add --yes"
    print(f"{len(selected)} runs, {size(sum(run.size for run in selected))} {done}")
    return 0


if __name__ == "__main__":
    end_with(main)
