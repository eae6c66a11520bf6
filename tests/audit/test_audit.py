"""An audit of digits with 5 % wrong labels, from end to end: files, numbers, the page in a real browser."""

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import processes
import pytest
import torch
import yaml
from audits import config_of
from PIL import Image
from sklearn.datasets import load_digits

import turnover
from turnover.audit.collection import collect
from turnover.audit.expected import expectations, nearest, recommended, unlike, validated
from turnover.audit.knowledge import Knowledge
from turnover.audit.labelled import Collection
from turnover.audit.options import AuditConfig
from turnover.audit.page import page
from turnover.audit.suspects import COLUMNS, network, scored, seconds, suspects
from turnover.audit.work import _expected, audit
from turnover.audit.wrong_share import WrongShare
from turnover.common.device import settle
from turnover.config.estimators import SCORES, score_of
from turnover.errors import RefusedInput, RunFailed

WRONG = 90  # 5 % of 1,797


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int]]:
    """A folder and an npz file of the same images, and which of them have wrong labels."""
    folder = tmp_path_factory.mktemp("own")
    data, random = load_digits(), np.random.default_rng(0)
    x, y = (data.images * 255 / 16).astype(np.uint8), data.target.copy()
    wrong = random.permutation(len(y))[:WRONG]
    y[wrong] = (y[wrong] + 1 + random.integers(9, size=WRONG)) % 10
    np.savez(folder / "digits.npz", x=x, y=y)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        kind = folder / "digits" / f"digit {label}"
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(kind / f"{number:04d}.png")
    return folder, set(wrong.tolist())


@pytest.fixture(scope="module")
def audited(digits: tuple[Path, set[int]]) -> Path:
    folder, _ = digits
    return audit(config_of(folder / "digits", f"k={WRONG}", f'output="{folder / "out"}"'))


# --- from end to end ---


def number(example: Any) -> int:
    return int(Path(str(example)).stem)


def test_the_suspects_are_wrong_as_often_as_expected(audited: Path, digits: tuple[Path, set[int]], root: Path) -> None:
    table = pd.read_csv(audited / "suspects.csv")
    share = table["example"].head(WRONG).map(number).isin(digits[1]).mean()
    expected = nearest(expectations(validated(root / "outputs" / "reference"), "cumulative_loss", 1), 0.05)
    assert expected.share == 0.05
    assert min(expected.precision.values()) < 0.5 < 0.8 < max(expected.precision.values())
    assert share >= 0.9 > max(expected.precision.values()), "digits are easier than all three; chance is 0.05"


def test_the_table_says_what_it_should(audited: Path, digits: tuple[Path, set[int]]) -> None:
    table = pd.read_csv(audited / "suspects.csv")
    assert list(table.columns) == list(COLUMNS)
    assert table["rank"].tolist() == list(range(1, len(load_digits().target) + 1)), "every example has its row"
    assert table["example"].is_unique
    assert table["score"].is_monotonic_decreasing
    assert ((table["probability"] > 0.1) & (table["probability"] <= 1)).all()
    assert table["same_as"].isna().all()
    assert (table["example"].map(lambda name: Path(name).parent.as_posix()) == table["label"]).all()
    assert all((digits[0] / "digits" / name).is_file() for name in table["example"])
    right = load_digits().target[table["example"].map(number)]
    given_right = table["prediction"] == [f"digit {label}" for label in right]
    assert given_right[table["example"].map(number).isin(digits[1])].mean() > 0.9, "it names the true class"


def test_scores_are_those_of_the_api(digits: tuple[Path, set[int]]) -> None:
    config = config_of(digits[0] / "digits.npz", "epochs=2", "seeds=2", "estimator=el2n", "optimizer.weight_decay=0.01")
    found = collect(Path(config.data), None)
    with np.load(config.data) as file:
        x = (file["x"] - file["x"].mean()) / file["x"].std()
        given: dict[str, Any] = {"epochs": 2, "lr": 0.05, "batch_size": 128, "seeds": 2, "momentum": 0.9}
        expected = turnover.memorization(
            partial(network, found, config),
            x[:, None],
            file["y"],
            **given,
            weight_decay=0.01,
            estimator="el2n",
            device="cpu",
            progress=False,
        )
    table = scored(found, config, progress=False)
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-3, atol=1e-4)
    chosen = suspects(found, table).head(5)
    assert chosen.index.tolist() == expected["score"].nlargest(5).index.tolist()
    assert chosen["example"].tolist() == [str(each) for each in chosen.index]


