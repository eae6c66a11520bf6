"""The page in a real browser: sections, searches, a sort, a hover, the keyboard, a phone; no error, no request."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits import digits
from sklearn.datasets import load_digits

from turnover.experiments import results
from turnover.experiments.report import make as making
from turnover.experiments.report import sections, sets
from turnover.experiments.report.explorer import small
from turnover.experiments.report.make import ReportJob
from turnover.experiments.report.sets import ExampleSet
from turnover.experiments.results import SCALES, committed
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")

SECTIONS = ("overview", "figures", "studies", "explorer", "scatter", "leakage", "validation", "cost", "provenance")
LARGE = 1_000_000
RUNS = [digits(f"seed={seed}", "corruption=labels", "corruption.count=200", "estimator.epochs=[1]") for seed in (0, 1)]


def large() -> ExampleSet:
    """More rows than a page holds, of numbers that nobody measured, in hundredths, so that some are equal."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"label": generator.integers(10, size=LARGE)}, index=pd.RangeIndex(LARGE, name="id"))
    table["a"], noise = generator.normal(size=(2, LARGE))
    table["b"] = (0.8 * table["a"] + 0.6 * noise).round(2)
    return ExampleSet("large", "many rows", "made", "mnist", table, {"a": "first", "b": "second"}, "scores.parquet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed results, their pictures small, of two real runs on digits, and of a million rows."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(folder))
        patch.setenv("TURNOVER_DATA", str(folder / "no data"))
        for config in RUNS:
            execute(config)
        patch.setattr(sets, "sweep", lambda overrides: RUNS)
        for module in (making, sections):
            patch.setattr(module, "figure", small)
        real = sets.from_store
        patch.setattr(sets, "from_store", lambda *given: ([*real(*given)[0], large()], ["scores_mnist"]))
        path = making.make(ReportJob(scale="laptop", examples=["some"]))
    assert path == folder / "report" / "index.html"
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


class Looked:
    """A page, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#rows tbody tr")
        self.until("!view.pending")

    def until(self, condition: str) -> None:
        """Wait for a condition; the page's own policy forbids what Playwright would do for that."""
        while not self.page.evaluate(condition):
            self.page.wait_for_timeout(50)

    def image(self, canvas: str) -> list[int]:
        """The grey levels of a canvas that shows an image of digits, once it is drawn.  # [64]"""
        self.until(f"'drawn' in document.querySelector('{canvas}').dataset")
        levels = f"document.querySelector('{canvas}').getContext('2d').getImageData(0, 0, 8, 8).data"
        return list(self.page.evaluate(f"Array.from({levels}).filter((value, place) => place % 4 === 0)"))

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def agreement(self) -> str:
        """What stands over the scatter, which waits for the images."""
        self.until("!view.pending")
        return self.text("#agreement")

    def column(self, place: int) -> list[str]:
        cells = self.page.locator(f"#rows tbody tr > :nth-child({place})").all_inner_texts()
        return [str(cell) for cell in cells]


@pytest.fixture
def looked(browser: Any, made: Path) -> Iterator[Looked]:
    found = Looked(browser, made, viewport={"width": 1280, "height": 900})
    yield found
    assert found.said == [], "the console is silent"
    assert [url for url in found.asked if not url.startswith(("data:", "blob:"))] == [made.as_uri()]
    found.context.close()


def test_every_section_is_there_with_its_content(looked: Looked) -> None:
    page = looked.page
    assert page.locator("nav a").evaluate_all("links => links.map(link => link.hash.slice(1))") == list(SECTIONS)
    for section in SECTIONS:
        assert page.locator(f"#{section} h2").is_visible()
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    known = {id for scale in SCALES for values in committed(scale).values() for id in values["claims"]}
    assert set(page.locator(".claim").evaluate_all("all => all.map(each => each.id)")) == {
        f"claim-{id}" for id in known
    }
    assert "reproduced" in looked.text("#fig2 #claim-2b")
    assert page.locator("#fig3 .at-scale").count() == 2, "laptop and paper scale"
    assert page.locator("#studies #onion").count() == 1
    assert "epochs 20 (paper scale: 200)" in looked.text("#fig7")
    broken = "images => images.filter(image => !image.complete || !image.naturalWidth).length"
    looked.until("[...document.images].every(image => image.complete)")
    assert page.locator("img").count() > 24
    assert page.locator("img").evaluate_all(broken) == 0
    assert page.locator("img").evaluate_all("images => images.every(image => image.alt)")
    assert "masks in block5 only" in looked.text("#leakage")
    assert "cumulative loss" in looked.text("#validation")
    assert "F.dropout" in looked.text("#cost")
    assert "torch 2." in looked.text("#provenance")
    assert "make fig7 SCALE=laptop" in looked.text("#explorer")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    inside = page.locator("a[href^='#']").evaluate_all("links => links.map(link => link.hash.slice(1))")
    assert set(inside) <= set(ids)


