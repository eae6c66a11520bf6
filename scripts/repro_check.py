"""Make the same runs twice, on 1 and on 2 threads, and compare the bytes of their tables: make repro-check."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = {
    "score, MLP": "score.py dataset=digits scale=smoke logger=none device=cpu epochs=10",
    "score, convolutions": "score.py dataset=digits scale=smoke logger=none device=cpu model=conv epochs=3",
    "gradients": "train.py dataset=digits scale=smoke logger=none device=cpu tracking=gradients",
    "ensemble": "train.py dataset=digits scale=smoke logger=none device=cpu estimator=subsampling estimator.models=40",
}
THREADS = (1, 1, 2, 2)


def main() -> int:
    tables_of = {name: [tables(command, threads) for threads in THREADS] for name, command in RUNS.items()}
    print(f"{'':22} {'1 thread, twice':18} {'2 threads, twice':18} 1 and 2 threads")
    for name, (one, one_again, two, two_again) in tables_of.items():
        verdicts = ["the same" if same else "DIFFERENT" for same in (one == one_again, two == two_again, one == two)]
        print(f"{name:22} {verdicts[0]:18} {verdicts[1]:18} {verdicts[2].lower()}")
    # between numbers of threads PyTorch promises nothing: sums are split in another way
    return int(any(a != b or c != d for a, b, c, d in tables_of.values()))


def tables(command: str, threads: int) -> dict[str, bytes]:
    """Make a run in a store of its own and return its tables."""
    script, *overrides = command.split()
    with tempfile.TemporaryDirectory() as store:
        environment = {**os.environ, "TURNOVER_OUTPUTS": store, "OMP_NUM_THREADS": str(threads)}
        path = Path(__file__).with_name(script)
        done = subprocess.run([sys.executable, str(path), *overrides], env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return {file.name: file.read_bytes() for file in sorted(Path(store).rglob("*.parquet"))}


if __name__ == "__main__":
    sys.exit(main())