def test_equal_scores_keep_the_order_of_the_examples() -> None:
    found = Collection(np.zeros((4, 2)), np.array([0, 1, 1, 0]), ("a", "b"), ("p", "q", "r", "s"))
    table = pd.DataFrame(
        {"score": [1.0, 2, 1, 2], "label": found.labels, "prediction": [1, 0, 1, 0], "probability": 0.5}
    )
    chosen = suspects(found, table).head(3)
    assert chosen[["example", "label", "prediction"]].to_numpy().tolist() == [
        ["q", "b", "a"],
        ["s", "a", "a"],
        ["p", "a", "b"],
    ]


@pytest.mark.parametrize("estimator", ["turnover", *SCORES])
def test_every_estimator_that_is_offered_works_and_all_but_one_have_been_measured(
    estimator: str, digits: tuple[Path, set[int]], root: Path
) -> None:
    known = expectations(validated(root / "outputs" / "reference"), estimator, 1)
    assert [each.share for each in known] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.4] * (estimator != "learning")
    assert all(len(each.precision) == 3 for each in known)
    config = config_of(digits[0] / "digits.npz", "epochs=1", f"estimator={estimator}", "model=mlp", "model.hidden=[8]")
    table = suspects(collect(Path(config.data), None), scored(collect(Path(config.data), None), config, progress=False))
    assert np.isfinite(table["score"]).all()


def test_a_page_for_more_than_there_are_shows_all(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).random((20, 5, 5)), y=np.arange(20) % 2)
    folder = audit(config_of(tmp_path / "own.npz", "k=100", "epochs=1", "model.width=2"))
    assert (folder / "gallery.html").read_text().count("<img ") == len(pd.read_csv(folder / "suspects.csv")) == 20


def test_vectors_are_audited_too(tmp_path: Path) -> None:
    data = load_digits()
    np.savez(tmp_path / "own.npz", x=data.data, y=data.target)
    config = config_of(tmp_path / "own.npz", "epochs=1", "k=3", "model=mlp", "model.hidden=[8]", "precision=auto")
    text = (audit(config) / "gallery.html").read_text()
    assert "<img" not in text
    assert f"momentum 0.9, {settle('auto', torch.device('cpu'))}, seeds" in text
    with pytest.raises(RefusedInput, match="x holds vectors, no images; set model=mlp"):
        audit(config_of(tmp_path / "own.npz"))


# --- what to expect ---


def test_the_default_is_what_the_committed_table_recommends(root: Path) -> None:
    default = yaml.safe_load((root / "conf" / "audit.yaml").read_text())["defaults"][1]["estimator"]
    assert default == recommended(validated(root / "outputs" / "reference")) == "cumulative_loss"


def test_expectations_are_rows_of_the_committed_table(root: Path) -> None:
    table = pd.read_csv(root / "outputs" / "reference" / "laptop" / "validate" / "table.csv")
    alike = (table["noise"] == "symmetric") & (table["augmentation"] == "none") & (table["estimator"] == "el2n")
    known = expectations(validated(root / "outputs" / "reference"), "el2n", 12)
    for each in known:
        rows = table[alike & (table["wrong"] == round(3000 * each.share)) & (table["seeds"] == each.seeds)]
        assert each.seeds == (10 if each.share == 0.1 else 3)
        assert sorted(each.precision.values()) == sorted(rows["precision"].tolist())
    assert nearest(known, 0.06).share == 0.05
    assert nearest(known, 0.9).share == 0.4
    assert nearest(known, 0.0001).share == 0.01
    assert "mean scores of 3 trainings" in nearest(known, 0.05).sentence()
    assert "scores of one training" in expectations(validated(root / "outputs" / "reference"), "aum", 1)[0].sentence()


