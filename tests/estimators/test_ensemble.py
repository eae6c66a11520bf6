"""Whole ensembles on real digits: their networks, tables, files, interruptions and refusals."""

import json
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ensemble_oracles as oracles
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import score_oracles
import torch
from digits import digits
from oracles import auroc
from test_signals import signalled
from torch import Tensor

from turnover.common.seeding import stream
from turnover.common.signals import Stopped
from turnover.config.estimators import ESTIMATES
from turnover.config.run import RunConfig
from turnover.core.evaluation import full_logits
from turnover.data.augmentation import augmented
from turnover.errors import RunFailed
from turnover.estimators import ensemble
from turnover.estimators import networks as members
from turnover.estimators.estimator import Design, Outcomes
from turnover.estimators.networks import design
from turnover.runs.build import RunTask, build, make_model
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_metrics, read_scores
from turnover.training.loop import train
from turnover.training.methods import build as build_method
from turnover.training.optim import build_optimizer, learning_rate

CPU = torch.device("cpu")
SMALL = (
    "turnover=off",
    "model.hidden=[32]",
    "dataset.limit=120",
    "dataset.test_limit=40",
    "batch_size=32",
    "optimizer.lr=0.2",
    "optimizer.momentum=0.9",
    "schedule=cosine",
    "corruption=symmetric",
    "corruption.count=24",
    "epochs=12",
)
HALVES = ("estimator=subsampling", "estimator.models=40", "estimator.fractions=[0.5]")


def small(*overrides: str) -> RunConfig:
    return digits(*SMALL, *overrides, entry="train")


def by_hand(config: RunConfig, parts: RunTask, network: int, positions: Tensor) -> torch.nn.Module:
    """One network of an ensemble, trained by the loop."""
    seed = stream(config.seed, "member", network)
    model = make_model(config, CPU, seed)
    steps = -(-len(positions) // config.batch_size)
    for _ in train(
        model,
        augmented(parts.train.select(positions), config.augmentation),
        build_optimizer(config.optimizer, model),
        lambda step: learning_rate(config.schedule, config.optimizer.lr, step, steps, config.epochs),
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=seed,
        method=build_method(config, model, parts.train.select(positions)),
        precision=config.settled,
    ):
        pass
    return model


def by_itself(config: RunConfig, network: int, included: np.ndarray) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """What a network trained by hand says: log odds and whether it is right of training and test examples; logits."""
    parts = build(config, CPU)
    model = by_hand(config, parts, network, torch.from_numpy(included).nonzero()[:, 0])
    both = [parts.train, parts.groups["test", "all"]]
    logits = torch.cat([full_logits(model, each) for each in both])
    labels = torch.cat([each.labels for each in both])
    return np.array(oracles.log_odds(logits, labels)), (logits.argmax(1) == labels).numpy(), logits


def lists(run: Path) -> tuple[list[list[bool]], list[list[float]], list[list[bool]], dict[str, np.ndarray]]:
    """Right, losses and included of the training examples, as plain lists, and the rest."""
    found = oracles.kept(run)
    n = len(found["ids"])
    losses = np.logaddexp(0, -found["confidence"][:, :n].astype(np.float64))
    return found["right"][:, :n].tolist(), losses.tolist(), found["included"].tolist(), found


def close(found: pd.Series, expected: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(found.to_numpy(), np.asarray(expected), rtol=tolerance, atol=tolerance)


# --- subsampling ---


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("halves")))
        yield execute(small(*HALVES))


