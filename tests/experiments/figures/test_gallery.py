"""Figures 7 and 8: the right images with the right texts, and agreement in the tails of every class."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits import changed, digits
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from turnover.experiments.figures.gallery import agreement, agreement_all, draw, extremes, literal, tabulate, votes
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.runs.store.tables import read_scores, write_scores

# --- slow, obvious versions ---

Rows = list[dict[str, Any]]


def right(row: dict[str, Any]) -> bool:
    return bool(row["own_prediction"] == row["label"] and row["flipped_prediction"] == row["label"])


def from_easy_to_difficult(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (max(row["score"], 0.0), row["flipped_loss"], row["id"]))


def by_score(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (row["score"], row["id"]))


def slow_agreement(
    ours: Rows, by: Rows, *, easiest: bool, order: Callable[[Rows], Rows] = from_easy_to_difficult
) -> float:
    """Sort every class by the others' scores, take its tenth, count our own predictions."""
    mine = {row["id"]: row for row in ours}
    hits = []
    for label in sorted({row["label"] for row in by}):
        rows = order([row for row in by if row["label"] == label])
        rows = rows if easiest else rows[::-1]
        hits += [right(mine[row["id"]]) for row in rows[: ceil(Fraction(len(rows), 10))]]
    return sum(hits) / len(hits)


def written_out(table: pd.DataFrame, counts: np.ndarray) -> Rows:
    return table.iloc[np.repeat(np.arange(len(table)), counts)].reset_index().to_dict("records")  # type: ignore[return-value]


def once(table: pd.DataFrame) -> np.ndarray:
    return np.ones(len(table), dtype=np.int64)


def random_table(seed: int, n: int, *, ties: bool = False, classes: int = 3) -> pd.DataFrame:
    """Ids and labels depend on n alone, so that two seeds score the same examples."""
    generator, shared = np.random.default_rng(seed), np.random.default_rng(n)
    label = shared.integers(0, classes, n)

    def number() -> np.ndarray:
        return generator.integers(-2, 3, n).astype(float) if ties else generator.normal(size=n)

    def prediction() -> np.ndarray:
        return np.where(generator.random(n) < 0.7, label, generator.integers(0, classes, n))

    columns = {
        "score": number(),
        "flipped_loss": number(),
        "label": label,
        "own_prediction": prediction(),
        "flipped_prediction": prediction(),
    }
    return pd.DataFrame(columns, index=pd.Index(shared.permutation(10 * n)[:n], name="id"))


# --- the statistic ---

sizes, seeds = st.integers(1, 60), st.integers(0, 2**16)


@given(sizes, seeds, st.booleans(), st.booleans())
def test_agreement_is_that_of_the_resample_written_out(n: int, seed: int, ties: bool, easiest: bool) -> None:
    table, by = random_table(seed, n, ties=ties), random_table(seed + 1, n, ties=ties)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n))
    expected = slow_agreement(written_out(table, counts), written_out(by, counts), easiest=easiest)
    assert agreement(table, by, easiest=easiest)(counts) == pytest.approx(expected, abs=1e-12)


@given(sizes, seeds, st.booleans())
def test_agreement_by_the_literally_lowest_scores(n: int, seed: int, ties: bool) -> None:
    table, by = random_table(seed, n, ties=ties), random_table(seed + 1, n, ties=ties)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n))
    expected = slow_agreement(written_out(table, counts), written_out(by, counts), easiest=True, order=by_score)
    found = agreement(table, by, easiest=True, order=literal)(counts)
    assert found == pytest.approx(expected, abs=1e-12)


@given(sizes, seeds, seeds)
def test_agreement_of_all_is_their_share(n: int, seed: int, draw_seed: int) -> None:
    table = random_table(seed, n)
    counts = np.random.default_rng(draw_seed).multinomial(n, np.full(n, 1 / n))
    hits = [right(row) for row in written_out(table, counts)]
    assert agreement_all(table)(counts) == pytest.approx(sum(hits) / len(hits), abs=1e-12)


def test_a_statistic_can_be_used_again() -> None:
    table = random_table(0, 50)
    statistic = agreement(table, random_table(1, 50), easiest=True)
    before = statistic(once(table))
    statistic(2 * once(table))
    assert statistic(once(table)) == before


# --- the choice ---


@given(sizes, seeds, st.booleans(), st.integers(1, 6))
def test_extremes_are_the_ends_of_every_sorted_class(n: int, seed: int, ties: bool, rows: int) -> None:
    table = random_table(seed, n, ties=ties)
    found = extremes(table, rows)
    classes = sorted(set(table["label"]))
    assert found["column"].nunique() == len(classes)
    for column, label in enumerate(classes):
        ordered = from_easy_to_difficult([row for row in written_out(table, once(table)) if row["label"] == label])
        for panel, side in (("a", ordered), ("b", ordered[::-1])):
            here = found[(found["panel"] == panel) & (found["column"] == column)]
            assert here["id"].tolist() == [row["id"] for row in side[:rows]]
            assert here["row"].tolist() == list(range(len(here)))
            assert (here["label"] == label).all()
    names = ["score", "own_prediction", "flipped_prediction"]
    assert found[names].to_numpy().tolist() == table.loc[found["id"], names].to_numpy().tolist()


@given(st.integers(1, 5), sizes, seeds)
def test_votes_are_what_more_than_half_of_the_seeds_predict(runs: int, n: int, seed: int) -> None:
    tables = [random_table(seed + number, n) for number in range(runs)]
    found = votes(tables)
    assert np.allclose(found["score"], np.mean([table["score"].to_numpy() for table in tables], axis=0))
    for kind in ("own_prediction", "flipped_prediction"):
        for id in found.index:
            ballot = [int(table.loc[id, kind]) for table in tables]
            winner = [choice for choice in ballot if ballot.count(choice) > runs / 2] or [-1]
            assert found.loc[id, kind] == winner[0]