@pytest.mark.parametrize("estimator", ["cumulative_loss", "turnover"])
def test_the_time_is_foretold(digits: tuple[Path, set[int]], estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(digits[0] / "digits.npz", f"estimator={estimator}", "epochs=7", "batch_size=100")
    collection, clock, trainings = collect(Path(config.data), None), [0.0], []

    def training(few: Collection, config: AuditConfig, *, epochs: int, **other: Any) -> pd.DataFrame:
        table = scored(few, config, epochs=epochs, **other)
        trainings.append(len(few))
        clock[0] += (60 if len(trainings) == 1 else 5) + 2 * epochs  # the first takes longer
        return table

    monkeypatch.setattr("turnover.audit.suspects.scored", training)
    monkeypatch.setattr("turnover.audit.suspects.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    once = 5 + 2  # what comes once holds an epoch of the few examples
    assert seconds(collection, config, 3) == pytest.approx(3 * (once + 7 * 2 * len(collection) / trainings[0]))


def test_nothing_is_promised_where_nothing_like_it_was_measured(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(3000) % 10
    like = Collection(random.integers(256, size=(3000, 3, 32, 32), dtype=np.uint8), labels, tuple("abcdefghij"), ())
    config = config_of(tmp_path)
    assert unlike(config, like, 0.05) == []
    assert unlike(config_of(tmp_path, "epochs=19", "optimizer.lr=0.1"), like, 0.05) == ["epochs", "optimizer"]
    assert unlike(config_of(tmp_path, "model=mlp"), like, 0.05) == ["model"]
    assert unlike(config_of(tmp_path, "features=torchvision:resnet18"), like, 0.05) == ["features=torchvision:resnet18"]
    assert unlike(config, replace(like, values=like.values[:300]), 0.05) == ["300 examples"]
    assert unlike(config, replace(like, values=like.values[:, :, :16]), 0.05) == ["a size of 16 x 32"]
    assert unlike(config, replace(like, classes=("a", "b")), 0.05) == ["2 classes"]
    assert unlike(config, like, 0.9) == ["90 % of them on this page"]


def test_a_score_that_was_not_measured_promises_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, labels = random.integers(256, size=(1500, 3, 32, 32), dtype=np.uint8), np.arange(1500) % 10
    known = Knowledge(0.9, 0.1, 1500, WrongShare(0.05, 0.04, 0.06))
    like = Collection(x, labels, tuple("abcdefghij"), ())
    for estimator, told in (("cumulative_loss", "on MNIST"), ("learning", "was not measured .*learning")):
        config = config_of(tmp_path, f"estimator={estimator}")
        text, measured = _expected(like, config, known, score_of(config.estimator))
        assert re.search(told, text)
        assert bool(measured) == (estimator == "cumulative_loss")


# --- refusals ---


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("k=0", "k = 0: should be greater"),
        ("data=", "data = '': "),
        ("model=vgg11", "images of 8 x 8 pixels are too small"),
        ("estimator=subsampling", "estimator.name = 'subsampling': allowed: 'one_run', 'turnover'"),
        ("size=1000", "size = 1000"),
        ("estimator=turnover estimator.targets=3", "estimator.targets are for runs"),
        ("optimizer.decay=weights", "optimizer.decay is for runs"),
        ("estimator=el2n estimator.early=21", "estimator.early = 21 is too large"),
        ("device=tpu", "device = 'tpu': allowed"),
    ],
)
def test_options_that_do_not_suit(digits: tuple[Path, set[int]], override: str, told: str) -> None:
    with pytest.raises(RefusedInput, match=told):
        audit(config_of(digits[0] / "digits", *override.split()))


def test_images_that_are_not_square(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).random((20, 6, 9)), y=np.arange(20) % 2)
    with pytest.raises(RefusedInput, match="takes square images, these are 9 x 6 pixels"):
        audit(config_of(tmp_path / "own.npz", "k=2"))
    assert audit(config_of(tmp_path / "own.npz", "k=2", "model=mlp", "model.hidden=[4]", "epochs=1")).is_dir()


def test_a_diverging_training_writes_nothing(digits: tuple[Path, set[int]], outputs: Path) -> None:
    with pytest.raises(RunFailed):
        audit(config_of(digits[0] / "digits", "optimizer.lr=1e30", "epochs=2"))
    assert not outputs.exists()


# --- the script and the door ---


