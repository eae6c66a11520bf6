"""Numbers of learning curves against slow versions, and what figures 3, 5, 6 and 10 make of known curves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import curve_oracles as oracles
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from agreement_oracles import spearman
from digits import digits
from hypothesis import given
from hypothesis import strategies as st

from turnover.common.files import write_json
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.experiments.figures import fig4, fig10
from turnover.experiments.figures import interface as figures
from turnover.experiments.figures.fig4 import least_certain
from turnover.experiments.plots import learning_curves as dynamics
from turnover.experiments.plots.curves import curves
from turnover.experiments.plots.figure import ClaimConfig, FigureConfig, MeasureConfig, Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import style
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import Metric, write_metrics, write_subsets
from turnover.stats.claims import Claim, measure_seeds
from turnover.training.loop import steps_per_epoch

Key = tuple[str, str]  # split and subset
Curve = dict[float, float]
Where = Callable[[RunConfig], bool]  # which runs of a figure
T = TypeVar("T")


def series(curve: Curve) -> pd.Series:
    return pd.Series(curve, dtype=float).sort_index()


# few different values, so that ties and levels met exactly are common
accuracies = st.sampled_from([0.0, 0.1, 0.5, 0.85, 0.9, 0.95, 1.0]) | st.floats(0, 1)


@st.composite
def curve_sets(draw: st.DrawFn, least: int = 1, most: int = 3) -> list[Curve]:
    """Curves of the same tracked epochs, of which 0 and the last always are."""
    last = draw(st.integers(1, 210))
    between = draw(st.sets(st.integers(1, last), max_size=12))
    epochs = sorted({0, last, *between})
    return [{epoch: draw(accuracies) for epoch in epochs} for _ in range(draw(st.integers(least, most)))]


# --- numbers of a curve ---


@given(curve_sets(), accuracies)
def test_numbers_of_a_curve_agree_with_walking_along_it(found: list[Curve], level: float) -> None:
    curve = found[0]
    assert dynamics.reached(series(curve), level) == oracles.reached(curve, level)
    assert dynamics.early_gain(series(curve)) == oracles.early_gain(curve)
    assert dynamics.halfway(series(curve)) == pytest.approx(oracles.halfway(curve), abs=1e-9)
    assert dynamics.highest(series(curve)) == max(curve.values())
    peak = dynamics.peak_epoch(series(curve))
    assert [value for epoch, value in curve.items() if epoch < peak and value >= curve[int(peak)]] == []
    assert curve[int(peak)] == max(curve.values())


@given(curve_sets(least=2))
def test_numbers_of_two_curves_agree_with_walking_along_them(found: list[Curve]) -> None:
    one, two = series(found[0]), series(found[1])
    ahead = oracles.reached(found[1], 0.9) - oracles.reached(found[0], 0.9)
    assert dynamics.epochs_ahead(one, two) == ahead == -dynamics.epochs_ahead(two, one)
    assert dynamics.lead(one, two) == pytest.approx(oracles.lead(found[0], found[1]), abs=1e-12)
    half = [oracles.halfway(curve) for curve in found]
    assert dynamics.faster(one, two) == pytest.approx(half[1] - half[0], abs=1e-9)
    there = oracles.at(found[0], half[0]) - 0.3
    if abs(there) > 1e-6:  # a division by next to nothing has no digits
        expected = oracles.together(found[0], found[1], 0.3)
        assert dynamics.together(one, two, 0.3) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert dynamics.gain_over(one, two) == oracles.early_gain(found[0]) - oracles.early_gain(found[1])
    last = max(found[0])
    assert dynamics.final_gap(one, two) == found[0][last] - found[1][last] == -dynamics.final_gap(two, one)


@given(curve_sets(most=1), accuracies)
def test_epochs_of_a_curve_agree_with_its_straight_lines(found: list[Curve], level: float) -> None:
    [curve] = found
    assert dynamics.crossed(series(curve), level) == pytest.approx(oracles.crossed(curve, level), abs=1e-6)
    short = {epoch: value for epoch, value in curve.items() if epoch <= 10}
    assert dynamics.unfitted(series(short)) == pytest.approx(oracles.unfitted(short), abs=1e-6)


@given(curve_sets(least=2, most=6))
def test_later_is_a_rank_correlation_of_epochs(found: list[Curve]) -> None:
    numbers = [10 * level for level in range(len(found))]
    table = pd.DataFrame(dict(zip(numbers, map(series, found), strict=True)))
    expected = spearman(numbers, [dynamics.unfitted(series(curve)) for curve in found])
    assert dynamics.later(table) == pytest.approx(expected, abs=1e-12)
    assert dynamics.later(table[table.columns[::-1]]) == pytest.approx(expected, abs=1e-12)
    epochs = spearman(numbers, [oracles.reached(curve, 0.9) for curve in found])
    by_reading = dynamics.later(table, lambda curve: dynamics.reached(curve, 0.9))
    assert by_reading == pytest.approx(epochs, abs=1e-12)


@pytest.mark.parametrize("method", ["plain", "co_teaching"])
def test_curves_within_epochs_know_how_long_these_are(outputs: Path, method: str) -> None:
    repeated = ("corruption=copies", "corruption.count=20", "corruption.sizes=[6]")  # 201 a pass, 9 steps
    config = digits(
        *("turnover=off", "epochs=3", "dataset.limit=101", "batch_size=25", "model.hidden=[16]", *repeated),
        *(f"method={method}", "tracking.steps=[3,16]"),
        entry="train",
    )
    drawn = curves([Source(config, execute(config))], "test", "all", "full_loss", within=True)
    assert drawn.index.tolist() == [0, 3 / 9, 1 + 7 / 9, 3]


def test_one_reading_does_not_decide_what_is_fitted_later() -> None:
    slow, slower = ({float(epoch): min(1.0, epoch / last) for epoch in range(21)} for last in (12, 14))
    slower[10] = 0.92  # by chance
    table = pd.DataFrame({0: series(slow), 1: series(slower)})
    assert dynamics.later(table, lambda curve: dynamics.reached(curve, 0.9)) == pytest.approx(-1)
    assert dynamics.later(table) == pytest.approx(1)
    assert dynamics.later(pd.DataFrame({0: series(slower), 1: series(slow)})) == pytest.approx(-1)


@given(curve_sets(least=1, most=4))
def test_falls_are_measured_at_the_peak_of_the_other_seeds(found: list[Curve]) -> None:
    rounded = [{epoch: round(1000 * value) / 1000 for epoch, value in curve.items()} for curve in found]
    table = pd.DataFrame({seed: series(curve) for seed, curve in enumerate(rounded)})
    if len(found) <= 2:  # with more, rounding of sums may move a tie
        assert dynamics.falls(table) == pytest.approx(oracles.falls(rounded), abs=1e-12)
    if len(found) == 1:
        assert dynamics.falls(table)[0] >= 0


@pytest.mark.parametrize(("last", "tenth"), [(70, 7), (71, 8), (4, 1), (10, 1), (11, 2), (200, 20)])
def test_a_tenth_of_the_epochs_is_rounded_up(last: int, tenth: int) -> None:
    assert dynamics.early_gain(series({epoch: float(epoch) for epoch in range(last + 1)})) == tenth


def test_a_tenth_of_the_epochs_is_one_that_was_tracked() -> None:
    assert dynamics.early_gain(series({0: 0.1, 5: 0.2, 10: 0.4, 100: 1.0})) == pytest.approx(0.3)
    assert dynamics.early_gain(series({0: 0.1, 5: 0.2, 15: 0.6, 100: 1.0})) == pytest.approx(0.5)


def test_noise_alone_does_not_fall() -> None:
    generator = np.random.default_rng(0)
    found = [dynamics.falls(pd.DataFrame(generator.normal(0.5, 0.02, (30, 3)))) for _ in range(200)]
    assert abs(np.mean(found)) < 0.003, "the highest of 30 noisy values lies 0.04 above their mean"


@given(curve_sets(least=1, most=4))
def test_a_lead_is_taken_where_it_is_least_certain(found: list[Curve]) -> None:
    leads = {seed: {epoch: value for epoch, value in curve.items() if epoch} for seed, curve in enumerate(found)}
    table = pd.DataFrame({seed: series(curve) for seed, curve in leads.items()})
    before = pd.DataFrame(-9.0, index=[0], columns=table.columns)  # training has not begun
    got = least_certain(pd.concat([before, table]), 0 * pd.concat([before, table]))
    certain = {epoch: oracles.certainty(list(table.loc[epoch])) for epoch in table.index}
    least = min(certain.values())
    assert got in [list(table.loc[epoch]) for epoch in certain if certain[epoch] <= least + 1e-9 * max(1, abs(least))]


def test_one_epoch_without_a_lead_is_seen_among_others_that_have_one() -> None:
    generator = np.random.default_rng(0)
    leads = generator.normal(0, 1, (400, 11, 3)) + np.array([[0.0], *[[3.0]] * 10])  # the first epoch has none
    found = [least_certain(pd.DataFrame(lead, index=range(1, 12)), 0.0) for lead in leads]  # type: ignore[arg-type]
    reproduced = np.mean([measure_seeds("", one, above=0).verdict == "reproduced" for one in found])
    assert reproduced < 0.04, "one in forty by luck"


def test_leads_of_gradients_before_training_and_how_many_epochs_there_are_after_it() -> None:
    value = {"easy (real labels)": 0.5, "difficult (random labels)": 0.2, "all": 0.3}
    watched = {"a": (1, 5, 9), "b": (1, 5, 9), "c": (0, 4, 8, 9), "d": (1, 9)}
    table = pd.DataFrame(
        [
            {"panel": panel, "curve": name, "seed": seed, "epoch": epoch, "value": middle * (1 + epoch + 0.1 * seed)}
            for panel, epochs in watched.items()
            for name, middle in value.items()
            for seed in range(2)
            for epoch in epochs
        ]
    )
    found = fig4.measures(table)
    assert found["set_cosine_lead_initial"] == pytest.approx([0.3, 0.33])
    assert found["set_cosine_lead"] == pytest.approx([0.3 * 5, 0.3 * 5.1])
    least = fig4.least_of(table)
    assert least == {
        name: 2 if name.startswith("others") else 3 for name in found if "over" in name or name.endswith("lead")
    }
    for name in ("fig4", "fig4_rate", "fig4_vgg"):
        deciding = {
            measure
            for claim in configured(name).claims.values()
            for measure, bound in claim.measures.items()
            if (bound.above, bound.below) != (None, None)
        }
        assert deciding <= set(least)


# --- claims ---


def claim_of(monkeypatch: pytest.MonkeyPatch, sides: dict[str, MeasureConfig], **values: list[float]) -> Claim:
    """The claim 1 of figure 1 with these measures, of which a module gives these values."""
    figure = configured("fig1").model_copy(update={"claims": {"1": ClaimConfig(text="a claim", measures=sides)}})
    monkeypatch.setattr(figures.module(figure), "measures", lambda numbers: values, raising=False)
    [made] = figures.claims(figure, Plotted(pd.DataFrame()), ["mnist"], "laptop")
    return made


def test_a_claim_holds_every_measure_against_its_own_side(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = {"high": side(above=0.5), "low": side(below=0.5), "told": side(), "needed": side(above=0.9, condition=True)}
    values = {"low": [0.1, 0.2], "high": [0.7, 0.70001], "told": [0.5, 0.5], "needed": [1.0, 1.0], "unused": [9.0]}
    made = claim_of(monkeypatch, sides, **values)
    assert [(each.name, each.by_seed, each.verdict, each.condition) for each in made.measures] == [
        ("high", (0.7, 0.70001), "reproduced", False),
        ("low", (0.1, 0.2), "inconclusive", False),
        ("told", (0.5, 0.5), None, False),
        ("needed", (1.0, 1.0), "reproduced", True),
    ]
    assert (made.id, made.text, made.verdict) == ("1", "a claim", "inconclusive")


def test_claims_that_share_a_measures_name_are_told_apart_by_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    assert figures.of_claim({"1a x": [1.0], "x": [2.0]}, "1a", "x") == [1.0]
    assert figures.of_claim({"1a x": [1.0], "x": [2.0]}, "1b", "x") == [2.0]
    assert figures.of_claim({"1a x": [1.0]}, "1b", "x") is None
    with pytest.raises(AssertionError, match="fig1 does not measure x of claim 1"):
        claim_of(monkeypatch, {"x": side()}, y=[1.0])


def side(**sides: Any) -> MeasureConfig:
    return MeasureConfig(words="a measure", **sides)


def test_seeds_are_paired_by_their_number() -> None:
    one = pd.DataFrame({0: [0.0, 0.9], 2: [0.0, 0.6]})
    two = pd.DataFrame({2: [0.0, 0.1], 0: [0.0, 0.2]})
    assert dynamics.by_seed(dynamics.final_gap, one, two) == pytest.approx([0.7, 0.5])


# --- figures of known curves ---

SPLITS = {
    "fig3": [("train", "easy"), ("train", "difficult"), ("train", "control"), ("train", "all"), ("test", "all")],
    "fig5": [(split, subset) for split in ("train", "test") for subset in ("easy", "difficult", "all")],
    "fig6": [("train", "easy"), ("train", "difficult"), ("train", "random"), ("train", "all"), ("test", "all")],
    "fig10": [("train", "easy"), ("train", "difficult"), ("train", "all"), ("test", "all")],
}


def decided(figure: FigureConfig, sources: list[Source]) -> tuple[pd.DataFrame, list[Claim]]:
    """The plotted numbers of a figure, and its claims."""
    plotted = figures.module(figure).tabulate(sources)
    return plotted.numbers, figures.claims(
        figure, plotted, {source.config.dataset.name for source in sources}, "laptop"
    )


def lead(accuracy: float) -> float:
    """A made-up lead of wrong labels, beside an accuracy."""
    return accuracy**2 - 0.3


class Known:
    """A figure drawn from runs with made-up accuracies, and those accuracies."""

    def __init__(self, name: str) -> None:
        generator = np.random.default_rng(0)
        self.sources, self.curves = [], []
        self.figure = configured(name)
        for config in [
            one for each in self.figure.experiments for one in sweep([f"+experiment={each}", "scale=smoke"])
        ]:
            folder = Run(config).folder
            steps = steps_per_epoch(config.trained_size, config.batch_size)
            within = {divmod(step, steps) for step in config.tracking.steps if step <= config.epochs * steps}
            times = sorted({*within, *((epoch, 0) for epoch in range(config.epochs + 1))})
            at = [epoch + step / steps for epoch, step in times]
            made: dict[Key, Curve] = {key: {e: float(generator.random()) for e in at} for key in SPLITS[name]}
            rows = [
                Metric(epoch, *key, metric, value if metric == "full_accuracy" else generator.random(), step)
                for key, curve in made.items()
                for (epoch, step), value in zip(times, curve.values(), strict=True)
                for metric in ("accuracy", "own_accuracy", "full_accuracy", "full_loss")
            ]
            if DIFFICULT in made:
                rows += [
                    Metric(epoch, *DIFFICULT, "label_lead", lead(value), step)
                    for (epoch, step), value in zip(times, made[DIFFICULT].values(), strict=True)
                ]
            write_metrics(folder / "metrics.parquet", rows)
            write_json(folder / "manifest.json", {"examples_trained": config.trained_size * config.epochs})
            names = ["easy"] * 2 + ["difficult"] * 3 + ["random"]
            chosen = pd.DataFrame({"id": [3, 4, 7, 8, 9, 10], "subset": names})
            write_subsets(folder / "subsets.parquet", chosen.assign(split="train", label=0, score=0.0))
            self.sources.append(Source(config, folder))
            self.curves.append(made)
        self.numbers, self.claims = decided(self.figure, self.sources)
        with style():
            self.picture = figures.module(self.figure).draw(self.numbers, [source.config for source in self.sources])

    def measured(self, claim: str) -> dict[str, tuple[float, ...]]:
        """The values by seed of each measure of a claim."""
        [found] = [each for each in self.claims if each.id == claim]
        return {each.name: each.by_seed for each in found.measures}

    def expect(self, number: Callable[[dict[Key, Curve]], T], where: Where = lambda config: True) -> list[T]:
        """What `number` makes of the curves of each run, in the order of seeds."""
        both = zip(self.sources, self.curves, strict=True)
        some = [(source.config.seed, made) for source, made in both if where(source.config)]
        assert [seed for seed, _ in some] == [0, 1, 2]
        return [number(made) for _, made in some]

    def panel(self, letter: str, curve: str) -> list[Curve]:
        """What was plotted, a curve a seed."""
        rows = self.numbers.query("panel == @letter and curve == @curve")
        return [dict(zip(part["epoch"], part["value"], strict=True)) for _, part in rows.groupby("seed")]


@pytest.fixture(scope="module")
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp(request.param)))
        # of the three that are difficult the label of one is true
        images = SimpleNamespace(ids=torch.arange(20), true_labels=(torch.arange(20) != 8).long())
        patch.setattr(fig10, "load", lambda *config: SimpleNamespace(train=images))
        made = Known(request.param)
    yield made
    plt.close(made.picture)


def curve(split: str, subset: str) -> Callable[[dict[Key, Curve]], Curve]:
    """That curve of a run."""
    return lambda made: made[split, subset]


def last(split: str, subset: str) -> Callable[[dict[Key, Curve]], float]:
    """The value of that curve after the last epoch."""
    return lambda made: made[split, subset][max(made[split, subset])]


figure3 = pytest.mark.parametrize("known", ["fig3"], indirect=True)
figure5 = pytest.mark.parametrize("known", ["fig5"], indirect=True)
figure6 = pytest.mark.parametrize("known", ["fig6"], indirect=True)
figure10 = pytest.mark.parametrize("known", ["fig10"], indirect=True)

EASY, DIFFICULT, CONTROL, TEST = ("train", "easy"), ("train", "difficult"), ("train", "control"), ("test", "all")


@figure3
def test_fig3_of_known_curves(known: Known) -> None:
    ahead = known.expect(lambda made: oracles.reached(made[DIFFICULT], 0.9) - oracles.reached(made[EASY], 0.9))
    assert len(set(ahead)) > 1
    assert known.measured("3a") == {
        "epochs_ahead": tuple(ahead),
        "easy_highest": tuple(known.expect(lambda made: max(made[EASY].values()))),
    }
    gains = {key: known.expect(lambda made, key=key: oracles.early_gain(made[key])) for key in (DIFFICULT, CONTROL)}  # type: ignore[misc]
    leads = known.expect(lambda made: {epoch: lead(value) for epoch, value in made[DIFFICULT].items()})
    assert known.panel("c", "difficult, labels that are wrong") == leads
    assert known.measured("3b") == {
        "label_gain": tuple(map(oracles.early_gain, leads)),
        "early_gain": tuple(gains[DIFFICULT]),
        "over_control": tuple(a - b for a, b in zip(gains[DIFFICULT], gains[CONTROL], strict=True)),
    }
    assert known.measured("3c") == {
        "fall": tuple(oracles.falls([made[TEST] for made in known.curves])),
        "peak_epoch": tuple(known.expect(lambda made: max(made[TEST], key=lambda epoch: made[TEST][epoch]))),
        "peak_accuracy": tuple(known.expect(lambda made: max(made[TEST].values()))),
    }
    assert known.panel("a", "difficult (random labels)") == [made[DIFFICULT] for made in known.curves]
    assert known.panel("b", "all test examples") == [made[TEST] for made in known.curves]


@figure3
def test_fig3_of_runs_that_did_not_record_the_lead_of_wrong_labels(known: Known) -> None:
    older = known.numbers[known.numbers["panel"] != "c"]
    found = figures.measures(known.figure, older)
    assert np.isnan(found.pop("label_gain")).tolist() == [True] * 3
    assert found == {
        name: number for name, number in figures.measures(known.figure, known.numbers).items() if name in found
    }
    with style():
        picture = figures.module(known.figure).draw(older, [source.config for source in known.sources])
    assert [axes.get_title(loc="left") for axes in picture.axes if axes.axison] == [
        "(a) training accuracy",
        "(b) test accuracy",
    ]
    plt.close(picture)


@figure5
def test_fig5_of_known_curves(known: Known) -> None:
    def of(name: str) -> Where:
        return lambda config: config.dataset.name == name

    def lead(split: str) -> Callable[[dict[Key, Curve]], float]:
        return lambda made: oracles.lead(made[split, "easy"], made[split, "difficult"])

    def faster(split: str) -> Callable[[dict[Key, Curve]], float]:
        return lambda made: oracles.halfway(made[split, "difficult"]) - oracles.halfway(made[split, "easy"])

    def together(split: str) -> Callable[[dict[Key, Curve]], float]:
        return lambda made: oracles.together(made[split, "easy"], made[split, "difficult"], 0.1)

    for claim, split in (("5a", "train"), ("5b", "test")):
        found = known.measured(claim)
        for name in ("mnist", "cifar10"):
            assert found[f"lead_{name}"] == pytest.approx(known.expect(lead(split), of(name)), abs=1e-12)
            assert found[f"faster_{name}"] == pytest.approx(known.expect(faster(split), of(name)), abs=1e-9)
            assert found[f"together_{name}"] == pytest.approx(known.expect(together(split), of(name)), abs=1e-9)
    assert any(epoch % 1 for epoch in known.panel("a", "easy")[0]), "the first epochs are seen from within"
    found = known.measured("5c")
    for name in ("mnist", "cifar10"):
        easy, difficult = (known.expect(last("test", subset), of(name)) for subset in ("easy", "difficult"))
        assert found[f"final_gap_{name}"] == pytest.approx([a - b for a, b in zip(easy, difficult, strict=True)])
    panels = {"a": ("train", "mnist"), "b": ("test", "mnist"), "c": ("train", "cifar10"), "d": ("test", "cifar10")}
    for letter, (split, name) in panels.items():
        for subset in ("easy", "difficult", "all"):
            assert known.panel(letter, subset) == known.expect(curve(split, subset), of(name))


@figure5
def test_fig5_of_one_data_set_says_so_in_its_claims(known: Known) -> None:
    alone = [source for source in known.sources if source.config.dataset.name == "cifar10"]
    _, claims = decided(known.figure, alone)
    whole = {claim.id: claim for claim in known.claims}
    for claim in claims:
        assert claim.text == f"{whole[claim.id].text} (CIFAR-10 alone)"
        assert claim.measures == tuple(each for each in whole[claim.id].measures if each.name.endswith("cifar10"))
        assert 0 < len(claim.measures) < len(whole[claim.id].measures)


@figure6
def test_fig6_of_known_curves(known: Known) -> None:
    def on(subset: str) -> Where:
        return lambda config: getattr(config.subsets, "train_on", None) == subset

    to_easy = known.expect(last("train", "easy"), on("difficult"))
    to_difficult = known.expect(last("train", "difficult"), on("easy"))
    found = known.measured("6")
    assert found["difficult_to_easy"] == tuple(to_easy)
    assert found["easy_to_difficult"] == tuple(to_difficult)
    assert found["transfer"] == pytest.approx([a - b for a, b in zip(to_easy, to_difficult, strict=True)], abs=1e-12)
    for trained in ("easy", "difficult", "random"):
        for subset in ("easy", "difficult", "random"):
            if f"{trained}_to_{subset}" in found:
                assert found[f"{trained}_to_{subset}"] == tuple(known.expect(last("train", subset), on(trained)))
        assert found[f"{trained}_to_test"] == tuple(known.expect(last("test", "all"), on(trained)))
    assert found["random_to_easy"] == tuple(known.expect(last("train", "easy"), on("random")))
    titles = [axes.get_title(loc="left") for axes in known.picture.axes if axes.axison]
    assert titles == [
        f"({letter}) trained on 20 {name}" for letter, name in zip("abc", ("easy", "difficult", "random"), strict=True)
    ]
    assert known.panel("a", "easy (trained on)") == known.expect(curve("train", "easy"), on("easy"))
    assert known.panel("a", "difficult (never seen)") == known.expect(curve("train", "difficult"), on("easy"))
    assert known.panel("b", "easy (never seen)") == known.expect(curve("train", "easy"), on("difficult"))
    assert known.panel("b", "difficult (trained on)") == known.expect(curve("train", "difficult"), on("difficult"))
    assert known.panel("b", "all test examples") == known.expect(curve("test", "all"), on("difficult"))


@figure10
def test_fig10_of_known_curves(known: Known) -> None:
    levels = sorted({source.config.corruption.count for source in known.sources})
    assert levels == [0, 20, 40, 60, 80, 100]

    def at(count: int, schedule: str = "multistep") -> Where:
        return lambda config: (config.corruption.count, config.schedule.name) == (count, schedule)

    train = {level: known.expect(curve("train", "all"), at(level)) for level in levels}
    test = {level: known.expect(curve("test", "all"), at(level)) for level in levels}

    def wrong(made: dict[Key, Curve]) -> Curve:
        # of three random labels one is right, and as often predicted as real ones
        return {epoch: (3 * value - made[EASY][epoch]) / 2 for epoch, value in made[DIFFICULT].items()}

    def beyond_chance(curve: Curve, unseen: Curve) -> Curve:
        # what is not fitted is wrong by accident as often as of test images, and then any of nine classes
        by_chance = {epoch: (1 - right) / 9 for epoch, right in unseen.items()}
        return {epoch: (value - by_chance[epoch]) / (1 - by_chance[epoch]) for epoch, value in curve.items()}

    random = {
        level: [beyond_chance(curve, test[level][seed]) for seed, curve in enumerate(known.expect(wrong, at(level)))]
        for level in levels[1:-1]
    }
    # where all are random those that are right by accident count too, and a tenth is right by chance
    random[100] = [{epoch: (value - 0.1) / 0.9 for epoch, value in curve.items()} for curve in train[100]]
    falls = {level: oracles.falls(curves) for level, curves in test.items()}
    for seed in range(3):
        curves = [random[level][seed] for level in levels[1:]]
        unfitted = [oracles.unfitted(curve) for curve in curves]
        for name, epochs in (("later", unfitted), ("crossed_later", [oracles.crossed(curve, 0.9) for curve in curves])):
            assert known.measured("10a")[name][seed] == pytest.approx(spearman(levels[1:], epochs), abs=1e-12)
        assert known.measured("10a")["slower"][seed] == pytest.approx(unfitted[-1] - unfitted[0], abs=1e-6)
        whole = [oracles.crossed(train[level][seed], 0.9) for level in (100, 20)]
        assert known.measured("10a")["whole_slower"][seed] == pytest.approx(whole[0] - whole[1], abs=1e-9)
        some = [falls[level][seed] for level in (20, 40, 60, 80)]
        assert known.measured("10b")["drop"][seed] == pytest.approx(np.mean(some), abs=1e-12)
        over = np.mean(some) - falls[0][seed]
        assert known.measured("10b")["drop_over_clean"][seed] == pytest.approx(over, abs=1e-12)
    assert known.measured("10b")["drop_clean"] == pytest.approx(falls[0])
    assert known.measured("10b")["drop_random"] == pytest.approx(falls[100])
    assert known.measured("10c")["fitted"] == tuple(known.expect(last("train", "all"), at(100)))
    assert known.measured("10c")["fitted_cosine"] == tuple(known.expect(last("train", "all"), at(100, "cosine")))
    assert known.panel("a", "100 (100 %)") == train[100]
    assert known.panel("b", "40 (40 %)") == known.expect(curve("test", "all"), at(40))
    for level in levels:
        shown = known.panel("c", f"{level} ({level} %)")
        assert [list(curve.values()) for curve in shown] == [
            pytest.approx(list(curve.values())) for curve in random.get(level, [])
        ]


@pytest.mark.parametrize("known", list(SPLITS), indirect=True)
def test_accuracies_are_drawn_from_0_to_1_over_all_epochs(known: Known) -> None:
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in known.picture.axes)
    assert "full network" in labels
    assert "accuracy" in labels
    for axes in (each for each in known.picture.axes if each.axison and "log p" not in each.get_ylabel()):
        assert axes.get_ylim() == pytest.approx((0, 1), abs=0.02)
        assert axes.get_xlim() == (0, known.sources[0].config.epochs)
        chance = [line for line in axes.get_lines() if line.get_label() == "chance"]
        taken_off = axes.get_ylabel() == "share"  # of labels that are fitted
        expected = [] if taken_off else [[0.1, 0.1]]
        assert [np.asarray(line.get_ydata()).tolist() for line in chance] == expected


def test_runs_that_differ_in_more_than_their_seed_make_no_curve() -> None:
    made = Known("fig3").sources
    with pytest.raises(RefusedInput, match="two runs of seed 0"):
        curves([*made, made[0]], "train", "all", "full_accuracy")
