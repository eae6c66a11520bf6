"""Tables of the documentation that are made from committed results: claims, estimators, figures."""

from typing import Any

import pandas as pd

from turnover.common.text import effect, short
from turnover.config.datasets import FACTS
from turnover.experiments.plots.figure import words
from turnover.experiments.report.claims import claimed
from turnover.experiments.results import Values, committed, read, reference, sort_key


def of_figure(name: str, scale: str) -> dict[str, Values]:
    """Return the results of a figure by the names of their files: with other values there is one for each."""
    return {stem: found for stem, found in committed(scale).items() if stem == name or stem.startswith(f"{name}-")}


def verdicts(result: Values) -> str:
    """The claims of a result with their verdicts, in one line."""
    return ", ".join(f"{id} {claim['verdict']}" for id, claim in result["claims"].items())


def by_figure(name: str) -> str:
    """Every measure of every claim of a figure, laptop and paper scale side by side."""
    return _table({id: claim for found in of_figure(name, "laptop").values() for id, claim in found["claims"].items()})


def every_claim() -> str:
    """Every claim of every figure and study with the measures that decide it."""
    known = {id: claim for name in in_order() for id, claim in committed("laptop")[name]["claims"].items()}
    return _table(known, deciding=True)


def in_order() -> list[str]:
    """Return the committed figures by their numbers, then the studies."""
    return sorted(committed("laptop"), key=sort_key)


def _table(claims: dict[str, Values], *, deciding: bool = False) -> str:
    at_paper = {id: claim for found in committed("paper").values() for id, claim in found["claims"].items()}
    rows = [["claim, and what decides it" if deciding else "claim and measure", "claimed", "laptop scale"]]
    rows[0] += ["paper scale"]
    for id, claim in claims.items():
        other = at_paper.get(id)
        rows.append([f"**{id}**: {claim['text']}", "", f"**{claim['verdict']}**", _paper_verdict(claim, other)])
        measured = {each["name"]: each for each in other["measures"]} if other else {}
        for each in claim["measures"]:
            if deciding and each["threshold"] is None:
                continue
            there = measured.get(each["name"])
            rows.append([words(id, each["name"]), claimed(each), _number(each), _number(there) if there else ""])
    return markdown_table(rows)


def _number(measured: Values) -> str:
    return effect(measured["effect"], measured["interval"])


def _paper_verdict(claim: Values, other: Values | None) -> str:
    if other is None:
        return "not run"
    only = other["text"].removeprefix(claim["text"]).strip()  # a part of the figure's runs, which its text names
    return f"**{other['verdict']}**" + (f" {only}" if only else "")


