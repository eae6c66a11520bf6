"""What pages of docs/ say in prose and in tables of their own is what the committed results say."""

import json
import re
from typing import Any

import pandas as pd
import pytest
from readings import REFERENCE, minutes, page, prose, results, rows

STUDIES, FIGURES = page("studies.md"), page("figures.md")

VARIANTS = {  # of the leakage study: what the README calls them, and the results
    "base: masks in all layers, as in the paper": "base: masks in all layers",
    "**masks in the last block only**": "masks in block5 only",
    "2,000 images": "2,000 examples",
    "all 50,000 images": "50,000 examples",
}


def test_every_number_of_the_leakage_study_is_that_of_the_results() -> None:
    result = json.loads((REFERENCE / "laptop" / "leakage.json").read_text(encoding="utf-8"))
    known = {each["variant"]: each for each in result["summary"]["variants"]}
    told = rows(STUDIES, "one change from the base")
    assert {VARIANTS.get(cells[0], cells[0]) for cells in told} == set(known)
    for cells in told:
        variant = known[VARIANTS.get(cells[0], cells[0])]
        names = ["own, train", "flipped, all training examples", "full network, test", "own, constant image"]
        names += [f"swapped image: label of {whom}" for whom in ("the mask", "the image", "a bystander")]
        numbers = [float(text) for cell in cells[1:6] for text in cell.replace("*", "").split("/")]
        assert numbers == pytest.approx([variant[name] for name in names], abs=0.00051), cells[0]
        if variant["spearman_between_seeds"] is not None:
            assert float(cells[6]) == pytest.approx(variant["spearman_between_seeds"], abs=0.0051)
        assert cells[7].split(" / ") == variant["verdicts"]  # of its seeds


def test_every_peak_of_the_sensitivity_study_is_that_of_the_results() -> None:
    result = json.loads((REFERENCE / "paper" / "sensitivity.json").read_text(encoding="utf-8"))
    peaks = result["summary"]["peaks"]
    lines = [text.strip() for text in FIGURES.splitlines()]
    for kind, title in {"standard": "inputs of mean 0, variance 1", "unit": "inputs in [0, 1]"}.items():
        of_kind = sorted((each for each in peaks if each["normalization"] == kind), key=lambda each: each["lr"])
        cells = [f"{each['peak_accuracy']:.3f}"[1:] + f" at {each['peak_epoch']}" for each in of_kind]
        assert f"| {title} | {' | '.join(cells)} |" in lines


def test_every_number_of_the_early_stopping_study_is_that_of_the_results() -> None:
    result = json.loads((REFERENCE / "laptop" / "early_stopping.json").read_text(encoding="utf-8"))
    told = {cells[0]: cells[1:] for cells in rows(STUDIES, "setting")}
    assert told == {
        name: [
            f"{each['epoch_0.8']} / {each['epoch_0.9']}",
            str(each["last_epoch"]),
            f"{each['between_seeds']:.2f}"[1:],
            f"{each['means_of_seeds']:.2f}"[1:],
        ]
        for name, each in result["summary"].items()
    }


def test_every_number_of_the_ablation_is_that_of_the_results() -> None:
    table = pd.read_csv(REFERENCE / "laptop" / "ablation.csv").set_index(["variant", "seeds"])
    [told] = [text for text in STUDIES.split("\n\n") if text.startswith("**What makes turn-over scores better**")]
    told = " ".join(told.split())
    several = table.index.get_level_values("seeds").max()

    def said(variant: str, seeds: int = several, measure: str = "spearman", places: int = 2) -> str:
        value = float(table.at[(variant, seeds), measure])  # type: ignore[arg-type]
        return f"{value:.{places}f}"[1:]

    whole = "as validated"
    assert f"after 5, 10 and 30 epochs it is {said('5 epochs')}, {said('10 epochs')} and {said(whole)}." in told
    assert f"(one: {said(whole, 1)})" in told
    assert f"p = 0.7 ({said('p = 0.7')}; p = 0.3: {said('p = 0.3')})" in told
    assert f"256 shared masks ({said('256 shared masks')})" in told
    assert f"does not ({said('lr 0.05')}, {said('lr 0.2')})" in told
    probability = "own - flipped probability"
    aurocs = f"AUROC {said(probability, measure='auroc', places=3)} against {said(whole, measure='auroc', places=3)}"
    assert f"losses ({said(probability)}) but finds fewer wrong labels ({aurocs})" in told