def script(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.script(root / "scripts" / "audit.py", *arguments, environment=os.environ | environment, where=root)


def test_the_script_tells_plan_and_results(digits: tuple[Path, set[int]], root: Path, tmp_path: Path) -> None:
    options = ("k=5", "epochs=1", "device=cpu")
    done = script(root, f"data={digits[0] / 'digits.npz'}", *options, TURNOVER_OUTPUTS=str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.parent == tmp_path / "results" / "audit"
    assert folder.name.startswith("digits.npz-")
    assert "1797 examples of 1 x 8 x 8 in 10 classes" in done.stderr
    assert re.search(r"to do: one training of conv for 1 epoch, estimator cumulative_loss, .* about \d+ s", done.stderr)
    assert "what to expect: " in done.stderr
    assert f"open {folder / 'gallery.html'}" in done.stderr
    refused = script(root, f"data={tmp_path / 'nothing'}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("refused: data = ")
    asked = script(root, "--help")
    assert asked.stdout.startswith("Which labels of your own images are wrong?")
    assert "k: 100" in asked.stdout
    assert "corruption" not in asked.stdout
    unnamed = script(root)
    assert unnamed.returncode == 2
    assert "data" in unnamed.stderr


def test_the_door_asks_for_data(root: Path) -> None:
    done = subprocess.run(["make", "-o", ".venv/installed", "audit"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert "make audit DATA=path" in done.stdout


# --- the page ---


def test_the_page_holds_every_suspect_and_nothing_from_elsewhere(audited: Path) -> None:
    text, table = (audited / "gallery.html").read_text(), pd.read_csv(audited / "suspects.csv").head(WRONG)
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == []
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<img ") == len(table)
    for example in table["example"]:
        assert f'<span class="name">{example}</span>' in text
    assert "on MNIST" not in text, "of 8 x 8 pixels nothing was measured"


def test_names_cannot_become_code(root: Path) -> None:
    evil = '"><script>alert(1)</script>'
    found = Collection(np.zeros((2, 1, 4, 4), dtype=np.uint8), np.array([0, 1]), (evil, "b"), (evil, "q"))
    scores = pd.DataFrame({"score": [2.0, 1], "label": [0, 1], "prediction": [1, 0], "probability": 0.5})
    known = expectations(validated(root / "outputs" / "reference"), "aum", 1)
    options: dict[str, Any] = {"expected": evil, "all_expected": known, "settings": {"features": evil, "score": evil}}
    text = page(found, suspects(found, scores), title=evil, known=evil, warning=evil, remarks=[evil], **options)
    assert "on MNIST" not in text, "what was measured stands in the table alone"
    assert "<script>alert" not in text
    assert html.escape(evil, quote=False)[2:30] in text.replace("&#34;", '"')


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_in_a_browser(audited: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    table = pd.read_csv(audited / "suspects.csv").head(WRONG)
    trouble: list[str] = []
    asked: list[str] = []
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for width, scheme in ((1200, "light"), (360, "dark")):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)  # type: ignore[arg-type]
            shown = context.new_page()
            shown.on("console", lambda message: trouble.append(message.text))
            shown.on("pageerror", lambda error: trouble.append(str(error)))
            shown.on("requestfailed", lambda request: trouble.append(request.url))
            shown.on("request", lambda request: asked.append(request.url))
            shown.goto((audited / "gallery.html").as_uri())
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            cards = shown.locator("#suspects li:visible")
            assert cards.count() == len(table)
            assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 8)")
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
            dark = shown.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
            assert dark == (scheme == "dark")
            label = str(table["label"][0])
            shown.select_option("#given", label)
            alike = table[table["label"] == label]
            assert cards.count() == len(alike)
            assert shown.locator("#count").inner_text() == f"{len(alike)} shown"
            cards.first.focus()
            shown.keyboard.press("ArrowRight")
            focused = json.loads(shown.evaluate("JSON.stringify(document.activeElement.innerText)"))
            assert str(alike["example"].iloc[1]) in focused
            shown.keyboard.press("w")
            cards.nth(2).get_by_role("button", name="right").click()
            cards.first.focus()
            shown.keyboard.press("r")
            shown.keyboard.press("u")
            assert shown.locator("#marked").inner_text() == "2 marked, 1 of them wrong"
            with shown.expect_download() as download:
                shown.get_by_role("button", name="Save").click()
            assert download.value.suggested_filename == "marks.csv"
            marks = pd.read_csv(download.value.path())
            assert marks["example"].tolist() == alike["example"].iloc[1:3].tolist()
            assert marks["prediction"].tolist() == alike["prediction"].iloc[1:3].tolist()
            assert marks["mark"].tolist() == ["wrong", "right"]
            context.close()
        browser.close()
    assert trouble == []
