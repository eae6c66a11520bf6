"""What the sections of the page show of results: figures with their settings, leakage, validation, cost, provenance."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from turnover.common.text import clock, short
from turnover.config.datasets import DATASETS
from turnover.experiments.report.explorer import figure
from turnover.experiments.results import Result, Validation
from turnover.experiments.validation.estimates import TITLES

STUDIES = {"leakage": "leakage"}  # results that stand in a section of their own


@dataclass(frozen=True)
class Table:
    """Cells of text; a heading each, and an explanation where it needs one."""

    caption: str
    headings: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shown:
    """A picture of one result and all that must be known of it."""

    result: Result
    picture: str  # WebP in base64
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    runs: Table


def shown(result: Result) -> Shown:
    """A result with its picture, settings and runs."""
    values = result.values
    settings = tuple((name, _said(value)) for name, value in values["settings"].items())
    return Shown(result, figure(result.picture), tuple(_facts(result)), settings, _runs(values))


def grouped(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results of all scales by their figure, those with a section of their own left out."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.base not in STUDIES:
            found.setdefault(result.base, []).append(result)
    return found


def _facts(result: Result) -> list[tuple[str, str]]:
    values = result.values
    runs = {**values["runs"], **values["score_runs"]}
    facts = [("Scale", values["scale"])]
    if values["overrides"]:
        facts.append(("Not as the experiment says", ", ".join(values["overrides"])))
    if runs:
        seconds = sum(each["seconds"] or 0 for each in runs.values())
        facts += [
            ("Seeds", ", ".join(map(str, values["seeds"]))),
            (
                "Runs",
                f"{len(values['runs'])}"
                + (f" and {len(values['score_runs'])} score runs" * bool(values["score_runs"])),
            ),
            ("Training time, summed over runs", clock(seconds)),
            ("Devices", devices(runs.values())),
        ]
    facts += [
        ("Not as in the paper" if values["scale"] == "paper" else "Reduced", "; ".join(values["reduced"]) or "nothing"),
        ("Drawn", f"{values['made']} at commit {values['commit'][:10]}"),
        ("Source", "made here" if result.local else "committed reference"),
    ]
    return facts


def devices(runs: Iterable[dict[str, Any]]) -> str:
    """On what runs were trained, and how many of them on each."""
    found = Counter(_device(each) for each in runs)
    return "; ".join(f"{name} ({count} run{'s' * (count > 1)})" for name, count in found.items())


def _device(run: dict[str, Any]) -> str:
    machine = run["machine"]
    name = run["device"] if run["device"] != "cpu" else machine["processor"]
    return f"{name}, {machine['cores']} cores"


def _runs(values: dict[str, Any]) -> Table:
    rows = []
    for kind in ("runs", "score_runs"):
        for name, each in values[kind].items():
            memory = (each.get("peak_memory") or {}).get("host")
            varying = {k: v for k, v in each.items() if k == "seed" or "." in k}
            rows.append(
                (
                    name,
                    ", ".join(f"{key} {_said(value)}" for key, value in varying.items()),
                    clock(each["seconds"] or 0),
                    f"{memory / 1e9:.1f} GB" if memory else "–",
                    _device(each),
                    (each["commit"] or "–")[:10],
                    (each["versions"] or {}).get("torch", "–"),
                )
            )
    heads = ("run", "differs in", "time", "memory", "device", "commit", "torch")
    return Table("Runs", tuple((head, "") for head in heads), tuple(rows))


def leaking(results: Sequence[Result]) -> Table:
    """What is known of mask leakage of the runs behind every figure whose runs were judged."""
    rows = []
    for result in results:
        every = {**result.values["runs"], **result.values["score_runs"]}.values()
        judged = [each["leakage"] for each in every if each.get("leakage")]
        if judged:
            verdicts = Counter(each["verdict"] for each in judged)
            mean = {k: sum(each[f"{k}_accuracy"] for each in judged) / len(judged) for k in ("own", "flipped")}
            told = ", ".join(f"{'no sign' if name == 'none' else name} ({count})" for name, count in verdicts.items())
            name = f"{result.name}, {result.scale} scale"
            rows.append((name, str(len(judged)), f"{mean['own']:.3f}", f"{mean['flipped']:.3f}", told))
    heads = (
        ("figure", ""),
        ("runs judged", ""),
        ("own accuracy", ""),
        ("flipped accuracy", ""),
        ("verdicts (runs)", ""),
    )
    return Table("Leakage verdicts of the runs behind each figure", heads, tuple(rows))


def variants(result: Result) -> Table:
    """The leakage study: what sub-networks know, one change at a time."""
    found = result.values["summary"]["variants"]
    names = [name for name in found[0] if name not in ("variant", "verdicts", "seconds")]
    rows = tuple(
        (each["variant"], *(short(each.get(name)) for name in names), ", ".join(each["verdicts"])) for each in found
    )
    heads = [(name.replace("_", " "), "") for name in ("variant", *names, "verdict")]
    return Table("One change from the base at a time: accuracies, shares of 1", tuple(heads), rows)


def agreement(found: Validation) -> Table:
    """Every estimator: cost, agreement with the ground truth, wrong labels found; the most agreeing one comes first."""
    table = found.table
    known = table[table["spearman"].notna() & (table["augmentation"] == "none")]
    datasets = [name for name in DATASETS if name in set(known["dataset"])]
    rows: list[tuple[float, tuple[str, ...]]] = []
    groups: Any = known.groupby(["estimator", "networks"], sort=False)
    for (name, networks), group in groups:
        one = group[group["seeds"] == 1].set_index("dataset")
        mean = group[group["seeds"] > 1].set_index("dataset")
        cells = []
        for measure in ("spearman", "precision"):
            for dataset in datasets:
                steps = [short(float(side[measure][dataset])) for side in (one, mean) if dataset in side.index]
                cells.append(" → ".join(steps) or "–")
        title = TITLES[str(name)] + (f", {networks} networks" if networks > 1 else "")
        first = one.loc[next(dataset for dataset in datasets if dataset in one.index)]
        rows.append((-float(first["spearman"]), (title, f"{first['cost']:.1f}", *cells)))
    rows.sort(key=lambda each: each[0])
    heads = [("estimator", ""), (f"cost, {DATASETS[datasets[0]].title}", found.values["columns"]["cost"])]
    for words in ("Spearman", "wrong labels found"):
        heads += [(f"{words}, {DATASETS[dataset].title}", "") for dataset in datasets]
    caption = (
        "One run → mean score of all seeds. Spearman correlation with the ground truth; share of the wrong labels found"
    )
    return Table(caption, tuple(heads), tuple(cells for _, cells in rows))


def speed(table: pd.DataFrame) -> Table:
    """The benchmark: median times, side by side."""
    rows = tuple(
        (str(each["comparison"]), str(each["contestant"]), short(each["ms"]), short(each["ratio"]))
        for each in table.to_dict("records")
    )
    return Table("Median times", (("comparison", ""), ("contestant", ""), ("ms", ""), ("ratio to the first", "")), rows)


def times(results: Sequence[Result]) -> Table:
    """What every figure took to train."""
    rows = []
    for result in results:
        values = result.values
        if values["runs"]:
            own, before = (
                sum(each["seconds"] or 0 for each in values[kind].values()) for kind in ("runs", "score_runs")
            )
            runs = {**values["runs"], **values["score_runs"]}
            peaks = [(each.get("peak_memory") or {}).get("host", 0) for each in runs.values()]
            memory = f"{max(peaks) / 1e9:.1f} GB" if max(peaks) else "–"
            name = f"{result.name}, {result.scale} scale"
            rows.append(
                (
                    name,
                    str(len(values["runs"])),
                    clock(own),
                    clock(before) if before else "–",
                    memory,
                    devices(runs.values()),
                )
            )
    heads = ("figure", "runs", "time of its runs, summed", "of its score runs", "most memory of a run", "devices")
    return Table("Training time and memory of every figure", tuple((head, "") for head in heads), tuple(rows))


def provenance(results: Sequence[Result]) -> Table:
    """Commit, versions, seeds and machine behind every figure."""
    rows = []
    for result in results:
        values = result.values
        commits = sorted(
            {(each["commit"] or "")[:10] for each in {**values["runs"], **values["score_runs"]}.values()} - {""}
        )
        versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
        rows.append(
            (
                f"{result.name}, {result.scale} scale",
                values["made"],
                values["commit"][:10],
                ", ".join(commits) or "–",
                ", ".join(map(str, values["seeds"])) or "–",
                versions,
                f"{values['machine']['processor']}, {values['machine']['cores']} cores",
                "here" if result.local else "reference",
            )
        )
    heads = ("figure", "drawn", "commit", "commits of its runs", "seeds", "versions", "drawn on", "from")
    return Table("Where every figure comes from", tuple((head, "") for head in heads), tuple(rows))


def _said(value: Any) -> str:
    return "all" if value is None else str(value)