def test_the_speed_of_steps_scores_masks_and_gradients_is_that_of_the_benchmark() -> None:
    table = pd.read_csv(REFERENCE / "laptop" / "bench.csv").set_index(["comparison", "contestant"])
    told, masked = prose(STUDIES), "turn-over dropout"

    def of(comparison: str, contestant: str, column: str = "ratio") -> float:
        return float(table.at[(comparison, contestant), column])  # type: ignore[arg-type]

    mlp, deep = "training, 50 steps", "training VGG-11, 2 steps"
    vgg, cct = of(deep, f"{masked}, float32"), of("training the transformer, 2 steps", f"{masked}, float32")
    assert (
        f"takes {of(mlp, masked):.2f} of the plain step, for VGG-11 {vgg:.2f} and for the transformer {cct:.2f}" in told
    )
    scores = of("scoring against training, 12,800 examples", "own + flipped scores")
    assert f"scores of all examples take {scores:.2f} of a training epoch" in told
    sine, torchs = (of("masks of a batch", name) for name in ("sine of a float", "F.dropout"))
    assert f"made {sine:.0f} times faster than by hashing with a float sine and {torchs:.0f} times faster" in told
    assert f"takes {1 / of(mlp, 'plain, products by PyTorch'):.2f} of what it takes with PyTorch's own products" in told
    low = "plain, bfloat16, channels last"
    share = of(deep, "the same arithmetic, bfloat16", "ms") / of(deep, low, "ms")
    assert f"takes {of(deep, low):.2f} of the time in float32, which is {share:.2f} of what large bfloat16" in told
    batch, theirs = "mean cosine of a batch of 256, MLP", "BackPACK BatchGrad"
    assert f"a batch takes {of(batch, 'factored', 'ms'):.0f} ms and {of(batch, 'factored', 'peak_mb'):.0f} MB" in told
    assert f"{of(batch, theirs):.0f} times as long and {of(batch, theirs, 'peak_mb') / 1000:.1f} GB" in told
    assert f"BackPACK takes {of('mean cosine of a batch of 64, VGG-11', theirs):.0f} times as long" in told
    every = "mean cosine of 60,000 gradients", "exact, of the whole set"
    assert f"costs {of(*every):.1f} training epochs and {of(*every, 'peak_mb'):.0f} MB" in told


def test_the_speed_of_ensembles_is_that_of_the_benchmark() -> None:
    table = pd.read_csv(REFERENCE / "laptop" / "bench.csv").set_index(["comparison", "contestant"])["ms"]
    faster, share, other = [], [], []
    for units in (32, 128, 256, 512):
        ours = table[f"16 networks 784-{units}-10"]
        faster.append(f"{ours['one by one'] / ours['at once']:.1f}")
        share.append(f"{ours['the same arithmetic, float32'] / ours['at once']:.2f}"[1:])
        other.append(f"{ours['the same arithmetic, float32, oneDNN'] / ours['at once']:.2f}"[1:])
    told = prose(STUDIES)
    widths = "32, 128, 256 and 512 units"
    assert f"{', '.join(faster[:3])} and {faster[3]} times as fast as one by one with {widths}" in told
    assert f"at {', '.join(share[:3])} and {share[3]} of what large matrix products of PyTorch reach" in told
    assert f"and {', '.join(other[:3])} and {other[3]} of oneDNN's" in told


DATASETS = ("mnist", "fashion_mnist", "cifar10")


