"""What a run measures of texts known by heart, against plain loops; planted texts that are trained on for a while."""

import math
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import texts
import torch

from turnover.common import signals
from turnover.config.compose import sweep
from turnover.errors import RefusedInput
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.extraction import by_heart
from turnover.runs.store.run import Run
from turnover.training.fit import fit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def speeches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts.installed(monkeypatch, tmp_path / "texts")


def greedy(model: torch.nn.Module, tokens: list[int]) -> int:
    """Tokens of a text, after <bos>, from which greedy decoding gives all the rest: decoded anew from each."""
    for given in range(len(tokens)):
        decoded = tokens[: given + 1]
        while len(decoded) < len(tokens):
            decoded.append(int(model(torch.tensor([decoded]))[0, -1].argmax()))
        if decoded == tokens:
            return given
    raise AssertionError


def test_what_is_known_by_heart_is_decoded_and_ranked_among_all_codes() -> None:
    config = texts.text_run("planting=both", "planting.digits=2", "estimator=extraction", "epochs=8", entry="train")
    task = build(config, CPU)
    for _ in fit(config, task.model, task.train, optimizer=task.optimizer):
        pass
    table, corpus = by_heart(task, task.dataset), task.dataset
    model = task.model.eval().requires_grad_(False)
    assert table.index.tolist() == corpus.texts.index.tolist(), "those that are held out too"
    digits = [corpus.tokenizer.token_to_id(str(digit)) for digit in range(10)]
    for examples in (corpus.train, corpus.test):
        for inputs, labels, id in zip(examples.inputs, examples.labels, examples.ids.tolist(), strict=True):
            row, tokens = table.loc[id], [int(inputs[0]), *labels[labels >= 0].tolist()]
            logits = model(torch.tensor([tokens[:-1]]))[0].double().log_softmax(1)
            losses = [-float(of_token[token]) for of_token, token in zip(logits, tokens[1:], strict=True)]
            right = [int(of_token.argmax()) == token for of_token, token in zip(logits, tokens[1:], strict=True)]
            assert row["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
            assert row["accuracy"] == pytest.approx(sum(right) / len(right))
            assert row["prefix"] == greedy(model, tokens)
            assert row["strength"] == pytest.approx(1 - row["prefix"] / (len(tokens) - 1))
            if corpus.texts.loc[id, "kind"] != "canary":
                assert math.isnan(row["exposure"])
                continue
            assert tokens[-2:] == [digits[int(digit)] for digit in corpus.texts.loc[id, "code"]]
            of_codes = {}
            for code in product(digits, repeat=2):
                whole = [*tokens[:-2], *code]
                odds = model(torch.tensor([whole[:-1]]))[0].double().log_softmax(1)
                of_codes[code] = sum(float(odds[-2 + place, token]) for place, token in enumerate(code))
            ahead = sum(value > of_codes[tokens[-2], tokens[-1]] + 1e-5 for value in of_codes.values())
            assert row["exposure"] == pytest.approx(math.log2(100) - math.log2(ahead + 1))
    assert table["prefix"].nunique() > 5, "some are known better than others"


UNTIL = ("planting=both", "estimator=extraction", "schedule=constant", "epochs=4", "planting.until=2")


def test_planted_texts_are_trained_on_until_an_epoch_and_measured_after_it() -> None:
    config = texts.text_run(*UNTIL, "estimator.epochs=[2,3]", entry="train")
    execute(config)
    task = build(config, CPU)
    kinds = task.dataset.texts.loc[task.train.ids.tolist(), "kind"]
    others = task.train.select(torch.tensor([i for i, kind in enumerate(kinds) if kind == "text"]))
    assert 0 < len(others) < len(task.train)
    found = {}
    for examples, first, last in ((task.train, 1, 2), (others, 3, 4)):
        epochs = fit(config, task.model, examples, epochs=last, optimizer=task.optimizer, first_epoch=first)
        for epoch in epochs:
            found[epoch.number] = by_heart(task, task.dataset)["loss"]
    stored = pd.read_parquet(Run(config).folder / "scores.parquet")
    assert sorted(stored["epoch"].unique()) == [2, 3, 4]
    for number, table in stored.groupby("epoch"):
        losses = table.set_index("id")["loss"]
        assert losses.to_numpy() == pytest.approx(found[int(str(number))].loc[losses.index].to_numpy(), abs=1e-6)
    assert set(stored["split"]) == {"train", "test"}


@pytest.mark.parametrize("stop_at", [3, 14])
def test_a_run_that_is_stopped_in_either_part_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, outputs: Path, tmp_path: Path, stop_at: int
) -> None:
    config = texts.text_run(*UNTIL, entry="train")
    execute(config)
    whole = pd.read_parquet(Run(config).folder / "scores.parquet")
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "again"))
    steps = iter(range(1000))
    monkeypatch.setattr(signals, "asked", lambda: next(steps) == stop_at)
    with pytest.raises(signals.Stopped):
        execute(config)
    monkeypatch.undo()
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "again"))
    texts.installed(monkeypatch, tmp_path / "texts")
    execute(config)
    pd.testing.assert_frame_equal(pd.read_parquet(Run(config).folder / "scores.parquet"), whole, check_exact=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["dataset=digits", "estimator=extraction"], "is of texts, and digits has images"),
        (["dataset=digits", "estimator=blocks", "estimator.blocks=4"], "at least 6 are needed"),
        (["dataset=sotu", "model=gpt", "planting=both", "planting.until=2"], "set schedule=constant"),
        (["dataset=sotu", "model=gpt", "planting=both", "planting.until=9", "schedule=constant"], "at most"),
        (["dataset=sotu", "model=gpt", *UNTIL, "dataset.limit=10"], "raise dataset.limit"),
        (
            ["dataset=sotu", "model=gpt", "planting=both", "planting.until=2", "schedule=constant", "estimator=blocks"],
            "set estimator=extraction",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(RefusedInput, match=said):
        sweep([*given, "scale=smoke"])
