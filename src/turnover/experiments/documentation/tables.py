"""Tables of the documentation that are made from committed results: claims, estimators, figures."""

from collections.abc import Collection
from typing import Any

import pandas as pd

from turnover.common.text import effect, short
from turnover.config.datasets import DATASETS
from turnover.experiments.plots.figure import claim_of, remarks, words
from turnover.experiments.report.claims import claimed, corrected
from turnover.experiments.results import Values, committed, paper_number, read, reference, sort_key


def of_figure(name: str, scale: str) -> dict[str, Values]:
    """Return the results of a figure by the names of their files: with other values there is one for each."""
    return {stem: result for stem, result in committed(scale).items() if stem == name or stem.startswith(f"{name}-")}


def verdicts(result: Values) -> str:
    """Return the claims of a result with their verdicts, in one line."""
    words = []
    for id, claim in result["claims"].items():
        trivial = claim["verdict"] == "reproduced" and claim_of(id).by_construction
        words.append(f"{id} {claim['verdict']}{' by construction' * bool(trivial)}")
    return ", ".join(words)


def by_figure(name: str) -> str:
    """Return every measure of every claim of a figure, laptop and paper scale side by side."""
    of_figure_here = of_figure(name, "laptop").values()
    claims = {id: claim for result in of_figure_here for id, claim in result["claims"].items()}
    at_paper_scale = _claims("paper")
    rows = [["claim and measure", "claimed", "laptop scale", "paper scale"]]
    for id, claim in claims.items():
        verdict, paper = "not run", at_paper_scale.get(id, {"measures": []})
        if id in at_paper_scale:
            # the text may end with the data sets that it is about alone
            only = paper["text"].removeprefix(claim["text"]).strip()
            verdict = f"**{paper['verdict']}** {only}".strip()
        decided = {claim["verdict"], paper.get("verdict")}
        text = "; ".join([f"**{id}**: {claim['text']}", *remarks(id, decided)])
        rows.append([text, "", f"**{claim['verdict']}**", verdict])
        effects = {measure["name"]: effect(measure["effect"], measure["interval"]) for measure in paper["measures"]}
        for measure in claim["measures"]:
            laptop = effect(measure["effect"], measure["interval"])
            rows.append([words(id, measure["name"]), claimed(measure), laptop, effects.get(measure["name"], "")])
    return f"{markdown_table(rows)}\n\n{holm(claims)}"


def holm(ids: Collection[str] | None = None) -> str:
    """Return a line on how many measures decide these committed claims, or all, and what Holm's correction leaves."""
    scales = {scale: _claims(scale).items() for scale in ("laptop", "paper")}
    asked = {scale: [(id, one) for id, one in claims if ids is None or id in ids] for scale, claims in scales.items()}
    parts = [f"at {scale} scale {corrected(claims)}" for scale, claims in asked.items() if claims]
    return f"{'All claims' if ids is None else 'These claims'} together: {'; '.join(parts)}." if parts else ""


def _claims(scale: str) -> dict[str, Values]:
    return {id: claim for result in committed(scale).values() for id, claim in result["claims"].items()}


def in_order() -> list[str]:
    """Return the committed figures by their numbers, then the studies."""
    return sorted(committed("laptop"), key=sort_key)