def two_places(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def test_every_number_of_the_advice_is_that_of_the_validation() -> None:
    folder = REFERENCE / "laptop" / "validate"
    table = pd.read_csv(folder / "table.csv")
    at = table[(table["noise"] == "symmetric") & (table["wrong"] == 300) & (table["augmentation"] == "none")]
    ten: Any = at[at["seeds"] == 10].set_index(["estimator", "dataset"])
    exact: Any = pd.read_csv(folder / "leave_one_out.csv").set_index("estimator")
    result = json.loads((folder / "validate.json").read_text(encoding="utf-8"))
    told = prose(page("estimators.md"))

    def of(estimator: str, dataset: str, measure: str = "spearman") -> str:
        return two_places(float(ten[measure][estimator, dataset]))

    tuned, base = "turnover_tuned", "turnover"
    assert f"memorization (Pearson {of(base, 'mnist', 'pearson_loss')})" in told
    assert f"AUROC for wrong labels there is {float(ten['auroc'][base, 'mnist']):.3f}".replace(" 0.", " .") in told
    for name in DATASETS[:2]:
        small, large = (
            at[(at["estimator"] == "memorization") & (at["dataset"] == name) & (at["networks"] == count)][
                "spearman"
            ].item()
            for count in (20, 40)
        )
        assert small < ten["spearman"][base, name] < large
    one_run = ten["pearson_loss"].xs("mnist", level="dataset").drop([base, "turnover_flipped", tuned])
    assert ten["pearson_loss"][base, "mnist"] > one_run.max()
    reached = f"reach {of('el2n', 'mnist')} and {of('el2n', 'fashion_mnist')} on MNIST and Fashion-MNIST, "
    assert f"{reached}but {of('el2n', 'cifar10')} on CIFAR-10" in told
    csl = "cumulative_loss"
    found = [of("el2n", name, "precision") for name in DATASETS]
    assert f"they find {found[0]} on MNIST, {found[1]} on Fashion-MNIST and {found[2]} on CIFAR-10" in told
    cheap = at[(at["estimator"] == csl) & (at["seeds"] == 1)].set_index("dataset")["precision"]
    found = [two_places(float(cheap[name])) for name in DATASETS]
    assert f"one of cumulative loss {found[0]}, {found[1]} and {found[2]}." in told
    error, agreement = of(csl, "fashion_mnist", "spearman_error"), of(csl, "fashion_mnist")
    assert f"more with that error ({error}) than with memorization ({agreement})" in told
    assert f"({of(tuned, 'fashion_mnist')} against {of(base, 'fashion_mnist')}) but not on CIFAR-10" in told
    assert f"CIFAR-10 ({of(tuned, 'cifar10')} against {of(base, 'cifar10')})" in told
    single = at[at["seeds"] == 1].set_index(["estimator", "dataset"])
    one: Any = single["spearman"]
    for dataset in DATASETS:
        assert one[tuned, dataset] < one[base, dataset]
        ours, theirs = (
            at[(at["estimator"] == name) & (at["dataset"] == dataset)].sort_values("seeds") for name in (csl, base)
        )
        for measure in ("spearman", "precision"):
            assert (ours[measure].to_numpy() > theirs[measure].to_numpy()).all(), "one run and ten"
        apart = (ours["precision_low"].to_numpy() > theirs["precision_high"].to_numpy()).all()
        assert apart == (dataset == "cifar10"), "beyond the intervals on CIFAR-10 only"
        for seeds in (one, ten["spearman"]):
            assert seeds["turnover_flipped", dataset] > seeds[base, dataset]
    ranks = [", ".join(two_places(one[name, dataset]) for dataset in DATASETS) for name in ("turnover_flipped", base)]
    alone, difference = (" and".join(text.rsplit(",", 1)) for text in ranks)
    assert f"ranks {alone} on the three data sets, against {difference}." in told
    sizes = [
        f"({two_places(single['pearson'][base, each])} against {two_places(single['pearson'][csl, each])})"
        for each in DATASETS
    ]
    assert f"on MNIST {sizes[0]} and Fashion-MNIST {sizes[1]}, not on CIFAR-10 {sizes[2]}" in told
    aurocs = {f"{float(ten['auroc'][name, 'mnist']):.3f}" for name in (base, "el2n", csl)}
    assert len(aurocs) == 1, "as are those of EL2N and cumulative loss"
    limits = [two_places(result["truth"][name]["ceiling"]["spearman/probability/all"]) for name in DATASETS]
    assert f"any score to {limits[0]} (MNIST), {limits[1]} (Fashion-MNIST) and {limits[2]} (CIFAR-10)" in told
    assert f"(Pearson {two_places(float(exact['pearson']['truth']))}, `outputs/" in told
    influence = result["influence"]["mnist"]
    assert f"(reliability {two_places(influence['reliability'])})" in told
    assert f"correlate with it at {two_places(influence['all_runs'])}." in told


def test_what_is_said_of_influence_and_of_the_onion() -> None:
    agreement = results()["influence"]["summary"]["agreement_of_seeds"]
    assert f"Spearman correlation {agreement:.3f})".replace("0.", ".") in STUDIES.replace("\n", " ")
    found = pd.read_csv(REFERENCE / "laptop" / "onion.csv").query("tenth == 0").groupby("side")["found"].mean() * 100
    assert f"({found['without_difficult']:.1f} against {found['without_random']:.1f} %)" in STUDIES
    for name in ("influence", "onion"):
        told, timed = re.search(rf"`make {name}`(?: draws|\s+\().*?(\d+)\s+minutes", STUDIES, re.DOTALL), minutes(name)
        assert told is not None
        assert timed is not None
        assert int(told[1]) == round(sum(timed))


def test_what_is_said_of_the_cost_of_finding_wrong_labels() -> None:
    result = results()["detection_cost"]
    told = STUDIES.replace("\n", " ")
    numbers = pd.read_csv(REFERENCE / "laptop" / "detection_cost.csv")
    cheapest = {}
    for method, found in numbers[numbers["auroc"] >= 0.98].groupby("method"):
        cheapest[method] = numbers.loc[found.groupby("seed")["trained"].idxmin()]
    run, right, loss = (cheapest[name] for name in ("one turn-over run", "ensemble", "ensemble, by losses"))
    assert (run["epochs"] == 3).all()
    assert (run["trained"] == 9000).all()
    assert f"{right['networks'].min()} to {right['networks'].max()} networks of 30 epochs" in told
    assert (right["epochs"] == 30).all()
    low, high = right["trained"].min() / 1e6, right["trained"].max() / 1e6
    assert f"{low:.1f} to {high:.1f} million" in told
    assert (loss["epochs"] == 5).all()
    assert f"{loss['networks'].min()} to {loss['networks'].max()} networks of 5 epochs, " in told
    saving = {each["name"]: each["effect"] for each in result["claims"]["cost"]["measures"]}
    assert saving["saving"] == pytest.approx((right["trained"].to_numpy() / run["trained"].to_numpy()).mean())
    assert f"{saving['saving']:.0f} times as many (by arithmetic {saving['saving_arithmetic']:.0f} times" in told
    assert f"{saving['saving_loss']:.0f} times as many as the run" in told
    short = numbers[(numbers["method"] == "ensemble") & (numbers["epochs"] <= 10)]
    assert short["auroc"].max() < 0.98


def test_the_steps_on_a_gpu_are_those_of_the_committed_tables() -> None:
    before, after = (
        pd.read_csv(REFERENCE / "h100" / f"{name}.csv").set_index(["comparison", "contestant"])["ms"]
        for name in ("bench", "bench_kernel")
    )
    told = page("scale.md")
    for network, comparison, layout in (
        ("MLP 784-4096-10", "training, 50 steps", ""),
        ("VGG-11, channels last", "training VGG-11, 20 steps", ", float32, channels last"),
        ("transformer, channels last", "training the transformer, 20 steps", ", float32, channels last"),
    ):
        steps = int(re.findall(r"(\d+) steps", comparison)[0])
        masked = f"turn-over dropout{layout}"
        times = (before[comparison, f"plain{layout}"], before[comparison, masked], after[comparison, masked])
        assert f"| {network} | {' | '.join(f'{ms / steps:.1f}' for ms in times)} |" in told
