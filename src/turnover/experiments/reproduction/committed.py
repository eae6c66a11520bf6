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

from turnover.config.compose import sweep
from turnover.experiments.figures import claims as figures
from turnover.experiments.figures import fig2
from turnover.experiments.plots.figure import FigureConfig, configured
from turnover.experiments.results import read
from turnover.runs.store import checksums
from turnover.runs.store.run import Run
from turnover.stats.claims import Measured, decide, measure_seeds

NEAR = 1e-9  # how far apart, absolutely or in parts of it, numbers may be that are computed again from the same ones

_OF_EXAMPLES = ("fig2", "fig7", "fig8")  # whose intervals have the variance over examples in them too


@dataclass(frozen=True)
class Verdict:
    """What became of one file."""

    file: str
    compared: str  # what was held against what
    wrong: list[str]


def figure(path: Path) -> Verdict:
    """A figure or study, from its json."""
    beside = [path.with_suffix(f".{kind}") for kind in ("csv", "png")]
    if missing := [each.name for each in beside if not each.is_file()]:
        return Verdict(path.name, "nothing", [f"{name}: not there" for name in missing])
    result, config = read(path), configured(path.stem.partition("-")[0])
    wrong = [*_configured(result, config), *_checksums(path, result), *_claims(result, config)]
    try:
        found = list(_numbers(config, pd.read_csv(beside[0]), result))
    except (LookupError, ValueError) as error:  # a row or a column that must be there is not
        found = [(f"{beside[0].name}: no table of such a figure ({type(error).__name__}: {error})", False)]
    wrong += [text for text, right in found if not right]
    numbers = {"runs": len(result["runs"]), "claims": len(result["claims"]), "values from the table": len(found)}
    compared = ", ".join(f"{count} {what}" for what, count in numbers.items() if count)
    return Verdict(path.name, compared or "its config", wrong)


def _configured(result: dict[str, Any], config: FigureConfig) -> Iterator[str]:
    """Whether the runs are those that the configs of today name."""
    overrides = [f"scale={result['scale']}", *result["overrides"]]
    runs = [run for name in config.experiments for run in sweep([f"+experiment={name}", *overrides])]
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
    seconds = sum(each["seconds"] or 0.0 for each in result["runs"].values())
    if not math.isclose(result["training_seconds"], seconds, abs_tol=0.06):
        yield f"training_seconds: {result['training_seconds']}, its runs say {seconds:.1f}"


def _checksums(path: Path, result: dict[str, Any]) -> Iterator[str]:
    """Whether the files that the json names are those that were written with it; those that are not committed aside."""
    for kind, digest in result.get("files", {}).items():
        beside = path.with_suffix(f".{kind}")
        if beside.is_file() and checksums.sha256(beside) != digest:
            yield f"{beside.name}: not the file that was drawn"


def _claims(result: dict[str, Any], config: FigureConfig) -> Iterator[str]:
    """Whether thresholds are those of the config, and verdicts follow from the values of the seeds."""
    for id, claim in result["claims"].items():
        if id not in config.claims:
            continue  # told already
        known = config.claims[id]
        if not claim["text"].startswith(known.text):  # it may go on to say that it is about a part
            yield f"{id}: another claim than that of conf/"
        measures = []
        for told in claim["measures"]:
            if told["name"] not in known.measures:
                yield f"{id}, {told['name']}: no measure of conf/"
                continue
            variance = _variance(told) if config.name in _OF_EXAMPLES else 0.0
            sides = known.measures[told["name"]].sides
            again = measure_seeds(told["name"], told["by_seed"], **sides, variance=variance)
            measures.append(again)
            yield from (f"{id}, {told['name']}: {text}" for text in _differing(told, again))
        if decide(id, claim["text"], measures).verdict != claim["verdict"]:
            yield f"{id}: verdict {claim['verdict']!r} does not follow from its measures"


def _variance(told: dict[str, Any]) -> float:
    """The variance over examples that an interval must have in it besides that of the seeds; at least 0."""
    n = len(told["by_seed"])
    if n < 2:
        return 0.0
    half = (told["interval"][1] - told["interval"][0]) / 2
    return max(0.0, float((half / student_t.ppf(0.975, n - 1)) ** 2 - np.var(told["by_seed"], ddof=1) / n))


def _differing(told: dict[str, Any], again: Measured) -> Iterator[str]:
    if not near(told["effect"], again.effect):
        yield f"effect {told['effect']}, the mean of its seeds is {again.effect}"
    if (told["interval"] is None) != (again.interval is None) or (
        again.interval and not all(map(near, told["interval"], again.interval))
    ):
        yield f"interval {told['interval']}, its seeds say {again.interval}"
    for name in ("side", "threshold", "condition"):
        if told[name] != getattr(again, name):
            yield f"{name} {told[name]!r}, conf/ says {getattr(again, name)!r}"
    if told["verdict"] != again.verdict:
        yield f"verdict {told['verdict']!r}, its interval and threshold say {again.verdict!r}"


def _numbers(config: FigureConfig, table: pd.DataFrame, result: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """What the plotted numbers tell, and whether it is what the json says."""
    values = figures.measures(config, table)
    limits = fig2.bounds(table) if config.name == "fig2" else {}
    for id, claim in result["claims"].items():
        for measure in claim["measures"]:
            name, by_seed = measure["name"], measure["by_seed"]
            again = figures.of_claim(values, id, name)
            if again is not None:
                yield f"{id}, {name}: by seed {by_seed}, the table says {again}", near(by_seed, again)
            if name in limits:
                inside = all(low <= value <= high for (low, high), value in zip(limits[name], by_seed, strict=True))
                yield f"{id}, {name}: by seed {by_seed}, the table allows {limits[name]}", inside
    for part, value in figures.summary(config, table, result["summary"]).items():
        yield f"summary, {part}: the table says {value}", near(result["summary"].get(part), value)


def near(there: Any, here: Any) -> bool:
    """Whether two values are the same but for the last digits of numbers in them."""
    if isinstance(there, dict) and isinstance(here, dict):
        return there.keys() == here.keys() and all(near(there[key], here[key]) for key in there)
    if isinstance(there, list | tuple) and isinstance(here, list | tuple):
        return len(there) == len(here) and all(map(near, there, here))
    if isinstance(there, float) and isinstance(here, float):
        return math.isclose(there, here, rel_tol=NEAR, abs_tol=NEAR)
    return bool(there == here)
