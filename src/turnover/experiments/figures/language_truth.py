"""Counterfactual memorization of sentences by copies, and which scores rank as it does."""

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.estimators import BlocksEstimator, OneRunEstimator, SubsamplingEstimator
from turnover.config.options import TurnoverConfig
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.differences import recorded
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.agreement import spearman
from turnover.stats.measures import Statistic

_OWN, _DROPOUT, _SHARED = "turn-over", "turn-over, dropout inside", "turn-over, dropout, 16 shared masks"
_PAIR, _PAIRS, _BLOCKS = "one pair of halves", "two pairs of halves", "12 narrow blocks"
_LEARNING, _LENGTH = "early loss - final loss", "length (short first)"
_SCORES = {"learning": _LEARNING, "cumulative_loss": "cumulative loss", "final_loss": "minus final loss"}
_COPIES, _SORTED = (
    "copies alone",
    "copies, then cumulative loss",
)  # controls: what ids tell every score of repeated texts
_NO_SCORES = (_PAIR, _PAIRS, _BLOCKS, _COPIES, _SORTED)  # of one run
_COSTS = {_PAIRS: "cost 2", _BLOCKS: "cost 2"}  # in trainings; of all others 1, of turn-over about 1.3
_GROUPS = {"once": "trained on once", "all": "all sentences"}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return memorization by copies (a), agreement of scores (b), what masks tell (c): panel, name, of, seed, value."""
    truths = {source.config.seed: read_scores(source.folder) for source in sources if _is_truth(source.config)}
    tables = [table[table["kind"] != "canary"] for table in truths.values()]
    truth = pd.concat([table["score"] for table in tables], axis=1)  # [sentences, seeds]
    known = tables[0][["copies", "tokens"]]
    rows = [row for seed, table in truths.items() for row in _by_copies(seed, table)]
    rows += [
        {"panel": "ceiling", "name": "truth", "of": group, "seed": 0, "value": _ceiling(truth[chosen])}
        for group, chosen in _chosen(known)
    ]
    mean, once = truth.mean(axis=1), (known["copies"] == 1).to_numpy()
    ranks: dict[int, dict[str, Statistic]] = {}
    for source in sources:
        if not _is_truth(source.config):
            rows += _agreement(source, mean, known)
            scores = _scores(source.config, read_scores(source.folder).loc[mean.index], known)
            mine = {name: spearman(each.to_numpy(), mean.to_numpy()) for name, each in scores.items()}
            ranks.setdefault(source.config.seed, {}).update(mine)
    leads = [_leads(ranks[seed], once) for seed in sorted(ranks)]
    return Plotted(
        pd.DataFrame(rows), statistics={name: [of[name] for of in leads] for name in leads[0]}, examples=len(truth)
    )


def _leads(ranks: dict[str, Statistic], once: np.ndarray) -> dict[str, Statistic]:
    """Return by how much a score of one seed ranks better than another, as statistics of the sentences.

    Args:
        ranks: by score, its correlation with the truth.
        once: bool, is the sentence trained on once?
    """
    of_one_run = [rank for name, rank in ranks.items() if name not in _NO_SCORES]
    inside, blocks = ranks[_DROPOUT], ranks[_BLOCKS]
    return {
        "gain_of_dropout": lambda drawn: inside(drawn) - ranks[_OWN](drawn),
        "over_length": lambda drawn: inside(drawn * once) - ranks[_LENGTH](drawn * once),
        "over_pair": lambda drawn: inside(drawn * once) - ranks[_PAIR](drawn * once),
        "over_best": lambda drawn: blocks(drawn) - max(rank(drawn) for rank in of_one_run),
        "over_halves": lambda drawn: blocks(drawn) - ranks[_PAIRS](drawn),
        "over_copies": lambda drawn: blocks(drawn) - ranks[_SORTED](drawn),
    }


def _is_truth(config: RunConfig) -> bool:
    return isinstance(config.estimator, SubsamplingEstimator)


def _by_copies(seed: int, table: pd.DataFrame) -> Iterator[dict[str, object]]:
    for row in table.groupby(["kind", "copies"])["score"].mean().reset_index().to_dict("records"):
        yield {"panel": "a", "name": row["kind"], "of": str(row["copies"]), "seed": seed, "value": row["score"]}


def _chosen(known: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    return [("once", (known["copies"] == 1).to_numpy()), ("all", np.ones(len(known), dtype=bool))]


def _ceiling(truth: pd.DataFrame) -> float:
    """Return the correlation of a perfect score with the mean of several truths, by the mean correlation r of two.

    √(k r / (1 + (k - 1) r)) with k truths (Spearman, 1910; Brown, 1910; attenuation: Spearman, 1904).
    """
    once, k = np.ones(len(truth)), truth.shape[1]
    columns = [truth.iloc[:, number].to_numpy() for number in range(k)]
    pairs = [spearman(columns[i], columns[j])(once) for i in range(k) for j in range(i)]
    r = max(float(np.mean(pairs)), 0.0)
    return float(np.sqrt(k * r / (1 + (k - 1) * r)))


def _agreement(source: Source, truth: pd.Series, known: pd.DataFrame) -> Iterator[dict[str, object]]:
    config, table = source.config, read_scores(source.folder).loc[truth.index]
    for name, scores in _scores(config, table, known).items():
        for group, chosen in _chosen(known):
            if scores[chosen].nunique() == 1:
                continue
            value = spearman(scores.to_numpy()[chosen], truth.to_numpy()[chosen])(np.ones(int(chosen.sum())))
            yield {"panel": "b", "name": name, "of": group, "seed": config.seed, "value": value}
    if isinstance(config.turnover, TurnoverConfig):
        leak = recorded([config])[source.folder.name]["leakage"]["difference"]
        gain = table["score"].mean()
        for of, value in (("first token", leak), ("all tokens", gain)):
            yield {"panel": "c", "name": _masks(config.turnover), "of": of, "seed": config.seed, "value": value}


def _scores(config: RunConfig, table: pd.DataFrame, known: pd.DataFrame) -> dict[str, pd.Series]:
    if isinstance(config.turnover, TurnoverConfig):
        return {_masks(config.turnover): table["score"]}
    if isinstance(config.estimator, OneRunEstimator):
        scores = {words: table[name] for name, words in _SCORES.items()}
        of_copies = known["copies"] + table["cumulative_loss"].rank(pct=True) / 2  # the loss decides among equal copies
        controls = {_LENGTH: -known["tokens"], _COPIES: known["copies"], _SORTED: of_copies}
        return scores | {_SCORES["final_loss"]: -table["final_loss"]} | controls
    assert isinstance(config.estimator, BlocksEstimator)
    return {{2: _PAIR, 4: _PAIRS}.get(config.estimator.blocks, _BLOCKS): table["score"]}


def _masks(turnover: TurnoverConfig) -> str:
    return _OWN if not turnover.dropout else _DROPOUT if turnover.groups is None else _SHARED


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    grown = numbers[(numbers["panel"] == "a") & (numbers["name"] == "duplicate")]
    memorized = (
        grown.assign(of=grown["of"].astype(int)).pivot(index="seed", columns="of", values="value").sort_index(axis=1)
    )
    ranks = numbers[numbers["panel"] == "b"].set_index(["of", "name", "seed"])["value"]
    once, every = ranks["once"].unstack("name"), ranks["all"].unstack("name")
    of_one_run = [name for name in every if name not in _NO_SCORES]
    masks = numbers[numbers["panel"] == "c"].pivot(index="seed", columns=["of", "name"], values="value")
    leaks, gains = masks["first token"], masks["all tokens"]
    shares = leaks / gains
    return {
        "lowest_step": memorized.diff(axis=1).min(axis=1).tolist(),
        "most_over_one": (memorized.iloc[:, -1] / memorized.iloc[:, 0]).tolist(),
        "first_token": leaks[_OWN].tolist(),
        "with_dropout": (shares[_DROPOUT] / shares[_OWN]).tolist(),
        "absolute": (leaks[_DROPOUT] / leaks[_OWN]).tolist(),
        "gain_of_dropout": (every[_DROPOUT] - every[_OWN]).tolist(),
        "over_length": (once[_DROPOUT] - once[_LENGTH]).tolist(),
        "over_pair": (once[_DROPOUT] - once[_PAIR]).tolist(),
        "over_best": (every[_BLOCKS] - every[of_one_run].max(axis=1)).tolist(),
        "over_halves": (every[_BLOCKS] - every[_PAIRS]).tolist(),
        "over_copies": (every[_BLOCKS] - every[_SORTED]).tolist(),
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw memorization by copies, the agreement of every score, and what masks tell of the first token."""
    picture, (copies, agreement, leak) = plt.subplots(
        1, 3, figsize=(11, 4.3), layout="constrained", width_ratios=(1, 1.5, 0.9)
    )
    panel(copies, "a", "counterfactual memorization")
    _copies(copies, numbers[numbers["panel"] == "a"])
    panel(agreement, "b", "which scores rank as it does")
    _ranks(agreement, numbers)
    panel(leak, "c", "what the mask tells")
    leaks = numbers[numbers["panel"] == "c"]
    names = [name for name in (_OWN, _DROPOUT, _SHARED) if (leaks["name"] == name).any()]
    for place, name in enumerate(names):
        for of, colour, shift in (("first token", "own", -0.1), ("all tokens", "flipped", 0.1)):
            values = leaks["value"][(leaks["name"] == name) & (leaks["of"] == of)]
            leak.plot([place + shift] * len(values), values, "o", color=COLOURS[colour], markersize=4, fillstyle="none")
            leak.plot(place + shift, values.mean(), "_", color=COLOURS[colour], markersize=14, label=of)
    leak.axhline(0, color=COLOURS["muted"], linewidth=1)
    leak.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names], fontsize=7)
    leak.set_xlim(-0.5, len(names) - 0.5)
    leak.set_ylabel("nats a token cheaper under\nthe own mask than another's")
    handles = {line.get_label(): line for line in leak.lines if not str(line.get_label()).startswith("_")}
    leak.legend(handles.values(), handles.keys(), fontsize=7)
    return picture


