"""Easy, difficult and random subsets against a slow oracle: sizes, ties, balance, refusals, any order of the rows."""

from collections import Counter
from typing import Any

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnover.data.subsets import by_labels, by_scores, pruned, ranked
from turnover.errors import RefusedInput

Row = tuple[int, int, float, float]  # id, label, score, flipped loss


def score_table(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "own_loss": 0.0,
            "label": [row[1] for row in rows],
            "score": [row[2] for row in rows],
            "flipped_loss": [row[3] for row in rows],
        },
        index=pd.Index([row[0] for row in rows], name="id"),
    )


def plain(scores: dict[int, float], label: int = 0) -> list[Row]:
    """Rows of these scores by id, of one class and one loss."""
    return [(id, label, score, 1.0) for id, score in scores.items()]


@st.composite
def score_rows(draw: st.DrawFn) -> list[Row]:
    """Examples in any order, with few classes and few different scores and losses, so that there are ties."""
    ids = draw(st.lists(st.integers(0, 10**6), min_size=3, max_size=40, unique=True))
    labels = st.integers(0, 3)
    scores = st.sampled_from([-1.0, 0.0, 0.5, 2.0]) | st.floats(-5, 5)
    losses = st.sampled_from([0.0, 1.0]) | st.floats(0, 5)
    return [(id, draw(labels), draw(scores), draw(losses)) for id in ids]


def ids_of(chosen: pd.DataFrame) -> dict[str, list[int]]:
    return {str(name): part["id"].tolist() for name, part in chosen.groupby("subset", sort=False)}


def attempt(rows: list[Row], size: float, *, balanced: bool) -> dict[str, list[int]] | None:
    """The ids of the subsets; None if they are refused."""
    try:
        return ids_of(by_scores(score_table(rows), size, 0, balanced=balanced))
    except RefusedInput:
        return None


def unequal(rows: list[Row], ids: list[int]) -> bool:
    """Whether the classes of the table differ by more than one among these ids."""
    counts = Counter({row[1]: 0 for row in rows})
    counts.update(row[1] for row in rows if row[0] in ids)
    return max(counts.values()) - min(counts.values()) > 1


# --- by score ---