def test_the_first_screen_holds_verdicts_pictures_and_the_way_to_the_examples(browser: Any, made: Path) -> None:
    found = Looked(browser, made, viewport={"width": 1280, "height": 800})
    page = found.page
    for wanted in (".verdicts tbody tr:last-child", ".thumbnails a:nth-child(3) img", ".door"):
        box = page.locator(wanted).bounding_box()
        assert box["y"] + box["height"] <= 800, wanted
    assert page.locator(".verdicts tbody tr").count() == 10
    page.click(".door")
    found.until("document.querySelector('#explorer').getBoundingClientRect().top < 200")
    found.context.close()


def test_a_search_leads_to_a_claim_and_opens_what_is_folded(looked: Looked) -> None:
    page = looked.page
    assert page.locator("#claim-3c").is_hidden()
    page.fill("#find", "accuracy peaks")
    assert looked.text("#hits").startswith("3c")
    page.keyboard.press("Enter")
    assert page.locator("#claim-3c").is_visible()
    assert page.locator("#hits").is_hidden()
    page.fill("#find", "Validation")
    assert looked.text("#hits a").startswith("Validation")
    page.fill("#find", "no such words")
    assert looked.text("#hits") == "nothing found"
    page.keyboard.press("Escape")
    assert page.locator("#hits").is_hidden()
    page.click(".verdicts a[href='#claim-10c']")
    assert page.locator("#claim-10c").is_visible()


def mean_of_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(folder))
    first, second = (read_scores(sets._folder(config)) for config in RUNS)
    first["score"] = (first["score"].astype(float) + second["score"]) / 2
    return first


