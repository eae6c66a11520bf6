"""Whether committed results agree with the configs, with themselves and with their own tables; nothing is trained.

Equal must be names of runs, seeds, claims with their thresholds, verdicts and checksums. Effects, intervals and
summaries that are computed again may differ by 1e-9, as sums may be split in another way.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from turnover.config.compose import varied
from turnover.experiments.figures import fig2
from turnover.experiments.figures import interface as figures
from turnover.experiments.plots.figure import FigureConfig, configured, runs_of
from turnover.experiments.results import intact, read
from turnover.runs.store import checksums
from turnover.runs.store.run import Run
from turnover.stats.claims import Measured, decide, measure_seeds

NEAR = 1e-9  # how far apart, absolutely or in parts of it, numbers may be that are computed again from the same ones

_OF_EXAMPLES = ("2a", "2b", "7", "8", "L6", "L7", "LB")  # claims whose intervals have the variance over examples too


@dataclass(frozen=True)
class Verdict:
    """What became of one file."""

    file: str
    compared: str  # what was held against what
    wrong: list[str]


def figure(path: Path) -> Verdict:
    """Check a figure or study, from its json."""
    table = path.with_suffix(".csv")
    if missing := [file.name for file in (table, path.with_suffix(".png")) if not file.is_file()]:
        return Verdict(path.name, "nothing", [f"{name}: not there" for name in missing])
    result, config = read(path), configured(path.stem.partition("-")[0])
    differences = [*_configured(result, config), *_checksums(path, result), *_claims(result, config)]
    try:
        values = list(_numbers(config, pd.read_csv(table), result))
    except (LookupError, ValueError) as error:  # a row or a column that must be there is not
        values = [(f"{table.name}: no table of such a figure ({type(error).__name__}: {error})", False)]
    differences += [text for text, same in values if not same]
    numbers = {"runs": len(result["runs"]), "claims": len(result["claims"]), "values from the table": len(values)}
    compared = ", ".join(f"{count} {what}" for what, count in numbers.items() if count)
    return Verdict(path.name, compared or "its config", differences)


def _configured(result: dict[str, Any], config: FigureConfig) -> Iterator[str]:
    """Check that the runs are those that the configs of today name."""
    runs = runs_of(config.experiments, result["scale"], result["overrides"])
    names = [Run(run).name for run in runs]
    parents = {Run(parent).name for run in runs for parent in run.parents}
    expected = {
        "title": (result["title"], config.title),
        "runs": (result["inputs"]["runs"], names),
        "what is recorded of runs": (list(result["runs"]), list(dict.fromkeys(names))),
        "score runs": (set(result["score_runs"]), parents),
        "seeds": (result["seeds"], sorted({run.seed for run in runs})),
        "claims": (list(result["claims"]), list(config.claims)),
    }
    yield from (f"{what}: not those that conf/ says" for what, (there, here) in expected.items() if there != here)
    distinct = dict(zip(names, runs, strict=True))
    for name, fields in zip(distinct, varied(list(distinct.values())), strict=True):
        written = result["runs"].get(name, {})
        for field, value in fields.items():  # the precision is what `auto` was on the machine
            if field != "precision" and field in written and not near(written[field], value):
                yield f"{name}, {field}: {written[field]!r}, conf/ says {value!r}"
    seconds = sum(run["seconds"] or 0.0 for run in result["runs"].values())
    if not math.isclose(result["training_seconds"], seconds, abs_tol=0.06):
        yield f"training_seconds: {result['training_seconds']}, its runs say {seconds:.1f}"


def _checksums(path: Path, result: dict[str, Any]) -> Iterator[str]:
    """Check that the json, and the files that it names as far as they are committed, are those that were written."""
    if not intact(result):
        yield f"{path.name}: not as it was written"
    for kind, digest in result.get("files", {}).items():
        beside = path.with_suffix(f".{kind}")
        if beside.is_file() and checksums.sha256(beside) != digest:
            yield f"{beside.name}: not the file that was drawn"


def _claims(result: dict[str, Any], config: FigureConfig) -> Iterator[str]:
    """Check that thresholds are those of the config, and that verdicts follow from the values of the seeds.

    A claim that is not reproduced by one measure, or not tested, may lack others that its runs could not give.
    """
    one = result["settings"].get("dataset.name")
    datasets = {run.get("dataset.name", one) for run in result["runs"].values()}
    for id, claim in result["claims"].items():
        if id not in config.claims:
            continue  # `_configured` reports it
        claimed = config.claims[id]
        if not claim["text"].startswith(claimed.text):  # it may go on to say that it is about some data sets alone
            yield f"{id}: another claim than that of conf/"
        measures = []
        for written in claim["measures"]:
            name = written["name"]
            if name not in claimed.measures:
                yield f"{id}, {name}: no measure of conf/"
                continue
            variance = _variance(written) if id in _OF_EXAMPLES else 0.0
            counted = {"items": written.get("items"), "least_of": written.get("least_of", 1)}
            sides = claimed.measures[name].sides
            measured = measure_seeds(name, written["by_seed"], **sides, variance=variance, **counted)
            measures.append(measured)
            yield from (f"{id}, {name}: {text}" for text in _differing(written, measured))
        if claim["verdict"] in ("reproduced", "inconclusive"):
            there = {measured.name for measured in measures}
            for name, of in figures.about(datasets, claimed).measures.items():
                if name not in there and (of.above, of.below) != (None, None):
                    yield f"{id}, {name}: not there, and the claim is decided"
        tested = result["scale"] not in claimed.untested
        if decide(id, claim["text"], measures, tested=tested).verdict != claim["verdict"]:
            yield f"{id}: verdict {claim['verdict']!r} does not follow from its measures"


def _variance(written: dict[str, Any]) -> float:
    """Return the variance over examples that is in an interval besides that of the seeds; at least 0."""
    n = len(written["by_seed"])
    if n < 2:
        return 0.0
    half = (written["interval"][1] - written["interval"][0]) / 2
    return max(0.0, float((half / student_t.ppf(0.975, n - 1)) ** 2 - np.var(written["by_seed"], ddof=1) / n))


def _differing(written: dict[str, Any], measured: Measured) -> Iterator[str]:
    if not near(written["effect"], measured.effect):
        yield f"effect {written['effect']}, the mean of its seeds is {measured.effect}"
    if not near(written["interval"], measured.interval):
        yield f"interval {written['interval']}, its seeds say {measured.interval}"
    there = {"refutes": True, **written}  # older ones do not say it
    for name in ("side", "threshold", "condition", "refutes"):
        if there[name] != getattr(measured, name):
            yield f"{name} {there[name]!r}, conf/ says {getattr(measured, name)!r}"
    if written["verdict"] != measured.verdict:
        yield f"verdict {written['verdict']!r}, its interval and threshold say {measured.verdict!r}"


def _numbers(config: FigureConfig, table: pd.DataFrame, result: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield what follows from the plotted numbers, and whether the json has it so."""
    values, (items, least_of) = figures.measures(config, table), figures.counts(config, table)
    limits = fig2.bounds(table) if config.name == "fig2" else {}
    for id, claim in result["claims"].items():
        for measure in claim["measures"]:
            name, by_seed = measure["name"], measure["by_seed"]
            plotted = figures.of_claim(values, id, name)
            if plotted is not None:
                yield f"{id}, {name}: by seed {by_seed}, the table says {plotted}", near(by_seed, plotted)
                counted, there = items.get(name), measure.get("items")
                yield f"{id}, {name}: a share of {there} items, the table says {counted}", there == counted
                counted, there = least_of.get(name, 1), measure.get("least_of", 1)
                yield f"{id}, {name}: the least of {there} numbers, the table says {counted}", there == counted
            if name in limits:
                inside = all(low <= value <= high for (low, high), value in zip(limits[name], by_seed, strict=True))
                yield f"{id}, {name}: by seed {by_seed}, the table allows {limits[name]}", inside
    if hasattr(figures.module(config), "summary"):  # else nothing of it follows from the table
        for key, value in figures.summary(config, table, result["summary"]).items():
            yield f"summary, {key}: the table says {value}", near(result["summary"].get(key), value)


def near(there: Any, here: Any) -> bool:
    """Return True if two values are the same but for the last digits of numbers in them."""
    if isinstance(there, dict) and isinstance(here, dict):
        return there.keys() == here.keys() and all(near(there[key], here[key]) for key in there)
    if isinstance(there, list | tuple) and isinstance(here, list | tuple):
        return len(there) == len(here) and all(map(near, there, here))
    if isinstance(there, float) and isinstance(here, float):
        return math.isclose(there, here, rel_tol=NEAR, abs_tol=NEAR) or (math.isnan(there) and math.isnan(here))
    return bool(there == here)