def markdown_table(rows: list[list[Any]]) -> str:
    """Return a table, its first row the heading."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def table(argument: str) -> str:
    """Return a committed csv, or the summary of a figure's json.

    Args:
        argument: its path below outputs/reference (and of a summary the part), then the columns to show, separated by
            semicolons; none: all of them. column=text shows the rows alone whose text there begins so.
    """
    location, _, columns = argument.partition(" ")
    path, _, key = location.partition(":")
    scale, _, name = path.partition("/")
    file = reference(scale) / name
    if file.suffix == ".json":
        summary = read(file)["summary"]
        values = summary[key] if key else summary
        rows = values if isinstance(values, list) else [{"of": name} | row for name, row in values.items()]
        frame = pd.DataFrame(rows)
    else:
        frame = pd.read_csv(file)
    names = list(frame)
    if columns:
        asked = [name.strip().partition("=") for name in columns.split(";")]
        names = [name for name, _, _ in asked]
        for name, _, start in asked:
            frame = frame[frame[name].astype(str).str.startswith(start)] if start else frame
    heading = [str(name).replace("_", " ") for name in names]
    return markdown_table([heading, *([_cell(value) for value in row] for row in frame[names].to_numpy(object))])


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
    for (panel, curve), points in plotted.dropna(subset="epoch").groupby(["panel", "curve"], sort=False):
        mean = points.groupby("epoch")["value"].mean()
        shown = mean.iloc[sorted({round(share * (len(mean) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)})]
        rows.append([str(panel), str(curve), ", ".join(f"{epoch:g}: {short(value)}" for epoch, value in shown.items())])
    return markdown_table(rows)


VALIDATED = ("mnist", "fashion_mnist", "cifar10")

# those of the README: every kind of score, the best of its kind; c_score's is called inconsistency
_SHOWN = (
    "blocks blocks_memorization memorization_loss membership memorization inconsistency "
    "aum cumulative_loss el2n grand turnover final_loss turnover_tuned "
    "confident_learning second_split forgetting vog"
).split()


def recommended() -> str:
    """Return one run, and the mean of all, by their agreement with memorization on MNIST; the best one first."""
    titles = [DATASETS[name].title for name in VALIDATED]
    rows = [["score", "cost", *titles, "wrong labels found"]]
    table = _main()
    of_mnist = table[table["estimator"].isin(_SHOWN) & (table["dataset"] == "mnist") & (table["seeds"] == 1)]
    place = of_mnist.sort_values("networks").groupby("estimator").cumcount()
    for row in of_mnist.assign(place=place).sort_values("spearman", ascending=False).to_dict("records"):
        mine = _of_size(table, row["estimator"], row["place"])
        single = [of.iloc[0] for of in mine]
        steps = [" → ".join(map(_short, of["spearman"])) for of in mine]
        detected = " / ".join(_short(of["precision"]) for of in single)
        rows.append([_name(row["estimator"], single), f"{single[0]['cost']:.1f}", *steps, detected])
    return markdown_table(rows)


# rows of the README: what ranks and finds wrong labels, what has a size, and which of its ensembles, smallest first
_BRIEF = (
    ("blocks", "blocks_memorization", -1),
    ("blocks", "blocks_memorization", 0),
    ("cumulative_loss", "cumulative_loss", 0),
    ("turnover", "turnover_probability", 0),
    ("memorization", "memorization", -1),
)


def brief() -> str:
    """Return one run of the scores that the README names: cost, agreement in rank and size, wrong labels found."""
    table = _main()
    rows = [["estimator", "cost", "rank", "size", "wrong labels found"]]
    for ranks, sizes, place in _BRIEF:
        of_ranks, of_sizes = ([of.iloc[0] for of in _of_size(table, score, place)] for score in (ranks, sizes))
        numbers = [[of["spearman"] for of in of_ranks], [of["pearson"] for of in of_sizes]]
        numbers.append([of["precision"] for of in of_ranks])
        name = _name(ranks, of_ranks).replace("memorization", "subsampling")
        rows.append([name, f"{of_ranks[0]['cost']:.1f}", *(" / ".join(map(_short, values)) for values in numbers)])
    return markdown_table(rows)


def _of_size(table: pd.DataFrame, estimator: str, place: int) -> list[pd.DataFrame]:
    """Return the rows of an estimator on each data set, one run first, of its ensembles that at this place by size."""
    of_all = [table[(table["estimator"] == estimator) & (table["dataset"] == name)] for name in VALIDATED]
    return [of[of["networks"] == sorted(set(of["networks"]))[place]].sort_values("seeds") for of in of_all]


def _name(estimator: str, rows: list[pd.Series]) -> str:
    counts = [str(row["networks"]) for row in rows]
    networks = " / ".join(counts if len(set(counts)) > 1 else counts[:1])
    return f"`{estimator}`" + (f", {networks} networks" if networks != "1" else "")


def truth() -> str:
    """Return how reliable the ground truth is, and the highest correlation that its noise and its ties allow."""
    by_dataset = read(reference("laptop") / "validate" / "validate.json")["truth"]
    rows = [["data set", "networks", "reliability", "highest Spearman correlation of a score"]]
    for dataset, about in by_dataset.items():
        limits = [short(about[kind]["spearman/probability/all"]) for kind in ("reliability", "ceiling")]
        rows.append([DATASETS[dataset].title, str(about["networks"]), *limits])
    return markdown_table(rows)


def of_estimator(name: str) -> str:
    """Return rows of the committed validation for one estimator, 10 % wrong labels, with 95 % intervals."""
    table = _main()
    mine = table[table["estimator"] == name].sort_values(["networks", "seeds"])
    if mine.empty:
        return "Not part of the validation."
    ensemble = mine["networks"].max() > 1
    rows = [["data set", *(["networks"] if ensemble else []), "runs averaged", "Spearman with memorization"]]
    rows[0] += ["Pearson", "Pearson, losses", "wrong labels: AUROC", "found", "cost"]
    for dataset in VALIDATED:
        for _, row in mine[mine["dataset"] == dataset].iterrows():
            counts = [str(row[name]) for name in (["networks", "seeds"] if ensemble else ["seeds"])]
            measured = []
            for name, least in {"spearman": -1, "pearson": -1, "pearson_loss": -1, "auroc": 0, "precision": 0}.items():
                low, high = max(row[f"{name}_low"], least), min(row[f"{name}_high"], 1)  # Student's has no bounds
                measured.append(f"{row[name]:.2f} [{low:.2f}, {high:.2f}]")
            rows.append([DATASETS[dataset].title, *counts, *measured, f"{row['cost']:.1f}"])
    return markdown_table(rows)


def _main() -> pd.DataFrame:
    """Return the rows with 10 % wrong labels of any other class and no augmentation."""
    table = pd.read_csv(reference("laptop") / "validate" / "table.csv")
    return table[(table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")]


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def index(pictures: str, *, paper_only: bool = False) -> str:
    """Return a row for each committed figure and study, or the paper's own; `pictures`: the folder of the links."""
    rows = [["figure", "command", "laptop scale, 2 cores", "claims at laptop scale", "claims at paper scale"]]
    shown: set[str] = set()
    for name in in_order():
        if paper_only and not paper_number(name):
            continue
        result = committed("laptop")[name]
        shown |= result["claims"].keys()
        links = [
            f"[{verdicts(paper) or 'picture'}]({pictures}/paper/{stem.replace('=', '%3D')}.png)"
            + (f" ({', '.join(paper['overrides'])})" if paper["overrides"] else "")
            for stem, paper in of_figure(name, "paper").items()
        ]
        number = paper_number(name)
        title = f"{number}: {result['title']}" if number else result["title"]
        link = f"[{title}]({pictures}/laptop/{name}.png)"
        rows.append([link, f"`make {name}`", time(name), verdicts(result) or "none", " ".join(links)])
    return f"{markdown_table(rows)}\n\n{holm(shown if paper_only else None)}"


def time(name: str) -> str:
    """Return how long its runs take on 2 cores, score runs apart."""
    if not committed("laptop")[name]["runs"]:
        return "seconds"
    timed = pd.read_csv(reference("laptop") / "two_cores.csv", index_col="figure")  # before all was made anew on a GPU
    if name not in timed.index:
        return "not timed"
    own, scores = timed.loc[name, ["minutes", "score_minutes"]]
    return f"{own:.0f} min" + (f" + {scores:.0f} min of score runs" if scores else "")