def test_search_and_sort_show_what_the_tables_say(looked: Looked, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = mean_of_runs(made.parents[1], monkeypatch)
    page = looked.page
    assert looked.text("#count") == "1,500 of 1,500 examples"
    falling = table["score"].sort_values(ascending=False).to_numpy()[:25]
    of_shown = table.loc[[int(text) for text in looked.column(2)], "score"].to_numpy()
    np.testing.assert_allclose(of_shown, falling, rtol=1e-3)  # what is packed has three digits
    page.click("#rows [data-sort=own_loss]")
    assert page.get_attribute("#rows th[aria-sort]", "aria-sort") == "descending"
    shown = [float(text) for text in looked.column(7)]
    assert shown == sorted(shown, reverse=True)
    page.click("#rows [data-sort=own_loss]")
    shown = [float(text) for text in looked.column(7)]
    assert shown == sorted(shown)
    page.fill("#f-id", "17")
    assert looked.column(2) == ["17"]
    assert "Example 17, training example" in looked.text("#detail")
    assert f"{float(table.loc[17, 'score']):.2g}"[:3] in looked.text("#detail")  # type: ignore[arg-type]
    page.fill("#f-id", "100-199")
    assert looked.text("#count") == "100 of 1,500 examples"
    page.fill("#f-id", "not a number")
    assert looked.text("#count") == "0 of 1,500 examples"
    assert "No example" in looked.text("#detail")
    page.click("text=Reset")
    looked.until("document.getElementById('count').textContent.startsWith('1,500 of')")
    page.select_option("#f-class", label="3")
    page.select_option("#f-kind", "wrong")
    chosen = table[(table["label"] == 3) & (table["label"] != table["true_label"])]
    assert looked.text("#count") == f"{len(chosen)} of 1,500 examples"
    assert all("really" in text for text in looked.column(3))
    middle = float(chosen["score"].sort_values().iloc[4:6].mean())  # between two, that no rounding counts
    page.fill("#f-from", f"{middle}")
    assert looked.text("#count").split()[0] == str(int((chosen["score"] >= middle).sum()))


def test_an_example_shows_its_image_and_its_curve(looked: Looked) -> None:
    page = looked.page
    page.fill("#f-id", "5")
    np.testing.assert_allclose(looked.image("#detail canvas"), load_digits().images[5].ravel() * 255 / 16, atol=9)
    assert page.get_attribute("#detail canvas", "aria-label").startswith("image 5, ")
    assert page.locator("#detail svg polyline").count() == 2
    assert "Loss over epochs 1 to" in page.locator("#detail svg title").text_content()
    assert page.locator("#rows canvas").first.is_visible()


def test_hovering_over_the_scatter_shows_an_example(looked: Looked) -> None:
    page = looked.page
    page.locator("#points").scroll_into_view_if_needed()
    assert "1,500 examples: Spearman correlation" in looked.agreement()
    box = page.locator("#points").bounding_box()
    x, y = page.evaluate("[plot.places[2 * 40], plot.places[2 * 40 + 1]]")
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert page.locator("#tip").is_visible()
    assert "Example" in looked.text("#tip")
    id = int(looked.text("#tip").split()[1])
    np.testing.assert_allclose(looked.image("#tip canvas"), load_digits().images[id].ravel() * 255 / 16, atol=9)
    page.mouse.move(box["x"] + 2, box["y"] - 5)
    assert page.locator("#tip").is_hidden()
    before = looked.agreement()
    page.select_option("#f-kind", "wrong")
    assert looked.agreement() != before, "filters hold for the scatter"


def test_the_correlation_is_that_of_the_tables(looked: Looked) -> None:
    validated = results.validation("laptop")
    assert validated is not None
    page = looked.page
    page.select_option("#set", "validate-mnist")
    looked.until("document.getElementById('count').textContent.startsWith('3,000')")
    mine = validated.table.query(
        "estimator == 'turnover' and dataset == 'mnist' and wrong == 300 and noise == 'symmetric'"
    )
    [known] = mine[(mine["seeds"] > 1) & (mine["augmentation"] == "none")]["spearman"]
    assert float(looked.agreement().split()[-1]) == pytest.approx(known, abs=0.002)


def test_the_keyboard_reaches_everything(looked: Looked) -> None:
    page = looked.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    looked.until("document.activeElement.id === 'main'")
    focused = "(each => [each.id, each.tagName, getComputedStyle(each).outlineStyle])(document.activeElement)"
    page.evaluate("document.querySelector('#explorer').scrollIntoView()")
    page.focus("#set")
    seen = []
    for _ in range(100):
        page.keyboard.press("Tab")
        id, tag, outline = page.evaluate(focused)
        if tag == "BODY":  # behind the last one
            break
        assert outline != "none", f"{tag} {id} does not show that it has the focus"
        seen.append(id)
    for wanted in (
        "f-id",
        "f-class",
        "f-kind",
        "f-from",
        "f-to",
        "f-sort",
        "direction",
        "next",
        "x",
        "y",
        "form",
        "points",
    ):
        assert wanted in seen
    page.locator("#rows .id button").first.focus()
    page.keyboard.press("ArrowDown")
    second = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert f"Example {second}," in looked.text("#detail")
    page.focus("#points")
    page.keyboard.press("End")
    last = looked.text("#tip")
    page.keyboard.press("ArrowLeft")
    assert looked.text("#tip") != last
    assert page.locator("#spoken").text_content().startswith("Example ")
    page.keyboard.press("Enter")
    assert looked.text("#tip").splitlines()[0] in looked.text("#detail")
    unnamed = "each => [...each].filter(one => !one.labels.length && !one.getAttribute('aria-label')).length"
    assert page.locator("select, input").evaluate_all(unnamed) == 0


def test_of_a_million_rows_the_page_shows_a_part_that_stands_for_all(looked: Looked) -> None:
    page, table = looked.page, large().table
    page.select_option("#set", "large")
    looked.until("document.getElementById('count').textContent.includes('1,000,000')")
    assert (
        looked.text("#count") == "70,000 of 70,000 examples on this page, which stand for about 1,000,000 of 1,000,000"
    )
    assert "scores.parquet" in looked.text("#set-about")
    of_shown = table.loc[[int(id) for id in looked.column(2)], "a"]
    np.testing.assert_allclose(of_shown, table["a"].nlargest(25), rtol=1e-3)  # what is packed has three digits
    page.click("#last")
    assert looked.text("#page") == "page 2,800 of 2,800"
    of_shown = table.loc[[int(id) for id in looked.column(2)], "a"]
    np.testing.assert_allclose(of_shown, table["a"].nsmallest(25)[::-1], rtol=1e-3)
    rho = table.corr("spearman").loc["a", "b"]
    assert float(looked.agreement().split()[-1]) == pytest.approx(rho, abs=0.005)
    spent = page.evaluate(
        "(() => { const start = performance.now(); sortBy('b', true); return performance.now() - start; })()"
    )
    assert spent < 3000  # ms, on a slow and busy machine; about 300 on an idle one
    assert page.locator("#rows tbody tr").count() == 25
    assert float(looked.column(5)[0]) == pytest.approx(table["b"].max(), rel=1e-3)
    page.select_option("#f-class", label="3")
    page.fill("#f-from", "0.5")
    [stand] = re.findall(r"about ([\d,]+) of", looked.text("#count"))
    passing = int(((table["label"] == 3) & (table["a"] >= 0.5)).sum())
    assert int(stand.replace(",", "")) == pytest.approx(passing, rel=0.1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, made: Path, scheme: str) -> None:
    found = Looked(browser, made, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    page = found.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for section in SECTIONS:
        page.locator(f"#{section}").scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#rows .id button").nth(3).tap()
    assert "Example" in found.text("#detail")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert found.said == []
    found.context.close()