@given(score_rows(), st.data(), st.booleans())
def test_the_lowest_and_the_highest_scores(rows: list[Row], data: st.DataObject, balanced: bool) -> None:
    count = data.draw(st.integers(1, len(rows) // 3))
    easy, difficult = oracles.lowest_and_highest(rows, count, balanced=balanced)
    found = attempt(rows, count, balanced=balanced)
    if set(easy) & set(difficult) or (balanced and (unequal(rows, easy) or unequal(rows, difficult))):
        assert found is None
    elif found is not None:
        assert (found["easy"], found["difficult"]) == (easy, difficult)
        assert not balanced or not unequal(rows, found["random"])
    else:  # only the random ones can be the reason: too few of a class are left
        left = Counter(row[1] for row in rows if row[0] not in easy + difficult)
        assert balanced
        assert min(left[row[1]] for row in rows) < -(-count // len({row[1] for row in rows}))


@given(score_rows(), st.randoms(), st.booleans())
def test_the_order_of_the_rows_changes_nothing(rows: list[Row], random: Any, balanced: bool) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    count = max(1, len(rows) // 5)
    assert attempt(shuffled, count, balanced=balanced) == attempt(rows, count, balanced=balanced)


@given(score_rows(), st.floats(0.01, 0.34))
def test_a_fraction_is_one_of_the_table(rows: list[Row], fraction: float) -> None:
    count = round(fraction * len(rows))
    expected = attempt(rows, count, balanced=False) if count else None
    assert attempt(rows, fraction, balanced=False) == expected


@given(score_rows())
def test_all_subsets_have_one_size_and_do_not_overlap(rows: list[Row]) -> None:
    for count in range(1, len(rows) // 3 + 1):
        found = ids_of(by_scores(score_table(rows), count, 0))
        assert list(found) == ["easy", "difficult", "random"]
        assert [len(ids) for ids in found.values()] == [count] * 3
        assert len({id for ids in found.values() for id in ids}) == 3 * count
        scores = {row[0]: max(row[2], 0.0) for row in rows}
        assert max(scores[id] for id in found["easy"]) <= min(scores[id] for id in found["random"])
        assert max(scores[id] for id in found["random"]) <= min(scores[id] for id in found["difficult"])


def test_a_random_choice_of_all_holds_easy_and_difficult_ones_too() -> None:
    rows = [(id, id % 3, float(id), 1.0) for id in range(60)]
    table = score_table(rows)
    drawn: set[int] = set()
    for seed in range(100):
        found, others = (ids_of(by_scores(table, 10, seed, of_all=each)) for each in (True, False))
        assert (found["easy"], found["difficult"]) == (others["easy"], others["difficult"])
        assert len(set(found["random"])) == 10
        assert not set(others["random"]) & {*others["easy"], *others["difficult"]}
        drawn |= set(found["random"])
    assert drawn == set(range(60))


def test_labels_and_scores_stay_with_their_ids_and_the_extremes_come_first() -> None:
    scores = {5: (1, 0.3), 9: (0, 0.0), 2: (1, 4.0), 7: (2, 0.1), 1: (0, 2.0), 4: (3, 0.5)}
    rows = [(id, label, score, 1.0) for id, (label, score) in scores.items()]
    chosen = by_scores(score_table(rows), 2, 0)
    assert list(chosen.columns) == ["id", "subset", "label", "score"]
    assert chosen.index.tolist() == list(range(6))
    assert chosen.head(4).to_numpy().tolist() == [
        [9, "easy", 0, 0.0],
        [7, "easy", 2, 0.1],
        [2, "difficult", 1, 4.0],
        [1, "difficult", 0, 2.0],
    ]
    assert sorted(chosen.tail(2).to_numpy().tolist()) == [[4, "random", 3, 0.5], [5, "random", 1, 0.3]]


def test_equal_scores_go_by_flipped_loss_and_then_by_id() -> None:
    rows = [(4, 0, 1.0, 0.2), (8, 0, 1.0, 0.1), (2, 0, 1.0, 0.2), (6, 0, 1.0, 0.3), (3, 0, 1.0, 0.2), (1, 0, 1.0, 0.2)]
    assert ranked(score_table(rows)).index.tolist() == [8, 1, 2, 3, 4, 6]
    found = ids_of(by_scores(score_table(rows), 2, 0))
    assert (found["easy"], found["difficult"], sorted(found["random"])) == ([8, 1], [6, 4], [2, 3])


def test_negative_scores_count_as_nothing_memorized() -> None:
    rows = [(1, 0, -9.0, 3.0), (2, 0, 0.0, 0.1), (3, 0, -0.001, 0.2), (4, 0, 0.001, 0.0), (5, 0, 1.0, 0.0)]
    assert ranked(score_table(rows)).index.tolist() == [2, 3, 1, 4, 5]
    assert ranked(score_table(rows))["score"].tolist() == [0.0, -0.001, -9.0, 0.001, 1.0], "the scores themselves stay"


def test_without_a_flipped_loss_equal_scores_go_by_id() -> None:
    table = score_table(plain({4: 1.0, 8: 1.0, 2: -3.0, 6: 0.0})).drop(columns="flipped_loss")
    assert ranked(table).index.tolist() == [2, 6, 4, 8]


def test_scores_of_other_estimators_may_be_negative_and_rank_as_they_are() -> None:
    table = score_table(plain({4: -1.0, 8: -7.0, 2: -3.0, 6: 0.5})).drop(columns="flipped_loss")
    assert ranked(table).index.tolist() == [8, 2, 4, 6]


def test_balanced_subsets_have_every_class_though_one_has_all_low_scores() -> None:
    rows = [(id, id % 2, float(id % 2 * 100 + id), 1.0) for id in range(20)]
    unbalanced, balanced = (by_scores(score_table(rows), 4, 0, balanced=each) for each in (False, True))
    assert set(unbalanced["label"][unbalanced["subset"] == "easy"]) == {0}
    assert balanced.groupby(["subset", "label"]).size().tolist() == [2] * 6
    assert ids_of(balanced)["easy"] == [0, 1, 2, 3]
    assert ids_of(balanced)["difficult"] == [18, 19, 16, 17]


def test_what_does_not_divide_goes_to_the_first_classes() -> None:
    rows = [(id, id % 3, float(id), 1.0) for id in range(30)]
    found = by_scores(score_table(rows), 4, 0, balanced=True).groupby(["subset", "label"]).size().to_dict()
    assert found == {
        (subset, label): 2 if label == 0 else 1 for subset in ("easy", "difficult", "random") for label in range(3)
    }


def test_a_balanced_overlap_is_refused() -> None:
    rows = [*plain({0: 1.0}), *plain({id: float(id) for id in range(1, 10)}, label=1)]  # class 0 would be in both
    with pytest.raises(RefusedInput, match="overlap; choose a smaller one"):
        by_scores(score_table(rows), 1, 0, balanced=True)


def test_a_class_with_too_few_examples_is_refused_by_its_name() -> None:
    rows = [*plain({0: 1.0, 1: 2.0}, label=7), *plain({id: float(id) for id in range(2, 26)}, label=1)]
    with pytest.raises(RefusedInput, match=r"class 7 has only 2 examples for the easy subset, others have 6"):
        by_scores(score_table(rows), 8, 0, balanced=True)


def test_a_class_of_which_nothing_is_left_for_the_random_subset_is_refused() -> None:
    rows = [*plain({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, label=7), *plain({id: float(id) for id in range(4, 30)}, label=1)]
    assert by_scores(score_table(rows), 4, 0)["subset"].tolist()[-1] == "random"
    with pytest.raises(RefusedInput, match=r"class 7 has only 0 examples for the random subset, others have 4"):
        by_scores(score_table(rows), 4, 0, balanced=True)


@pytest.mark.parametrize("size", [0, -1, 4, 0.4, 0.01, 1.0])
def test_a_size_that_leaves_no_room_is_refused_with_what_is_allowed(size: float) -> None:
    rows = plain({id: float(id) for id in range(11)})
    with pytest.raises(RefusedInput, match=rf"subsets\.size = {size}: 3 subsets .* of 11; each must have from 1 to 3"):
        by_scores(score_table(rows), size, 0)


def test_random_ones_are_the_same_for_a_seed_and_any_of_the_others() -> None:
    table = score_table(plain({id: float(id) for id in range(30)}))
    chosen = [ids_of(by_scores(table, 5, seed))["random"] for seed in range(200)]
    assert chosen[3] == ids_of(by_scores(table, 5, 3))["random"]
    counts = Counter(id for ids in chosen for id in ids)
    assert set(counts) == set(range(5, 25)), "neither an easy nor a difficult one"
    assert 25 < min(counts.values()) <= max(counts.values()) < 75  # 50 each


# --- by label ---


def label_table(corrupted: list[bool], labels: list[int] | None = None) -> pd.DataFrame:
    ids = [100 + 3 * place for place in range(len(corrupted))]
    named = pd.Index(ids, name="id")
    return pd.DataFrame({"label": labels or [0] * len(corrupted), "corrupted": corrupted}, index=named)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=40), st.data(), st.booleans())
def test_easy_are_real_labels_and_difficult_random_ones(
    kinds: list[tuple[bool, int]], data: st.DataObject, balanced: bool
) -> None:
    count, seed = data.draw(st.integers(1, len(kinds) // 2)), data.draw(st.integers(0, 99))
    table = label_table([kind for kind, _ in kinds], [label for _, label in kinds])
    have = {kind: Counter(table["label"][table["corrupted"] == kind]) for kind in (False, True)}

    def level(counts: Counter[int]) -> bool:
        # as even as it can be is even enough: no class lags by more than one
        poured: Counter[int] = Counter()
        for _ in range(count):
            poured[min((poured[k], k) for k in counts if poured[k] < counts[k])[1]] += 1
        sizes = [poured[label] for label in set(table["label"])]
        return max(sizes) - min(sizes) <= 1

    enough = all(counts.total() >= count for counts in have.values())
    if not enough or (balanced and not all(level(counts) for counts in have.values())):
        with pytest.raises(RefusedInput):
            by_labels(table, count, seed, balanced=balanced)
        return
    chosen = by_labels(table, count, seed, balanced=balanced)
    found = ids_of(chosen)
    assert len(set(found["easy"])) == len(set(found["difficult"])) == count
    assert not table.loc[found["easy"], "corrupted"].any()
    assert table.loc[found["difficult"], "corrupted"].all()
    assert chosen["label"].tolist() == table.loc[chosen["id"], "label"].tolist()
    assert chosen["score"].isna().all()
    assert list(chosen.columns) == ["id", "subset", "label", "score"]
    again = by_labels(table, count, seed, balanced=balanced)
    assert again.equals(chosen)


def test_every_example_of_a_kind_is_as_likely_to_be_chosen() -> None:
    table = label_table([place >= 20 for place in range(40)])
    chosen = Counter(id for seed in range(200) for id in by_labels(table, 5, seed)["id"])
    assert sum(chosen.values()) == 2000
    assert 25 < min(chosen[id] for id in table.index) <= max(chosen.values()) < 75  # 50 each


def test_a_smaller_choice_is_part_of_a_larger_one() -> None:
    table = label_table([place % 3 == 0 for place in range(90)], [place % 4 for place in range(90)])
    for balanced in (False, True):
        small, large = (ids_of(by_labels(table, size, 1, balanced=balanced)) for size in (4, 20))
        assert all(set(small[name]) < set(large[name]) for name in small)


def test_a_fraction_is_one_of_the_whole_table_and_not_of_the_random_labels() -> None:
    table = label_table([place < 30 for place in range(100)])
    assert ids_of(by_labels(table, 0.2, 0)).keys() == {"easy", "difficult"}
    assert by_labels(table, 0.2, 0)["subset"].value_counts().tolist() == [20, 20]


@pytest.mark.parametrize(("random", "kind", "there"), [(3, "random", 3), (97, "real", 3), (0, "random", 0)])
def test_too_few_labels_of_a_kind_are_refused(random: int, kind: str, there: int) -> None:
    table = label_table([place < random for place in range(100)])
    with pytest.raises(RefusedInput, match=f"4 examples with {kind} labels are needed, there are {there}"):
        by_labels(table, 4, 0)


def test_a_class_without_a_random_label_is_refused_when_balance_is_asked_for() -> None:
    labels = [place % 3 for place in range(60)]
    table = label_table([place < 30 and label != 2 for place, label in enumerate(labels)], labels)
    assert len(by_labels(table, 6, 0)) == 12
    with pytest.raises(RefusedInput, match="class 2 has only 0 examples for the difficult subset"):
        by_labels(table, 6, 0, balanced=True)


def test_classes_may_differ_by_one_and_no_more_when_balance_is_asked_for() -> None:
    labels = [0] * 10 + [1] * 10
    table = label_table([place in (0, 1, 2) or place >= 14 for place in range(20)], labels)  # 3 and 6 random ones
    chosen = by_labels(table, 7, 0, balanced=True)
    assert chosen.groupby(["subset", "label"]).size().to_dict()["difficult", 0] == 3
    with pytest.raises(RefusedInput, match="class 0 has only 3 examples for the difficult subset, others have 5"):
        by_labels(table, 8, 0, balanced=True)


def test_a_table_is_not_changed() -> None:
    scores = score_table([(id, id % 2, float(np.sin(id)), 0.5) for id in range(20)])
    labels = label_table([place % 2 == 0 for place in range(20)])
    before = scores.copy(), labels.copy()
    by_scores(scores, 4, 0, balanced=True)
    by_labels(labels, 4, 0, balanced=True)
    assert scores.equals(before[0])
    assert labels.equals(before[1])


# --- what is left of examples ---


@given(score_rows(), st.data())
def test_the_hardest_and_the_easiest_are_kept_class_by_class(rows: list[Row], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(rows)))
    table = score_table(rows)
    for keep, hardest in (("hardest", True), ("easiest", False)):
        left = pruned(table, count, keep, 0)  # type: ignore[arg-type]
        assert set(left["id"]) == oracles.kept(rows, count, hardest=hardest)
        assert set(left["subset"]) == {keep}
        assert table.loc[left["id"], "label"].tolist() == left["label"].tolist()


def test_random_ones_have_as_many_of_every_class_and_right_ones_no_wrong_label() -> None:
    rows = [(id, id % 4, float(id), 1.0) for id in range(80)]
    table = score_table(rows).assign(wrong=[id < 16 for id in range(80)])
    first, again, other = (pruned(table, 0.5, "random", seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert set(first["id"]) != set(other["id"])
    for left in (first, other, pruned(table, 0.5, "hardest", 1)):
        assert Counter(left["label"]) == {0: 10, 1: 10, 2: 10, 3: 10}
    right = pruned(table, 0.8, "right", 1)
    assert set(right["id"]) == set(range(16, 80))
    assert pruned(table.sample(frac=1, random_state=0), 0.5, "random", 1).equals(first)