# --- the picture ---

MEASURES = ("agreement_literal", "agreement", "agreement_difficult", "agreement_all")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Scores of the digits and their test split, by chance: three seeds that share the data."""
    config, target = digits("dataset.include_test=true"), load_digits().target
    found = []
    for seed in range(3):
        table = random_table(seed, len(target), classes=10).reset_index(drop=True).rename_axis(index="id").reset_index()
        table["label"] = target
        table = table.assign(epoch=3, true_label=target, corrupted=False, own_loss=0.0)
        table["split"] = np.where(table["id"] < 1500, "train", "test")
        table.loc[1600:, "score"] = 100.0  # of the test split: must not be shown
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        write_scores(folder / "scores.parquet", table)
        found.append(Source(changed(config, seed=seed), folder))
    return found


def training(source: Source) -> pd.DataFrame:
    return read_scores(source.folder).query("split == 'train'")


def mean_of(tables: Sequence[pd.DataFrame]) -> Rows:
    """Mean scores and flipped losses, with the labels of the first."""
    names = ["score", "flipped_loss"]
    mean = tables[0].copy()
    for name in names:
        mean[name] = np.mean([table[name].to_numpy() for table in tables], axis=0)
    return written_out(mean, once(mean))


@pytest.fixture(scope="module")
def plotted(sources: list[Source]) -> Plotted:
    return tabulate(sources)


@pytest.fixture(scope="module")
def picture(plotted: Plotted, sources: list[Source]) -> Figure:
    return draw(plotted.numbers, [source.config for source in sources])


def test_the_images_shown_are_those_of_the_data_set(plotted: Plotted, picture: Figure) -> None:
    pixels = load_digits().images
    assert len(plotted.numbers) == 100
    for panel, axes in zip("ab", picture.axes, strict=True):
        shown = plotted.numbers[plotted.numbers["panel"] == panel]
        assert len(axes.images) == len(shown) == 50
        for image, id in zip(axes.images, shown["id"], strict=True):
            assert id < 1500
            assert np.array_equal(np.asarray(image.get_array()).squeeze(), pixels[id])
        # rows go down and columns to the right, as the table says
        lefts = [image.get_extent()[0] for image in axes.images]
        tops = [image.get_extent()[3] for image in axes.images]
        assert pd.Series(lefts).rank(method="dense").sub(1).tolist() == shown["column"].tolist()
        assert pd.Series(tops).rank(method="dense", ascending=False).sub(1).tolist() == shown["row"].tolist()


def test_over_an_image_stand_its_score_and_the_predictions_that_are_wrong(plotted: Plotted, picture: Figure) -> None:
    for panel, axes in zip("ab", picture.axes, strict=True):
        shown = plotted.numbers[plotted.numbers["panel"] == panel]
        texts = iter(axes.texts)
        for each in shown.to_dict("records"):
            wrong = [p for p in (each["own_prediction"], each["flipped_prediction"]) if p != each["label"]]
            for predicted in wrong[::-1]:  # from the image up
                text = next(texts)
                assert text.get_text() == (str(predicted) if predicted >= 0 else "?")
                assert text.get_bbox_patch() is not None
            if abs(each["score"]) >= 0.005:
                text = next(texts)
                assert text.get_text() == f"{each['score']:.2f}"
                assert text.get_bbox_patch() is None
        assert [text.get_text() for text in texts] == list("0123456789")


def test_the_images_shown_are_the_ends_of_the_mean_over_seeds(plotted: Plotted, sources: list[Source]) -> None:
    rows = mean_of([training(source) for source in sources])
    scores = {row["id"]: row["score"] for row in rows}
    assert plotted.numbers["score"].tolist() == pytest.approx([scores[id] for id in plotted.numbers["id"]], rel=1e-6)
    for label in range(10):
        ordered = [row["id"] for row in from_easy_to_difficult([row for row in rows if row["label"] == label])]
        here = plotted.numbers[plotted.numbers["label"] == label]
        assert here.loc[here["panel"] == "a", "id"].tolist() == ordered[:5]
        assert here.loc[here["panel"] == "b", "id"].tolist() == ordered[:-6:-1]


def test_the_claim_counts_every_seed_on_what_the_others_find_easy(plotted: Plotted, sources: list[Source]) -> None:
    assert tuple(plotted.statistics) == MEASURES
    assert tuple(configured("fig7").claims["7"].measures) == MEASURES
    tables = [training(source) for source in sources]
    for seed, table in enumerate(tables):
        by = mean_of([other for number, other in enumerate(tables) if number != seed])
        rows = written_out(table, once(table))
        expected = [
            slow_agreement(rows, by, easiest=True, order=by_score),
            slow_agreement(rows, by, easiest=True),
            slow_agreement(rows, by, easiest=False),
            np.mean([right(row) for row in rows]),
        ]
        found = [runs[seed](once(table)) for runs in plotted.statistics.values()]
        assert found == pytest.approx(expected, abs=1e-12)
        assert plotted.examples == len(table)


def test_a_single_seed_says_itself_what_is_easy(sources: list[Source]) -> None:
    rows = written_out(training(sources[0]), once(training(sources[0])))
    [run] = tabulate(sources[:1]).statistics["agreement"]
    assert run(once(training(sources[0]))) == pytest.approx(slow_agreement(rows, rows, easiest=True))
