"""Figure 9 and the studies of early stopping and mask leakage: their numbers, against SciPy and by hand."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits import changed, digits
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr

from turnover.common.files import write_json
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.experiments.figures import early_stopping, language_truth, leakage
from turnover.experiments.figures.early_stopping import REST, SEEDS, TO_LAST, correlations, spearman
from turnover.experiments.figures.fig9 import kept, rank, settled
from turnover.experiments.figures.interface import claims
from turnover.experiments.figures.leakage import BASE, RULE, between_seeds, changes, choose
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import style
from turnover.runs.store.run import Run
from turnover.runs.store.tables import METRICS, Metric, scores_by_epoch, write_metrics, write_scores
from turnover.stats import agreement

# --- figure 9: when sub-networks settle ---

accuracies = st.lists(st.integers(0, 50), min_size=1, max_size=12)


def slow_settled(epochs: list[int], curve: list[float]) -> int:
    """The first epoch after which, itself included, no accuracy is further than 0.02 from the last."""
    for number, epoch in enumerate(epochs):
        if all(round(abs(value - curve[-1]), 6) <= 0.02 for value in curve[number:]):
            return epoch
    raise AssertionError("the last epoch is within 0.02 of itself")


@given(accuracies, st.integers(1, 3))
def test_settled_is_the_first_epoch_with_only_close_ones_after_it(hundredths: list[int], every: int) -> None:
    # in hundredths, so that differences of exactly 0.02 occur
    epochs = [every * number for number in range(len(hundredths))]
    curve = [value / 100 for value in hundredths]
    assert settled(pd.Series(curve, index=epochs)) == slow_settled(epochs, curve)


@pytest.mark.parametrize(
    ("epochs", "early"), [([1, 2, 5, 20], 5), ([1, 2, 4, 7, 20], 4), ([1, 2, 3], 2), ([1, 5], 1), ([5, 6], 5)]
)
def test_scores_of_the_latest_of_the_first_epochs_are_compared_with_later_ones(epochs: list[int], early: int) -> None:
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(epochs))), columns=epochs)
    assert rank(scores) == pytest.approx(spearmanr(scores[early], scores[epochs[-1]])[0])


@pytest.mark.parametrize("epochs", [[20], [7, 20]])
def test_scores_without_an_early_epoch_rank_like_nothing(epochs: list[int]) -> None:
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(epochs))), columns=epochs)
    assert np.isnan([rank(scores), kept({0: scores, 1: scores}, 0)]).all()


def test_kept_compares_with_the_last_scores_of_the_other_seeds() -> None:
    scores = {seed: random_scores(seed) for seed in range(3)}
    others = (scores[0][10] + scores[2][10]) / 2
    expected = spearmanr(scores[1][3], others)[0] - 0.9 * spearmanr(scores[1][10], others)[0]
    assert kept(scores, 1) == pytest.approx(expected)
    shuffled = scores | {0: scores[0].sample(frac=1, random_state=0)}
    assert kept(shuffled, 1) == pytest.approx(expected)


def test_a_single_seed_keeps_what_it_ranks_alike() -> None:
    scores = random_scores(0)
    assert kept({0: scores}, 0) == pytest.approx(rank(scores) - 0.9)


def test_scores_that_are_noise_keep_nothing() -> None:
    noise = np.random.default_rng(0).normal(size=(5, 5000, 2))
    scores = {seed: pd.DataFrame(table, columns=[5, 20]) for seed, table in enumerate(noise)}
    assert np.abs([kept(scores, seed) for seed in scores]).max() < 0.1


# --- early stopping: how alike scores rank ---


def random_scores(seed: int, epochs: tuple[int, ...] = (1, 3, 10), n: int = 40) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(n, 1))
    values = np.round(4 * (shared + generator.normal(size=(n, len(epochs))))) / 4  # some are equal, exactly
    return pd.DataFrame(values, columns=list(epochs), index=pd.Index(range(n), name="id"))


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=3, max_size=30))
def test_spearman_is_that_of_scipy_with_ties(pairs: list[tuple[int, int]]) -> None:
    table = pd.DataFrame(pairs, columns=["a", "b"])
    if table["a"].nunique() > 1 and table["b"].nunique() > 1:
        assert spearman(table).loc["a", "b"] == pytest.approx(spearmanr(table["a"], table["b"])[0], abs=1e-12)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5])
def test_correlations_are_those_of_scipy_and_each_stands_once(seeds: int) -> None:
    scores = {seed: random_scores(seed) for seed in range(seeds)}
    found = correlations(scores).set_index(["kind", "epoch", "seeds"])["spearman"]
    assert found.index.is_unique
    expected = {}
    for epoch in (1, 3, 10):
        for seed, table in scores.items():
            expected[TO_LAST, epoch, str(seed)] = spearmanr(table[epoch], table[10])[0]
        for a, b in combinations(range(seeds), 2):
            expected[SEEDS, epoch, f"{a}, {b}"] = spearmanr(scores[a][epoch], scores[b][epoch])[0]
        # the part without the last seed names the split
        for number in range(1, 2 ** (seeds - 1)) if seeds > 2 else ():
            parts = [[s for s in range(seeds) if (number >> s & 1) == side] for side in (1, 0)]
            parts.sort(key=lambda part: (len(part), part))
            means = [sum(scores[s][epoch] for s in part) / len(part) for part in parts]
            name = " | ".join(", ".join(map(str, part)) for part in parts)
            expected[REST, epoch, name] = spearmanr(*means)[0]
    assert set(found.index) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-12), key


def test_the_summary_names_the_first_epoch_that_is_enough_in_the_mean_over_seeds() -> None:
    rows = [(TO_LAST, 1, "0", 0.75), (TO_LAST, 1, "1", 0.87), (TO_LAST, 4, "0", 0.89), (TO_LAST, 4, "1", 0.9)]
    rows += [(TO_LAST, 7, "0", 0.9), (TO_LAST, 7, "1", 0.9), (TO_LAST, 9, "0", 1.0), (TO_LAST, 9, "1", 1.0)]
    rows += [(SEEDS, 1, "0, 1", 0.9), (SEEDS, 9, "0, 1", 0.5)]
    table = pd.DataFrame(rows, columns=["kind", "epoch", "seeds", "spearman"])
    assert early_stopping.enough(table) == {
        "epoch_0.8": 1,
        "epoch_0.9": 7,
        "last_epoch": 9,
        "between_seeds": 0.5,
        "means_of_seeds": None,
    }


# --- runs that were never trained ---


def invented(folder: Path, config: RunConfig, scores: pd.DataFrame, offset: float = 0.0) -> Source:
    """A finished run with these scores, and accuracies that tell split, metric and epoch (0 to 2) apart."""
    folder.mkdir()
    long = scores.reset_index().melt("id", var_name="epoch", value_name="score")
    long = long.assign(split="train", label=0, true_label=0, corrupted=False, own_loss=0.0, flipped_loss=0.0)
    write_scores(folder / "scores.parquet", long.assign(own_prediction=0, flipped_prediction=0))
    names = [name for name in METRICS if name.endswith("_accuracy")]
    rows = [
        Metric(epoch, split, "all", name, value(split, name, epoch) + offset)
        for epoch in range(3)
        for split in ("train", "test")
        for name in names
    ]
    write_metrics(folder / "metrics.parquet", rows)
    return Source(config, folder)


def value(split: str, metric: str, epoch: int) -> float:
    names = [name for name in METRICS if name.endswith("_accuracy")]
    return 0.1 * names.index(metric) + (0.05 if split == "test" else 0.0) + 0.01 * epoch


def test_scores_by_epoch_has_a_column_for_each(tmp_path: Path) -> None:
    scores = random_scores(0).rename(index=lambda id: id + 5)
    source = invented(tmp_path / "run", digits(), scores)
    found = scores_by_epoch(source.folder)
    assert found.index.tolist() == scores.index.tolist()
    assert found.columns.tolist() == [1, 3, 10]
    assert np.allclose(found, scores, atol=1e-6)


def test_early_stopping_tells_settings_apart_and_counts_a_run_once(tmp_path: Path) -> None:
    clean, noisy = digits(), digits("corruption=labels", "corruption.count=100")
    sources = [
        invented(tmp_path / f"{number}-{seed}", changed(config, seed=seed), random_scores(10 * number + seed))
        for number, config in enumerate((clean, noisy))
        for seed in range(3)
    ]
    plotted = early_stopping.tabulate([*sources, *(Source(each.config, each.folder) for each in sources[:3])])
    summary = early_stopping.summary(plotted.numbers, {})
    names = ["digits, MLP 64-64-10", "digits, MLP 64-64-10, 100 random labels"]
    assert list(plotted.numbers.columns) == ["setting", "kind", "epoch", "seeds", "spearman"]
    assert list(summary) == names
    for number, name in enumerate(names):
        found = plotted.numbers[plotted.numbers["setting"] == name]
        scores = {seed: random_scores(10 * number + seed) for seed in range(3)}
        assert len(found) == 3 * (3 + 3 + 3)
        assert found["spearman"].tolist() == pytest.approx(correlations(scores)["spearman"].tolist(), abs=1e-9)
        pairs = [spearmanr(scores[a][10], scores[b][10])[0] for a, b in combinations(range(3), 2)]
        assert summary[name]["between_seeds"] == pytest.approx(np.mean(pairs), abs=1e-4)


def test_two_runs_of_one_setting_and_seed_are_refused(tmp_path: Path) -> None:
    config = digits()
    other = config.model_copy(update={"batch_size": 7})
    sources = [invented(tmp_path / name, each, random_scores(0)) for name, each in (("a", config), ("b", other))]
    with pytest.raises(RefusedInput, match="a and b: two runs of digits, MLP 64-64-10, seed 0"):
        early_stopping.tabulate(sources)


# --- leakage: variants and the chosen one ---


def test_a_variant_is_named_by_the_field_that_differs() -> None:
    runs = [run for name in ("leakage", "leakage_50000") for run in sweep([f"+experiment={name}", "scale=laptop"])]
    order = np.random.default_rng(0).permutation(len(runs))
    found = dict(zip(order, changes([runs[place] for place in order]), strict=True))
    base, *others = [found[place] for place in range(0, 22, 2)]
    assert base == BASE
    assert others == [
        "masks in block5 only",
        "16 shared masks",
        "5 plain epochs first",
        "no biases",
        "p = 0.7",
        "256 shared masks",
        "p = 0.9",
        "2,000 examples",
        "dropout 0.5",
        "16 shared masks, dropout 0.5",
    ]
    assert [found[place] for place in range(1, 22, 2)] == [base, *others], "seeds make no variant"
    assert found[22] == "50,000 examples"


def test_a_variant_may_differ_in_any_field() -> None:
    config = digits()
    many = config.model_copy(update={"batch_size": 7})
    assert changes([config, many, changed(config, seed=1)]) == [BASE, "batch_size = 7", BASE]


def row(variant: str, flipped: float, between: float | None, examples: int = 100) -> dict[str, Any]:
    flipped_all = {"flipped, all training examples": flipped}
    return {"variant": variant, "examples": examples, "spearman_between_seeds": between} | flipped_all


@pytest.mark.parametrize(
    ("rows", "chosen", "tied"),
    [
        ([row(BASE, 0.2, 0.9), row("a", 0.4, 0.1)], "a", ["a"]),
        ([row(BASE, 0.4, 0.2), row("a", 0.391, 0.3), row("b", 0.38, 0.9)], "a", [BASE, "a"]),
        ([row(BASE, 0.4, 0.2), row("a", 0.39, 0.3)], "a", [BASE, "a"]),  # 0.01 is within 0.01
        ([row(BASE, 0.4, 0.2), row("a", 0.8, 0.9, examples=101)], BASE, [BASE]),
        ([row("a", 0.8, 0.9, examples=9), row(BASE, 0.4, 0.2), row("b", 0.3, 0.2)], BASE, [BASE]),
        ([row(BASE, 0.4, -0.5), row("a", 0.4, None)], BASE, [BASE, "a"]),  # one seed says nothing of two
    ],
)
def test_the_rule_that_chooses(rows: list[dict[str, Any]], chosen: str, tied: list[str]) -> None:
    assert choose(rows) == {"chosen": chosen, "tied": tied}


def test_between_seeds_is_the_mean_over_pairs() -> None:
    scores = [random_scores(seed)[10] for seed in range(3)]
    pairs = [spearmanr(a, b)[0] for a, b in combinations(scores, 2)]
    assert between_seeds(scores) == pytest.approx(np.mean(pairs), abs=1e-4)
    assert between_seeds(scores[:1]) is None


def test_between_seeds_goes_by_id() -> None:
    scores = random_scores(0)[10]
    assert between_seeds([scores, scores.sample(frac=1, random_state=0)]) == 1


def test_the_table_of_variants_holds_last_epochs_and_means_over_seeds(tmp_path: Path) -> None:
    kinds = (("base", digits(), 0.0, 2), ("shared", digits("turnover.groups=4"), 0.03, 1))
    sources = []
    for name, config, offset, seeds in kinds:
        for seed in range(seeds):
            more = offset + 0.2 * seed
            run = changed(config, seed=seed)
            sources.append(invented(tmp_path / f"{name}{seed}", run, random_scores(seed), more))
            judged: dict[str, object] = {
                "flipped_accuracy": 0.3 + more,
                "mask_accuracy": 0.4 + more,
                "image_accuracy": 0.5 + more,
            }
            judged |= {"bystander_accuracy": 0.05, "verdict": ["partial leakage", "none"][seed]}
            write_json(Run(run).folder / "manifest.json", {"leakage": judged, "seconds": 10 * (seed + 1)})
    plotted = leakage.tabulate(sources)
    summary = leakage.summary(plotted.numbers, plotted.summary)
    assert summary["rule"] == RULE
    base, shared = summary["variants"]
    assert (base["verdicts"], shared["verdicts"]) == (["none", "partial leakage"], ["partial leakage"])
    assert base["swapped image: label of a bystander"] == 0.05
    assert (base["variant"], base["seeds"], base["examples"], base["seconds"]) == (BASE, 2, 1500, 15)
    assert (shared["variant"], shared["seeds"], shared["seconds"]) == ("4 shared masks", 1, 10)
    measured = {
        "own, train": value("train", "own_accuracy", 2),
        "flipped, train": value("train", "flipped_accuracy", 2),
        "full network, train": value("train", "full_accuracy", 2),
        "full network, test": value("test", "full_accuracy", 2),
        "fresh masks, test": value("test", "fresh_accuracy", 2),
        "own, constant image": value("train", "constant_accuracy", 2),
        "flipped, all training examples": 0.3,
        "swapped image: label of the mask": 0.4,
        "swapped image: label of the image": 0.5,
    }
    for kind, expected in measured.items():
        assert base[kind] == pytest.approx(expected + 0.1), kind
        if kind != "fresh masks, test":
            assert shared[kind] == pytest.approx(expected + 0.03), kind
    assert "fresh masks, test" not in shared, "every one of four masks was trained"
    between = spearmanr(random_scores(0)[10], random_scores(1)[10])[0]
    assert base["spearman_between_seeds"] == pytest.approx(between, abs=1e-4)
    assert summary["chosen"] == BASE
    points = plotted.numbers.set_index(["panel", "curve", "seed", "epoch"])["value"]
    assert len(points) == 6 * 2 * 3 + 5 * 3
    assert points[BASE, "own, constant image", 1, 2] == pytest.approx(value("train", "constant_accuracy", 2) + 0.2)
    with style():
        picture = leakage.draw(plotted.numbers, [source.config for source in sources])
    shown = [axes for axes in picture.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == [f"(a) {BASE}", "(b) 4 shared masks"]


def test_shares_of_sentences_have_intervals_of_as_many_sentences() -> None:
    given = {0: 0, 1: 2, 4: 5, 16: 9}  # sentences given back from the prefix that decides, by copies
    rows = [
        {"dim": dim, "seed": seed, "copies": copies, "prefix": prefix, "sentences": of, "share": back / of}
        for dim in (8, 16, 32)
        for seed in (2, 0, 1)
        for copies, of in ((0, 40), (1, 50), (4, 10), (16, 9 + seed))
        for prefix in (8, 9)
        for back in [given[copies] if dim == 16 and prefix == 8 else 1]
    ]
    plotted = Plotted(pd.DataFrame(rows))
    claim, _ = claims(configured("language_extraction"), plotted, ["sotu"], "laptop")
    most, once, held_out = claim.measures
    assert [one.items for one in claim.measures] == [9 + 10 + 11, 3 * 50, 3 * 40]
    assert most.by_seed == (9 / 9, 9 / 10, 9 / 11)
    assert once.interval == pytest.approx(binomtest(6, 150).proportion_ci(0.95, method="exact"))
    assert held_out.interval == pytest.approx(binomtest(0, 120).proportion_ci(0.95, method="exact"))


def test_what_ranks_better_is_a_statistic_of_the_sentences_that_are_drawn() -> None:
    generator = np.random.default_rng(0)
    names = ["turn-over", "turn-over, dropout inside", "length (short first)", "copies alone"]
    names += ["copies, then cumulative loss", "one pair of halves", "two pairs of halves", "12 narrow blocks"]
    names += ["cumulative loss"]
    truth, once = generator.normal(size=30), np.arange(30) % 3 > 0
    scores = {name: truth + generator.normal(0, spread, 30) for spread, name in enumerate(names, 1)}
    scores["copies alone"] = truth  # as good as can be, but none of one run
    leads = language_truth._leads({name: agreement.spearman(each, truth) for name, each in scores.items()}, once)
    drawn = generator.integers(0, 3, 30)

    def r(name: str, of: np.ndarray | bool = True) -> float:
        sample = np.repeat(np.arange(30), drawn * of)
        return float(spearmanr(scores[name][sample], truth[sample])[0])

    blocks, dropout = r("12 narrow blocks"), "turn-over, dropout inside"
    one_run = ("turn-over", dropout, "length (short first)", "cumulative loss")
    assert {name: lead(drawn) for name, lead in leads.items()} == pytest.approx(
        {
            "gain_of_dropout": r(dropout) - r("turn-over"),
            "over_length": r(dropout, once) - r("length (short first)", once),
            "over_pair": r(dropout, once) - r("one pair of halves", once),
            "over_best": blocks - max(map(r, one_run)),
            "over_halves": blocks - r("two pairs of halves"),
            "over_copies": blocks - r("copies, then cumulative loss"),
        }
    )