def _copies(axes: Axes, table: pd.DataFrame) -> None:
    table = table.assign(of=table["of"].astype(int))
    counts = sorted(table["of"].unique())
    place = table["of"].map({count: number for number, count in enumerate(counts)})
    for kind, words, colour in (("duplicate", "sentences", "easy"), ("canary", "canaries", "difficult")):
        mine = table["name"] == kind
        band(axes, table[mine].groupby(place[mine])["value"], COLOURS[colour], marker="o", markersize=3, label=words)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("copies in the training text")
    axes.set_ylabel("loss without it minus with it,\nnats a token")
    axes.legend(fontsize=7, title=BAND, title_fontsize=7)


def _ranks(axes: Axes, numbers: pd.DataFrame) -> None:
    ranks = numbers[numbers["panel"] == "b"]
    order = ranks[ranks["of"] == "all"].groupby("name")["value"].mean().sort_values().index.tolist()
    ceilings = numbers[numbers["panel"] == "ceiling"].set_index("of")["value"]
    for group, colour, shift in (("all", "easy", 0.14), ("once", "difficult", -0.14)):
        for place, name in enumerate(order):
            values = ranks["value"][(ranks["of"] == group) & (ranks["name"] == name)]
            axes.plot([values.min(), values.max()], [place + shift] * 2, color=COLOURS[colour], linewidth=1)
            label = _GROUPS[group] if place == 0 else None
            axes.plot(values.mean(), place + shift, "o", color=COLOURS[colour], markersize=4, label=label)
        axes.axvline(ceilings[group], color=COLOURS[colour], linewidth=0.8, linestyle=":")
    axes.axvline(0, color=COLOURS["muted"], linewidth=1)
    costs = [f"{name} ({_COSTS[name]})" if name in _COSTS else name for name in order]
    axes.set_yticks(range(len(order)), costs, fontsize=7)
    axes.set_xlabel("Spearman correlation with the truth (dotted: a perfect score's)")
    axes.legend(fontsize=7, title=BAND, title_fontsize=7, loc="upper left")
