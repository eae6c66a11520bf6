"""From outputs/ to outputs/reference: what of a whole reproduction is small enough to be committed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from turnover.common.files import checkout, outputs_root, replacing
from turnover.errors import RunFailed
from turnover.experiments.plots.figure import NAMES
from turnover.experiments.reproduction import record
from turnover.experiments.reproduction.steps import Scale

KEPT = ("laptop", "paper")  # at smoke scale numbers and verdicts mean nothing


def keep(scale: Scale, folder: Path | None = None) -> Path:
    """Copy the results of a scale to its folder in outputs/reference; files there that have no new version stay.

    Args:
        folder: another place.

    Raises:
        RunFailed: a result is missing; then nothing is copied.
    """
    folder = folder or checkout() / "outputs" / "reference" / scale
    pairs = list(_pairs(scale))
    if missing := [str(source) for source, _ in pairs if not source.is_file()]:
        raise RunFailed(f"{', '.join(missing)}: not there; make reproduce SCALE={scale} makes it")
    for source, name in pairs:
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    return folder


def _pairs(scale: Scale) -> Iterator[tuple[Path, str]]:
    """What is kept, and its name there."""
    root = outputs_root()
    for name in NAMES:
        for kind in ("png", "csv", "json"):  # the json last: it vouches for the others
            yield root / "figures" / scale / f"{name}.{kind}", f"{name}.{kind}"
    validated = root / "validate" / scale
    yield validated / "validate.json", "validate/validate.json"
    for path in sorted(validated.glob("*")):
        if path.suffix in (".png", ".csv", ".parquet"):
            yield path, f"validate/{path.name}"
    yield root / "bench" / "bench.csv", "bench.csv"
    yield root / "bench" / "machine.json", "bench_machine.json"
    yield record.path(scale), "reproduction.json"