def test_files_of_an_ensemble(halves: Path) -> None:
    assert halves.name.startswith("score-digits-mlp-")
    assert {path.name for path in halves.iterdir() if not path.name.startswith(".")} == {
        "checksums.txt",
        "config.yaml",
        "manifest.json",
        "metrics.parquet",
        "scores.parquet",
        "members.npz",
        "log.txt",
        "DONE",
    }, "nothing is left to go on from"
    manifest = json.loads((halves / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["networks"] == 40
    assert manifest["examples_trained"] == 40 * 60 * 12
    assert "leakage" not in manifest


def test_columns_of_an_ensemble(halves: Path) -> None:
    schema = pq.read_schema(halves / "scores.parquet")
    common = ["epoch", "id", "split", "label", "true_label", "corrupted", "score"]
    estimates = ["memorization", "memorization_loss", "out_accuracy", "in_loss", "out_loss", "membership"]
    assert schema.names == [*common, *estimates, "inconsistency"]
    table, parts = read_scores(halves), build(small(*HALVES), CPU)
    assert table.index.tolist() == parts.train.ids.tolist()
    assert table["label"].tolist() == parts.train.labels.tolist()
    assert table["corrupted"].sum() == 24
    assert (table["corrupted"] == (table["label"] != table["true_label"])).all()
    assert pd.read_parquet(halves / "scores.parquet")["epoch"].unique().tolist() == [12]
    assert table["score"].tolist() == table["memorization"].astype(np.float32).tolist()


def test_what_is_kept_of_the_networks(halves: Path) -> None:
    parts, found = build(small(*HALVES), CPU), oracles.kept(halves)
    shapes = {name: (str(values.dtype), values.shape) for name, values in found.items()}
    assert shapes == {
        "ids": ("int64", (120,)),
        "test_ids": ("int64", (40,)),
        "included": ("bool", (40, 120)),
        "fraction": ("float64", (40,)),
        "confidence": ("float32", (40, 160)),
        "right": ("bool", (40, 160)),
    }
    assert found["ids"].tolist() == parts.train.ids.tolist()
    assert found["test_ids"].tolist() == parts.groups["test", "all"].ids.tolist()
    assert found["included"].sum(1).tolist() == [60] * 40
    assert (found["fraction"] == 0.5).all()
    assert found["right"][:, :120][found["included"]].mean() > 0.6


def test_scores_are_what_the_networks_say(halves: Path) -> None:
    table = read_scores(halves)
    right, losses, included, found = lists(halves)
    close(table["memorization"], oracles.memorization(right, included))
    close(table["out_accuracy"], oracles.with_and_without(right, included)[1])
    for name, values in zip(("in_loss", "out_loss"), oracles.with_and_without(losses, included), strict=True):
        close(table[name], values)
    close(table["memorization_loss"], table["out_loss"] - table["in_loss"])
    close(table["inconsistency"], oracles.inconsistency(right, included, found["fraction"].tolist()))
    ratios = oracles.log_likelihood_ratios(found["confidence"][:, :120].tolist(), included)
    close(table["membership"], oracles.memorization(ratios.tolist(), included), 1e-6)


def test_metrics_of_an_ensemble(halves: Path) -> None:
    right, _, included, found = lists(halves)
    metrics = read_metrics(halves).set_index(["epoch", "split", "metric"])["value"]
    with_it, without = oracles.with_and_without(right, included)
    assert metrics.to_dict() == pytest.approx(
        {
            (12, "train", "in_accuracy"): oracles.mean(with_it),
            (12, "train", "out_accuracy"): oracles.mean(without),
            (12, "test", "full_accuracy"): found["right"][:, 120:].mean(),
        }
    )


def test_networks_are_those_that_the_loop_trains(halves: Path) -> None:
    found = oracles.kept(halves)
    for network in (0, 13, 19):  # of each block one
        confidence, right, _ = by_itself(small(*HALVES), network, found["included"][network])
        np.testing.assert_allclose(found["confidence"][network], confidence, rtol=1e-3, atol=1e-3)
        assert found["right"][network].tolist() == right.tolist()


def test_wrong_labels_are_memorized(halves: Path) -> None:
    table = read_scores(halves)
    for name in ("memorization", "memorization_loss", "membership", "inconsistency"):
        assert auroc(table[name].to_numpy(), table["corrupted"].to_numpy()) > 0.65, name


@pytest.mark.parametrize("score", ["memorization_loss", "inconsistency", "membership"])
def test_the_score_is_the_chosen_column(score: str, halves: Path) -> None:
    folder = execute(small(*HALVES, f"estimator.score={score}"))
    table = read_scores(folder)
    assert table["score"].tolist() == table[score].astype(np.float32).tolist()
    pd.testing.assert_frame_equal(table.drop(columns="score"), read_scores(halves).drop(columns="score"))


# --- several fractions ---


@pytest.fixture(scope="module")
def fractions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNOVER_OUTPUTS", str(tmp_path_factory.mktemp("fractions")))
        yield execute(small("estimator=c_score", "estimator.models=8"))


def test_networks_of_several_fractions(fractions: Path) -> None:
    right, losses, included, found = lists(fractions)
    assert found["fraction"].tolist() == [share for share in (0.1, 0.3, 0.5, 0.7, 0.9) for _ in range(8)]
    assert found["included"].sum(1).tolist() == [round(share * 120) for share in found["fraction"]]
    table, share = read_scores(fractions), found["fraction"].tolist()
    assert table["score"].tolist() == table["inconsistency"].astype(np.float32).tolist()
    close(table["inconsistency"], oracles.inconsistency(right, included, share))
    close(table["memorization"], oracles.within_fractions(right, included, share))
    close(-table["memorization_loss"], oracles.within_fractions(losses, included, share))
    assert "membership" not in table, "of 8 networks fewer than 3 are trained on some example, or are not"


def test_of_a_network_that_learns_nothing_by_heart_no_fraction_makes_memorization() -> None:
    """Networks are right the more often the more examples they have, on whatever example: that is no memorization."""
    config = small("estimator=c_score", "estimator.models=40")
    ensemble_ = design(build(config, CPU), config)
    n = ensemble_.included.shape[1]
    able = (torch.linspace(0, 1, 40).repeat(5)[:, None] < ensemble_.fraction[:, None]).expand(-1, n)
    found = Outcomes(torch.where(able, 3.0, -3.0), able, None)
    columns = ensemble._columns(config, found, ensemble_, torch.zeros(n, dtype=torch.int64))
    assert abs(float(columns["memorization"].mean())) < 0.02
    assert abs(float(columns["memorization_loss"].mean())) < 0.1
    together = oracles.memorization(able.tolist(), ensemble_.included.tolist())
    assert oracles.mean(together) > 0.2, "all fractions together would say so"


def test_membership_within_fractions() -> None:
    config = small("estimator=c_score", "estimator.models=30", "estimator.fractions=[0.4,0.6]", "dataset.limit=30")
    networks = design(build(config, CPU), config)
    confidence = torch.randn(60, 30, generator=torch.Generator().manual_seed(0)) + networks.included
    found = Outcomes(confidence, confidence > 0, None)
    columns = ensemble._columns(config, found, networks, torch.zeros(30, dtype=torch.int64))
    wanted = []
    for rows in (slice(0, 30), slice(30, 60)):
        included = networks.included[rows].tolist()
        ratios = oracles.log_likelihood_ratios(confidence[rows].tolist(), included)
        wanted.append(oracles.memorization(ratios.tolist(), included))
    close(pd.Series(columns["membership"].numpy()), np.mean(wanted, axis=0), 1e-6)


# --- examples that no score can be given ---


def unscored(folder: Path) -> str:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert not (folder / "DONE").exists()
    assert not (folder / "scores.parquet").exists()
    return str(manifest["message"])


@pytest.mark.parametrize(
    ("score", "options", "enough"),
    [
        ("memorization", ("estimator.models=5", "estimator.fractions=[0.7]"), lambda k: 1 <= k <= 4),
        ("memorization_loss", ("estimator.models=3", "estimator.fractions=[0.5]"), lambda k: 1 <= k <= 2),
        ("inconsistency", ("estimator.models=3", "estimator.fractions=[0.9]"), lambda k: k <= 2),
        ("membership", ("estimator.models=10", "estimator.fractions=[0.5]"), lambda k: 3 <= k <= 7),
    ],
)
def test_examples_without_a_score_are_told_before_anything_is_trained(
    score: str, options: tuple[str, ...], enough: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("estimator=subsampling", *options, f"estimator.score={score}")
    times = design(build(config, CPU), config).included.sum(0).tolist()
    missing = sum(not enough(each) for each in times)
    assert missing > 0
    monkeypatch.setattr(ensemble, "outcomes", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(
        RunFailed, match=rf"^{missing} of 120 examples have no score \({score}\).*raise estimator\.models"
    ):
        execute(config)
    assert f"{missing} of 120 examples" in unscored(Run(config).folder)


def test_one_example_in_all_networks_is_enough_to_fail() -> None:
    included = torch.ones(4, 6, dtype=torch.bool)
    included[0, :5] = False
    plan = Design(included, [0, 1, 2, 3], torch.full((4,), 0.5, dtype=torch.float64))
    with pytest.raises(RunFailed, match="1 of 6 examples"):
        ensemble._refuse_unscored(plan, "memorization")
    included[3, 5] = False
    ensemble._refuse_unscored(plan, "memorization")
    # of another fraction than those trained on it, it makes no pair
    apart = Design(included, plan.seeds, torch.tensor([0.5, 0.5, 0.5, 0.9], dtype=torch.float64))
    with pytest.raises(RunFailed, match="1 of 6 examples"):
        ensemble._refuse_unscored(apart, "memorization")
    ensemble._refuse_unscored(apart, "inconsistency")


# --- interruptions ---


@pytest.mark.parametrize("lost", [[], [0]])
def test_stopped_by_hand_it_goes_on_after_the_last_block(
    lost: list[int], halves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, trained = small(*HALVES), members.train_block
    blocks: list[list[int]] = []

    def interrupt(parts: RunTask, config: RunConfig, plan: Design, block: list[int], on_step: Any) -> Any:
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(block)
        return trained(parts, config, plan, block, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(members, "train_block", interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(config)
    scratch = Run(config).folder / "scratch"
    assert Run(config).manifest["status"] == "interrupted"
    assert sorted(path.name for path in scratch.iterdir()) == ["00000-00015.npz", "00016-00031.npz"]
    for number in lost:
        (scratch / f"{number:05d}-{number + 15:05d}.npz").unlink()
    (scratch / ".00032-00039.npz.123").write_text("left by a killed process")
    blocks.clear()

    def watch(parts: RunTask, config: RunConfig, plan: Design, block: list[int], on_step: Any) -> Any:
        blocks.append(block)
        return trained(parts, config, plan, block, on_step)

    monkeypatch.setattr(members, "train_block", watch)
    folder = execute(config)
    assert blocks == [list(range(16))] * len(lost) + [list(range(32, 40))], "no finished block is trained again"
    for name in ("scores.parquet", "metrics.parquet"):
        assert (folder / name).read_bytes() == (halves / name).read_bytes()
    for name, values in oracles.kept(halves).items():
        assert np.array_equal(oracles.kept(folder)[name], values)
    assert not scratch.exists()
    manifest = Run(config).manifest
    assert (manifest["networks"], manifest["examples_trained"]) == (40, 40 * 60 * 12)


def test_every_step_is_counted_once(monkeypatch: pytest.MonkeyPatch, halves: Path, tmp_path: Path) -> None:
    config = small(*HALVES)
    parts = build(config, CPU)
    plan = design(parts, config)
    steps: list[int] = []
    for _ in range(2):  # trained, then found
        steps.clear()
        members.outcomes(parts, config, plan, tmp_path / "scratch", steps.append)
        assert sum(steps) == plan.steps(config.epochs, config.batch_size) == 40 * 12 * 2
    assert steps == [384, 384, 192]


def test_a_diverging_network_fails_the_run() -> None:
    config = small(*HALVES, "optimizer.lr=1e30")
    with pytest.raises(RunFailed, match=r"no longer finite in epoch \d"):
        execute(config)
    assert "optimizer.lr" in unscored(Run(config).folder)


# --- networks that are not stacked ---


TWO = ("estimator=subsampling", "estimator.models=2", "estimator.fractions=[0.5]", "epochs=2")


def two_networks(config: RunConfig, on_step: Callable[[int], object]) -> dict[str, Tensor]:
    """Outcomes of the two networks of a config, held against those of networks trained by hand."""
    parts = build(config, CPU)
    plan = design(parts, config)
    found = members._observed(parts, config, members.train_block(parts, config, plan, [0, 1], on_step))
    for network in (0, 1):
        confidence, right, _ = by_itself(config, network, plan.included[network].numpy())
        np.testing.assert_allclose(found["confidence"][network].numpy(), confidence, rtol=1e-5, atol=1e-5)
        assert found["right"][network].tolist() == right.tolist()
    return found


@pytest.mark.parametrize(
    "options",
    [
        ["model.hidden=[8,8]"],
        ["precision=bfloat16"],
        ["augmentation=crop"],
        ["augmentation=torchvision"],
        ["method=label_smoothing"],
        ["class_weights=balanced"],
        ["optimizer.weight_decay=0.1", "optimizer.decay=weights"],
        ["optimizer=adamw"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_stacked_is_trained_by_the_loop(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "train_stack", lambda *arguments, **options: pytest.fail("stacked"))
    usual = [option for option in SMALL if "optimizer=adamw" not in options or not option.startswith("optimizer")]
    config = digits(*usual, *TWO, *options, entry="train")
    steps: list[int] = []
    found = two_networks(config, steps.append)
    assert steps == [1] * 2 * 2 * 2, "60 examples in two batches"
    assert found["confidence"].dtype == torch.float32


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_stack_has_the_rates_of_the_loop_in_every_step(schedule: str) -> None:
    config = small(*TWO, f"schedule={schedule}", "schedule.by=step", "schedule.warmup=1", "optimizer.decay=weights")
    steps: list[int] = []
    two_networks(config, steps.append)
    assert steps == [2] * 2 * 2, "both at once, without decay it is all the same which parameters would"


@pytest.mark.parametrize("option", ["model.hidden=[8,8]", "precision=bfloat16", "augmentation=crop"])
def test_of_networks_that_are_not_stacked_none_is_trained_twice(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(*HALVES, "epochs=2", option)
    whole = execute(config)
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "stopped"))
    step = 2 * 2  # the steps of a network
    with signalled(monkeypatch, 5 * step + 1, signal.SIGUSR2), pytest.raises(Stopped):
        execute(config)
    scratch = Run(config).folder / "scratch"
    assert sorted(path.name for path in scratch.iterdir()) == [f"{number:05d}-{number:05d}.npz" for number in range(5)]
    (scratch / "00005.npz").write_bytes(b"a block of eight networks, as they were once kept")
    folder = execute(config)
    for name in ("scores.parquet", "metrics.parquet"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    for name, values in oracles.kept(whole).items():
        assert np.array_equal(oracles.kept(folder)[name], values)


# --- leave-one-out ---


def test_leave_one_out() -> None:
    config = small("estimator=leave_one_out", "estimator.examples=7", "estimator.seeds=2", "dataset.limit=60")
    folder = execute(config)
    table = read_scores(folder)
    right, losses, included, found = lists(folder)
    assert len(table) == 7
    assert table["corrupted"].sum() == 3, "half of them, rounded down"
    assert found["included"].sum(1).tolist() == [59] * 14
    left = [row.index(False) for row in included]
    assert left[:7] == left[7:] == sorted(set(left))
    assert table.index.tolist() == found["ids"][left[:7]].tolist()
    expected = oracles.leave_one_out(right, left)
    close(table["memorization"], [expected[place] for place in left[:7]])
    assert table["score"].tolist() == table["memorization"].astype(np.float32).tolist()
    with_it, without = (np.array(each)[left[:7]] for each in oracles.with_and_without(losses, included))
    close(table["memorization_loss"], without - with_it)
    assert set(table) & set(ESTIMATES) == {"memorization", "memorization_loss", "out_accuracy", "in_loss", "out_loss"}
    assert not table.isna().any(axis=None)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["networks"], manifest["examples_trained"]) == (14, 14 * 59 * 12)


# --- confident learning ---


def test_confident_learning() -> None:
    config = small("estimator=confident_learning", "estimator.folds=3", "dataset.limit=100")
    folder = execute(config)
    table, found = read_scores(folder), oracles.kept(folder)
    assert (~found["included"]).sum(0).tolist() == [1] * 100, "every example is out once"
    assert sorted((~found["included"]).sum(1).tolist()) == [33, 33, 34]
    assert set(table) & set(ESTIMATES) == {"confident_learning"}
    assert table["score"].tolist() == table["confident_learning"].astype(np.float32).tolist()
    out = torch.empty(100, 10)
    for network, included in enumerate(found["included"]):
        _, _, logits = by_itself(config, network, included)
        out[torch.from_numpy(~included)] = logits[:100][torch.from_numpy(~included)]
    probabilities = [score_oracles.softmax(row) for row in out.tolist()]
    close(table["confident_learning"], score_oracles.confident_learning(probabilities, table["label"].tolist()), 1e-3)
    assert json.loads((folder / "manifest.json").read_text())["examples_trained"] == 12 * 200


# --- which networks there are ---


def plan(*overrides: str) -> Design:
    config = small(*overrides)
    return design(build(config, CPU), config)


def test_no_two_networks_of_an_ensemble_or_of_two_seeds_are_alike() -> None:
    plans = [plan(*HALVES, f"seed={seed}") for seed in (0, 1)] + [
        plan("estimator=c_score", "estimator.models=8", "seed=2")
    ]
    seeds = [seed for each in plans for seed in each.seeds]
    assert len(set(seeds)) == 40 + 40 + 40
    parts = {tuple(row) for each in plans for row in each.included.tolist()}
    assert len(parts) == len(seeds)


def test_parts_of_different_fractions_have_nothing_to_do_with_each_other() -> None:
    """The first numbers of one permutation would lie within those of a larger fraction."""
    included = plan("estimator=c_score", "estimator.models=8").included.view(5, 8, 120)
    shared = (included[1] & included[2]).double().sum(1).mean()  # of 36 and of 60
    assert float(shared) == pytest.approx(18, abs=4)


def test_more_networks_change_none() -> None:
    few, many = plan(*HALVES), plan(*HALVES, "estimator.models=50")
    assert many.seeds[:40] == few.seeds
    assert torch.equal(many.included[:40], few.included)


def test_the_score_and_the_training_change_no_part() -> None:
    one, other = plan(*HALVES), plan(*HALVES, "estimator.score=membership", "epochs=2", "model.hidden=[4]")
    assert one.seeds == other.seeds
    assert torch.equal(one.included, other.included)


def test_networks_without_an_example_share_the_seeds_of_the_others() -> None:
    found = plan("estimator=leave_one_out", "estimator.examples=4", "estimator.seeds=3")
    assert len(set(found.seeds)) == 3
    assert [found.seeds[start : start + 4] for start in (0, 4, 8)] == [[seed] * 4 for seed in found.seeds[::4]]
    assert torch.equal(found.included[:4], found.included[4:8])


@pytest.mark.parametrize("sizes", [[5] * 20, [5] * 8 + [6] * 9, [5, 6, 5], [7]])
def test_a_block_has_equal_sizes_and_fits_a_stack(sizes: list[int]) -> None:
    included = torch.stack([torch.arange(10) < size for size in sizes])
    found = Design(included, list(range(len(sizes))), included.double().mean(1))
    assert found.blocks(1) == [[number] for number in range(len(sizes))]
    blocks = found.blocks(8)
    assert [number for block in blocks for number in block] == list(range(len(sizes)))
    assert all(len({sizes[number] for number in block}) == 1 and len(block) <= 8 for block in blocks)
    assert len(blocks) == {20: 3, 17: 3, 3: 3, 1: 1}[len(sizes)]
    assert found.steps(3, 4) == 3 * sum(math.ceil(size / 4) for size in sizes)


def test_which_labels_are_wrong_decides_what_is_left_out() -> None:
    config = small("estimator=leave_one_out", "estimator.examples=10", "estimator.seeds=1")
    parts = build(config, CPU)
    wrong = torch.zeros(120, dtype=torch.bool)
    wrong[:5] = True
    left = (~design(replace(parts, wrong=wrong), config).included).nonzero()[:, 1]
    assert left[:5].tolist() == [0, 1, 2, 3, 4]
    assert len(left) == 10
