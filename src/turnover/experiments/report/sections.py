"""What the sections of the page show of results: figures with their settings, leakage, validation, cost, provenance."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pandas as pd

from turnover.common.text import clock, short
from turnover.config.datasets import DATASETS
from turnover.experiments.plots.differences import all_if_none
from turnover.experiments.report.explorer import figure
from turnover.experiments.results import Result, Validation, Values
from turnover.experiments.validation.table import dataset_names
from turnover.experiments.validation.truth import title


@dataclass(frozen=True)
class Table:
    """Cells of text."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    explained: Mapping[str, str] = field(default_factory=dict)  # headings that need it


@dataclass(frozen=True)
class Shown:
    """A picture of one result and all that must be known of it."""

    result: Result
    picture: str  # WebP in base64
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    runs: Table


def shown(result: Result) -> Shown:
    """Return a result with its picture, settings and runs."""
    settings = tuple((name, all_if_none(value)) for name, value in result.values["settings"].items())
    return Shown(result, figure(result.picture), tuple(_facts(result)), settings, _runs(result))


def grouped(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return results of all scales by their figure, without the leakage study, which has a section of its own."""
    by_figure: dict[str, list[Result]] = {}
    for result in results:
        if result.base != "leakage":
            by_figure.setdefault(result.base, []).append(result)
    return by_figure


def _facts(result: Result) -> list[tuple[str, str]]:
    values = result.values
    facts = [("Scale", values["scale"])]
    if values["overrides"]:
        facts.append(("Not as the experiment says", ", ".join(values["overrides"])))
    if result.all_runs:
        score_runs = len(values["score_runs"])
        facts += [
            ("Seeds", ", ".join(map(str, values["seeds"]))),
            ("Runs", f"{len(values['runs'])}" + (f" and {score_runs} score runs" if score_runs else "")),
            ("Training time, summed over runs", clock(_seconds(result.all_runs))),
            ("Devices", devices(result.all_runs.values())),
        ]
    facts += [
        ("Not as in the paper" if values["scale"] == "paper" else "Reduced", "; ".join(values["reduced"]) or "nothing"),
        ("Drawn", f"{values['made']} at commit {values['commit'][:10]}"),
        ("Source", "made here" if result.local else "committed reference"),
    ]
    return facts


def devices(runs: Iterable[dict[str, Any]]) -> str:
    """Return the devices that runs were trained on, and how many runs on each."""
    counts = Counter(map(_device, runs))
    return "; ".join(f"{name} ({count} run{'s' * (count > 1)})" for name, count in counts.items())


def _seconds(runs: Values) -> float:
    return sum(run["seconds"] or 0 for run in runs.values())


def _memory(runs: Iterable[Values]) -> str:
    peak = max((run.get("peak_memory") or {}).get("host") or 0 for run in runs)
    return f"{peak / 1e9:.1f} GB" if peak else "–"


def _device(run: dict[str, Any]) -> str:
    machine = run["machine"]
    name = run["device"] if run["device"] != "cpu" else machine["processor"]
    return f"{name}, {machine['cores']} cores"


def _runs(result: Result) -> Table:
    rows = []
    for name, run in result.all_runs.items():
        varying = {key: value for key, value in run.items() if key == "seed" or "." in key}
        differs = ", ".join(f"{key} {all_if_none(value)}" for key, value in varying.items())
        commit, torch = (run["commit"] or "–")[:10], (run["versions"] or {}).get("torch", "–")
        rows.append((name, differs, clock(run["seconds"] or 0), _memory([run]), _device(run), commit, torch))
    return Table("Runs", ("run", "differs in", "time", "memory", "device", "commit", "torch"), rows)


def leaking(results: Sequence[Result]) -> Table:
    """Return the leakage verdicts of the runs behind every figure whose runs were judged."""
    rows = []
    for result in results:
        judged = [run["leakage"] for run in result.all_runs.values() if run.get("leakage")]
        if judged:
            counts = Counter(leakage["verdict"] for leakage in judged)
            own, flipped = (
                f"{sum(leakage[kind] for leakage in judged) / len(judged):.3f}" if kind in judged[0] else "–"  # of text
                for kind in ("own_accuracy", "flipped_accuracy")
            )
            words = ", ".join(f"{'no sign' if name == 'none' else name} ({count})" for name, count in counts.items())
            rows.append((result.title, str(len(judged)), own, flipped, words))
    headings = ("figure", "runs judged", "own accuracy", "flipped accuracy", "verdicts (runs)")
    return Table("Leakage verdicts of the runs behind each figure", headings, rows)


def variants(result: Result) -> Table:
    """Return the leakage study: accuracies of sub-networks, one change at a time."""
    studied = result.values["summary"]["variants"]
    names = [name for name in studied[0] if name not in ("variant", "verdicts", "seconds")]
    rows = [
        (variant["variant"], *(short(variant.get(name)) for name in names), ", ".join(variant["verdicts"]))
        for variant in studied
    ]
    headings = [name.replace("_", " ") for name in ("variant", *names, "verdict")]
    return Table("One change from the base at a time: accuracies, shares of 1", headings, rows)


def agreement(validation: Validation) -> Table:
    """Return cost, agreement with the ground truth and wrong labels found of every estimator, best agreement first."""
    table = validation.table
    table = table[table["spearman"].notna() & (table["augmentation"] == "none")]
    datasets = dataset_names(table)
    rows: list[tuple[float, tuple[str, ...]]] = []
    groups: Any = table.groupby(["estimator", "networks"], sort=False)
    for (name, networks), group in groups:
        single = group[group["seeds"] == 1].set_index("dataset")
        mean = group[group["seeds"] > 1].set_index("dataset")
        cells = []
        for measure in ("spearman", "precision"):
            for dataset in datasets:
                steps = [short(float(side[measure][dataset])) for side in (single, mean) if dataset in side.index]
                cells.append(" → ".join(steps) or "–")
        heading = title(str(name)) + (f", {networks} networks" if networks > 1 else "")
        first = single.loc[next(dataset for dataset in datasets if dataset in single.index)]
        rows.append((-float(first["spearman"]), (heading, f"{first['cost']:.1f}", *cells)))
    rows.sort(key=itemgetter(0))
    titles, cost = [DATASETS[dataset].title for dataset in datasets], f"cost, {DATASETS[datasets[0]].title}"
    measured = [f"{words}, {title}" for words in ("Spearman", "wrong labels found") for title in titles]
    caption = (
        "One run → mean score of all seeds. Spearman correlation with the ground truth; share of the wrong labels found"
    )
    explained = {cost: validation.values["columns"]["cost"]}
    return Table(caption, ("estimator", cost, *measured), [cells for _, cells in rows], explained)


def speed(table: pd.DataFrame) -> Table:
    """Return the benchmark: median times, side by side."""
    columns = ("comparison", "contestant", "ms", "ratio")
    rows = [tuple(short(row[column]) for column in columns) for row in table.to_dict("records")]
    return Table("Median times", ("comparison", "contestant", "ms", "ratio to the first"), rows)


def times(results: Sequence[Result]) -> Table:
    """Return the training time and memory of every figure."""
    rows = []
    for result in results:
        own, before = result.values["runs"], _seconds(result.values["score_runs"])
        if own:
            time, scores = clock(_seconds(own)), clock(before) if before else "–"
            runs = result.all_runs.values()
            rows.append((result.title, str(len(own)), time, scores, _memory(runs), devices(runs)))
    headings = ("figure", "runs", "time of its runs, summed", "of its score runs", "most memory of a run", "devices")
    return Table("Training time and memory of every figure", headings, rows)


def provenance(results: Sequence[Result]) -> Table:
    """Return commit, versions, seeds and machine behind every figure."""
    rows = []
    for result in results:
        values = result.values
        commits = sorted({(run["commit"] or "")[:10] for run in result.all_runs.values()} - {""})
        cells = (
            result.title,
            values["made"],
            values["commit"][:10],
            ", ".join(commits) or "–",
            ", ".join(map(str, values["seeds"])) or "–",
            ", ".join(f"{name} {version}" for name, version in values["versions"].items()),
            f"{values['machine']['processor']}, {values['machine']['cores']} cores",
            "here" if result.local else "reference",
        )
        rows.append(cells)
    headings = ("figure", "drawn", "commit", "commits of its runs", "seeds", "versions", "drawn on", "from")
    return Table("Where every figure comes from", headings, rows)