def markdown_table(rows: list[list[Any]]) -> str:
    """A table, its first row the heading."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def table(argument: str) -> str:
    """Return a committed csv, or the summary of a figure's json.

    Args:
        argument: its path below outputs/reference (and of a summary the part), then the columns to show, separated by
            semicolons; none: all of them.
    """
    place, _, columns = argument.partition(" ")
    path, _, part = place.partition(":")
    file = reference(path.partition("/")[0]) / path.partition("/")[2]
    frame = _summary(read(file)["summary"], part) if file.suffix == ".json" else pd.read_csv(file)
    chosen = [name.strip() for name in columns.split(";")] if columns else list(frame)
    heading = [str(name).replace("_", " ") for name in chosen]
    return markdown_table([heading, *([_cell(value) for value in row] for row in frame[chosen].to_numpy(object))])


def _summary(values: Values, part: str) -> pd.DataFrame:
    found = values[part] if part else values
    if isinstance(found, list):
        return pd.DataFrame(found)
    return pd.DataFrame.from_dict(found, orient="index").reset_index(names="of")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else short(value)


def curves(scale: str, name: str) -> str:
    """Return the mean over seeds of every plotted curve in five of its epochs; empty if no curves are plotted."""
    plotted = pd.read_csv(reference(scale) / f"{name}.csv")
    if not {"panel", "curve", "seed", "epoch", "value"} <= set(plotted):
        return ""
    rows = [["panel", "curve", "epoch: mean over seeds"]]
    for (panel, curve), found in plotted.dropna(subset="epoch").groupby(["panel", "curve"], sort=False):
        mean = found.groupby("epoch")["value"].mean()
        shown = mean.iloc[sorted({round(share * (len(mean) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)})]
        rows.append([str(panel), str(curve), ", ".join(f"{epoch:g}: {short(value)}" for epoch, value in shown.items())])
    return markdown_table(rows)


DATASETS = ("mnist", "fashion_mnist", "cifar10")

# those of the README: every kind of score, the best of its kind; c_score's is called inconsistency
_SHOWN = (
    "memorization_loss membership memorization inconsistency aum cumulative_loss el2n grand turnover final_loss "
    "turnover_tuned confident_learning second_split forgetting vog"
).split()


def recommended() -> str:
    """One run, and the mean of ten, by their agreement with memorization on MNIST; the best one first."""
    titles = [FACTS[name].title for name in DATASETS]
    rows = [["score", "cost", *titles, "wrong labels found"]]
    table = _main()
    table = table[table["estimator"].isin(_SHOWN)]
    of_mnist = table[(table["dataset"] == "mnist") & (table["seeds"] == 1)]
    of_mnist = of_mnist.sort_values("spearman", ascending=False)
    for name, networks in zip(of_mnist["estimator"], of_mnist["networks"], strict=True):
        rows.append(_row(table, name, networks))
    return markdown_table(rows)


def brief() -> str:
    """One run of the scores that the README names: cost, agreement with memorization, wrong labels found."""
    rows = [["score", "cost", "agreement with memorization", "wrong labels found"]]
    chosen = [("cumulative_loss", 1), ("aum", 1), ("el2n", 1), ("turnover", 1), ("memorization", 80)]
    for name, networks in chosen:
        first, cost, *agreement, found = _row(_main(), name, networks)
        title = f"`subsampling`, {networks} networks" if name == "memorization" else first
        rows.append([title, cost, " / ".join(each.partition(" →")[0] for each in agreement), found])
    return markdown_table(rows)


MEASURED = ("spearman", "pearson", "pearson_loss", "auroc", "precision")


def truth() -> str:
    """Return how reliable the ground truth is, and the highest correlation that its noise and its ties allow."""
    found = read(reference("laptop") / "validate" / "validate.json")["truth"]
    rows = [["data set", "networks", "reliability", "highest Spearman correlation of a score"]]
    for dataset, about in found.items():
        limits = [short(about[kind]["spearman/probability/all"]) for kind in ("reliability", "ceiling")]
        rows.append([FACTS[dataset].title, str(about["networks"]), *limits])
    return markdown_table(rows)


def of_estimator(name: str) -> str:
    """Rows of the committed validation for one estimator, 10 % wrong labels, with 95 % intervals."""
    table = _main()
    mine = table[table["estimator"] == name].sort_values(["networks", "seeds"])
    if mine.empty:
        return "Not part of the validation."
    ensemble = mine["networks"].max() > 1
    rows = [["data set", *(["networks"] if ensemble else []), "runs averaged", "Spearman with memorization"]]
    rows[0] += ["Pearson", "Pearson, losses", "wrong labels: AUROC", "found", "cost"]
    for dataset in DATASETS:
        for _, row in mine[mine["dataset"] == dataset].iterrows():
            counts = [str(row[name]) for name in (["networks", "seeds"] if ensemble else ["seeds"])]
            measured = [_interval(row, measure) for measure in MEASURED]
            rows.append([FACTS[dataset].title, *counts, *measured, f"{row['cost']:.1f}"])
    return markdown_table(rows)


def _main() -> pd.DataFrame:
    """Of all conditions: 10 % wrong labels of any other class, no augmentation."""
    table = pd.read_csv(reference("laptop") / "validate" / "table.csv")
    chosen = (table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")
    return table[chosen]


def _row(table: pd.DataFrame, estimator: str, networks: int) -> list[str]:
    mine = table[(table["estimator"] == estimator) & (table["networks"] == networks)]
    one = mine[mine["seeds"] == 1].set_index("dataset")
    cells = []
    for dataset in DATASETS:
        agreement = mine[mine["dataset"] == dataset].sort_values("seeds")["spearman"]
        cells.append(" → ".join(_short(each) for each in agreement))
    name = f"`{estimator}`" + (f", {networks} networks" if networks > 1 else "")
    found = " / ".join(_short(float(one["precision"][dataset])) for dataset in DATASETS)
    return [name, f"{one['cost']['mnist']:.1f}", *cells, found]


def _interval(row: pd.Series, measure: str) -> str:
    value, low, high = (float(row[name]) for name in (measure, f"{measure}_low", f"{measure}_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def index(pictures: str, *, paper_only: bool = False) -> str:
    """A row for each figure and study that is committed, or the paper's own; `pictures`: the folder of the links."""
    rows = [["figure", "command", "laptop scale, 2 cores", "claims at laptop scale", "claims at paper scale"]]
    for name in in_order():
        if paper_only and not name.removeprefix("fig").isdigit():
            continue
        result = committed("laptop")[name]
        paper = [
            f"[{verdicts(there) or 'picture'}]({pictures}/paper/{stem.replace('=', '%3D')}.png)"
            + (f" ({', '.join(there['overrides'])})" if there["overrides"] else "")
            for stem, there in of_figure(name, "paper").items()
        ]
        link = f"[{title(name, result)}]({pictures}/laptop/{name}.png)"
        rows.append([link, f"`make {name}`", time(name), verdicts(result) or "none", " ".join(paper)])
    return markdown_table(rows)


def title(name: str, result: Values) -> str:
    """Its title, with the paper's number if it has one."""
    number = name.removeprefix("fig")
    return f"{number}: {result['title']}" if number.isdigit() else str(result["title"])


def time(name: str) -> str:
    """How long its runs take on 2 cores, score runs told apart."""
    if not committed("laptop")[name]["runs"]:
        return "seconds"
    timed = pd.read_csv(reference("laptop") / "two_cores.csv", index_col="figure")  # before all was made anew on a GPU
    if name not in timed.index:
        return "not timed"
    own, scores = timed.loc[name, ["minutes", "score_minutes"]]
    return f"{own:.0f} min" + (f" + {scores:.0f} min of score runs" if scores else "")
