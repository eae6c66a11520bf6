"""What a run works with and makes of it: subsets by label, score and table, score runs first, both splits scored."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from digits import digits
from torch import nn

import turnover
from turnover.config.run import RunConfig
from turnover.core.evaluation import evaluate
from turnover.core.examples import Examples
from turnover.data.datasets import load
from turnover.errors import RefusedInput, RunFailed
from turnover.runs import checkpoint, pipeline
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import SUBSET_COLUMNS, read_metrics, read_scores, read_subsets
from turnover.training.loop import train

CPU = torch.device("cpu")
SMALL = ("epochs=2", "model.hidden=[16]", "batch_size=64", "dataset.limit=300", "dataset.test_limit=100")
LABELS = (*SMALL, "corruption=labels", "corruption.count=120", "subsets=labels", "subsets.size=40")
PARENT = ("dataset=digits", "model.hidden=[16]", "batch_size=64", "dataset.limit=400", "epochs=2")


def by_labels(*overrides: str, entry: str = "train") -> RunConfig:
    return digits(*LABELS, *overrides, entry=entry)


def by_scores(*overrides: str, parents: tuple[str, ...] = ("dataset.include_test=true", "seed=0,1")) -> RunConfig:
    runs = ",".join(f'"{each}"' for each in (*PARENT, *parents))
    return digits(*SMALL, "subsets=scores", f"subsets.runs=[{runs}]", *overrides, entry="train")


def by_table(path: Path, *overrides: str) -> RunConfig:
    return digits(*SMALL, "subsets=table", f'subsets.path="{path}"', *overrides, entry="train")


def of(table: pd.DataFrame, split: str, subset: str) -> list[int]:
    """Ids of one subset of one split."""
    ids: list[int] = table["id"][(table["split"] == split) & (table["subset"] == subset)].tolist()
    return ids


def values(folder: Path, metric: str, split: str = "train", subset: str = "all") -> dict[int, float]:
    """One metric by epoch."""
    table = read_metrics(folder)
    chosen = (table["metric"] == metric) & (table["split"] == split) & (table["subset"] == subset)
    return dict(zip(table["epoch"][chosen], table["value"][chosen], strict=True))


def logged(folder: Path) -> dict[tuple[str, str], set[str]]:
    """The metrics of the last epoch, by split and subset."""
    table = read_metrics(folder)
    last = table[table["epoch"] == table["epoch"].max()]
    return {(str(a), str(b)): set(part["metric"]) for (a, b), part in last.groupby(["split", "subset"])}


SUBSETS = ("easy", "difficult", "random")
FULL = {"full_loss", "full_accuracy"}
MOVING = {"loss", "accuracy"}


def check_last_epoch(folder: Path, config: RunConfig) -> None:
    """Accuracy and loss on every subset are means over its ids, of the weights that are stored."""
    data = load(config.dataset, config.corruption)
    model = build(config.model_copy(update={"subsets": digits().subsets}), CPU).model
    model.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["model"])
    subsets = read_subsets(folder)
    for split, part in (("train", data.train), ("test", data.test)):
        [outcome] = evaluate(model, Examples(part.images, part.labels, part.ids, data.inputs))
        hits = (outcome.prediction == part.labels).double()
        for subset in subsets["subset"][subsets["split"] == split].unique():
            inside = torch.from_numpy(np.isin(part.ids.numpy(), of(subsets, split, subset)))
            found = values(folder, "full_accuracy", split, subset)[config.epochs]
            assert found == pytest.approx(float(hits[inside].mean())), (split, subset)
            found = values(folder, "full_loss", split, subset)[config.epochs]
            assert found == pytest.approx(float(outcome.loss[inside].mean()), rel=1e-5), (split, subset)


# --- by label ---


def test_easy_are_real_and_difficult_random_labels() -> None:
    config = by_labels("tracking.every=1")
    folder = execute(config)
    table, data = read_subsets(folder), load(config.dataset, config.corruption)
    train = data.train
    labels = pd.DataFrame({"label": train.labels, "corrupted": train.corrupted}, index=train.ids.numpy())
    assert table["split"].unique().tolist() == ["train"], "test labels are all real"
    assert table["subset"].tolist() == ["easy"] * 40 + ["difficult"] * 40
    assert table["id"].is_unique
    assert labels.loc[table["id"], "corrupted"].tolist() == [False] * 40 + [True] * 40
    assert labels.loc[table["id"], "label"].tolist() == table["label"].tolist()
    assert table["score"].isna().all()
    assert pq.read_schema(folder / "subsets.parquet").names == list(SUBSET_COLUMNS)
    assert logged(folder) == {
        ("train", "all"): {"lr"} | MOVING | FULL,
        ("train", "easy"): MOVING | FULL,
        ("train", "difficult"): MOVING | FULL | {"label_lead"},
        ("train", "control"): FULL,
        ("test", "all"): FULL,
    }
    assert list(values(folder, "full_accuracy", "train", "easy")) == [0, 1, 2]
    assert list(values(folder, "accuracy", "train", "difficult")) == [1, 2]
    check_last_epoch(folder, config)
    assert list(values(folder, "label_lead", "train", "difficult")) == [0, 1, 2]


def test_the_lead_of_wrong_labels_is_of_the_difficult_whose_label_is_wrong() -> None:
    config = by_labels()
    folder = execute(config)
    data, difficult = load(config.dataset, config.corruption), of(read_subsets(folder), "train", "difficult")
    model = build(config, CPU).model.double().eval()
    model.load_state_dict(torch.load(folder / "checkpoint.pt", weights_only=True)["model"])
    leads = [
        oracles.label_lead(model(data.inputs(image[None]).double())[0], label, true)
        for image, label, true, id in zip(
            data.train.images,
            data.train.labels.tolist(),
            data.train.true_labels.tolist(),
            data.train.ids.tolist(),
            strict=True,
        )
        if id in difficult and label != true
    ]
    assert 0 < len(leads) < len(difficult), "some are right by accident"
    found = values(folder, "label_lead", "train", "difficult")[config.epochs]
    assert found == pytest.approx(float(np.mean(leads)), abs=1e-6)
    assert build(by_labels("corruption.kind=pair"), CPU).mislabelled is None, "its wrong classes are not random"


def test_the_seed_of_a_run_does_not_change_its_subsets() -> None:
    a, b = (read_subsets(execute(by_labels("epochs=1", f"seed={seed}"))) for seed in (0, 1))
    assert a.equals(b)


@pytest.mark.parametrize("masked", ["off", "all_layers"])
@pytest.mark.parametrize("train_on", ["all", "easy"])
def test_numbers_while_the_weights_move_are_means_over_those_examples(masked: str, train_on: str) -> None:
    config = by_labels(f"turnover={masked}", f"subsets.train_on={train_on}")
    folder = execute(config)
    table, parts = read_subsets(folder), build(config, CPU)
    subsets = ["all", "easy", "difficult"] if train_on == "all" else ["all", "easy"]
    assert {subset for split, subset in logged(folder) if logged(folder)[split, subset] >= MOVING} == set(subsets)
    schedule = config.optimizer.lr
    epochs = train(
        *(parts.model, parts.train, parts.optimizer, lambda step: schedule),
        **{"epochs": 2, "batch_size": config.batch_size, "seed": config.seed},  # type: ignore[arg-type]
    )
    for epoch in epochs:
        losses = dict(zip(parts.train.ids.tolist(), epoch.losses.tolist(), strict=True))
        correct = dict(zip(parts.train.ids.tolist(), epoch.correct.tolist(), strict=True))
        for subset in subsets:
            ids = list(losses) if subset == "all" else of(table, "train", subset)
            found = values(folder, "loss", "train", subset)[epoch.number]
            assert found == pytest.approx(sum(losses[id] for id in ids) / len(ids), rel=1e-6)
            found = values(folder, "accuracy", "train", subset)[epoch.number]
            assert found == pytest.approx(sum(correct[id] for id in ids) / len(ids))


@pytest.fixture
def trained_ids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the examples of every step that a run takes from here on."""
    seen: list[int] = []
    batches = Examples.batches

    def spy(examples: Examples, splits: Sequence[torch.Tensor]) -> Iterator[Any]:
        for index, batch in zip(splits, batches(examples, splits), strict=True):
            if torch.is_grad_enabled():
                seen.extend(examples.ids[index].tolist())
            yield batch

    monkeypatch.setattr(Examples, "batches", spy)
    return seen


@pytest.mark.parametrize("train_on", ["easy", "difficult"])
def test_a_subset_alone_is_trained_on_and_both_are_evaluated(train_on: str, trained_ids: list[int]) -> None:
    config = by_labels(f"subsets.train_on={train_on}", "turnover=all_layers", "batch_size=16")
    folder = execute(config)
    table = read_subsets(folder)
    assert sorted(trained_ids) == sorted(2 * of(table, "train", train_on)), "each once an epoch, and nothing else"
    masked = {f"{part}_{what}" for part in ("own", "flipped") for what in ("loss", "accuracy")}
    constant, fresh = ({f"{part}_{what}" for what in ("loss", "accuracy")} for part in ("constant", "fresh"))
    other = {"easy": "difficult", "difficult": "easy"}[train_on]
    lead = {"easy": set(), "difficult": {"label_lead"}}
    assert logged(folder) == {
        ("train", "all"): {"lr"} | MOVING | FULL | masked | constant,
        ("train", train_on): MOVING | FULL | masked | lead[train_on],
        ("train", other): FULL | masked | lead[other],
        ("train", "control"): FULL | masked,
        ("test", "all"): FULL | fresh,
    }
    for metric in ("full_loss", "own_loss", "flipped_accuracy"):  # all examples that it trains on are that subset
        assert values(folder, metric)[2] == pytest.approx(values(folder, metric, "train", train_on)[2], rel=1e-6)
    check_last_epoch(folder, config)


def test_all_examples_are_trained_on_otherwise(trained_ids: list[int]) -> None:
    config = by_labels()
    execute(config)
    assert sorted(trained_ids) == sorted(2 * load(config.dataset, config.corruption).train.ids.tolist())


def test_a_subset_alone_can_be_scored() -> None:
    config = by_labels("subsets.train_on=difficult", entry="score")
    folder = execute(config)
    found, data = read_scores(folder), load(config.dataset, config.corruption)
    assert sorted(found.index) == sorted(of(read_subsets(folder), "train", "difficult"))
    true = dict(zip(data.train.ids.tolist(), data.train.true_labels.tolist(), strict=True))
    assert found["true_label"].tolist() == [true[id] for id in found.index]
    assert found["corrupted"].all()


def test_the_control_has_the_images_and_ids_of_the_difficult_and_other_random_labels() -> None:
    config = by_labels("subsets.size=120")
    groups, again = (build(config, CPU).groups for _ in range(2))
    control, difficult = groups["train", "control"], groups["train", "difficult"]
    assert torch.equal(control.inputs, difficult.inputs)
    assert torch.equal(control.ids, difficult.ids)
    assert torch.equal(control.labels, again["train", "control"].labels)
    for other in ("labels", "true_labels"):  # chance is a tenth
        data = load(config.dataset, config.corruption).train
        known = dict(zip(data.ids.tolist(), getattr(data, other).tolist(), strict=True))
        agreeing = sum(
            known[id] == label for id, label in zip(control.ids.tolist(), control.labels.tolist(), strict=True)
        )
        assert 2 <= agreeing <= 24, "of 120: 12 expected, 3 standard deviations either way"
    assert set(control.labels.tolist()) == set(range(10))
    assert not build(by_scores_made(), CPU).groups.keys() & {("train", "control")}


def by_scores_made() -> RunConfig:
    """A run by scores whose score runs are there."""
    config = by_scores()
    for parent in config.parents:
        execute(parent)
    return config


# --- by score ---


def mean_scores(config: RunConfig) -> pd.DataFrame:
    """id, label, split, mean score and flipped loss of every example, from the tables of the score runs one by one."""
    tables = [pd.read_parquet(Run(parent).folder / "scores.parquet") for parent in config.parents]
    tables = [table[table["epoch"] == parent.epochs] for table, parent in zip(tables, config.parents, strict=True)]
    rows = tables[0][["id", "label", "split"]].copy()
    for name in ("score", "flipped_loss"):
        rows[name] = sum(table[name].to_numpy(dtype=np.float64) for table in tables) / len(tables)
    return rows


@pytest.mark.parametrize("balanced", [False, True])
def test_easy_have_the_lowest_and_difficult_the_highest_mean_scores(balanced: bool) -> None:
    config = by_scores("subsets.size=0.1", f"subsets.balanced={str(balanced).lower()}")
    folder = execute(config)
    table, data, scores = read_subsets(folder), load(config.dataset, config.corruption), mean_scores(config)
    known = {"train": data.train.ids.tolist(), "test": data.test.ids.tolist()}
    assert min(known["test"]) >= 1500
    expected = scores.set_index("id")["score"]
    for split, size in (("train", 30), ("test", 10)):  # a fraction of each split of this run
        rows = scores[scores["id"].isin(known[split]) & (scores["split"] == split)]
        assert len(rows) == len(known[split]), "this run has fewer examples than its score runs"
        plain = list(zip(rows["id"], rows["label"], rows["score"], rows["flipped_loss"], strict=True))
        easy, difficult = oracles.lowest_and_highest(plain, size, balanced=balanced)
        assert of(table, split, "easy") == easy
        assert of(table, split, "difficult") == difficult
        assert len(set(of(table, split, "random")) - {*easy, *difficult}) == size
        assert set(of(table, split, "random")) <= set(known[split])
    np.testing.assert_allclose(table["score"], expected.loc[table["id"]], rtol=1e-5, atol=1e-6)
    groups = list(itertools.product(("train", "test"), ("all", *SUBSETS)))
    assert set(logged(folder)) == set(groups)
    assert all(logged(folder)[group] >= FULL for group in groups)
    assert logged(folder)["train", "easy"] >= MOVING
    check_last_epoch(folder, config)


def test_a_count_is_one_of_each_split() -> None:
    table = read_subsets(execute(by_scores("subsets.size=17", "epochs=1")))
    assert table.groupby(["split", "subset"]).size().tolist() == [17] * 6


def test_test_examples_that_were_not_scored_have_no_subsets() -> None:
    folder = execute(by_scores(parents=("seed=0",)))
    assert set(read_subsets(folder)["split"]) == {"train"}
    assert set(logged(folder)) == {*(("train", subset) for subset in ("all", *SUBSETS)), ("test", "all")}


@pytest.mark.parametrize("train_on", SUBSETS)
def test_a_run_on_one_subset_trains_on_no_test_example(train_on: str, trained_ids: list[int]) -> None:
    config = by_scores(f"subsets.train_on={train_on}")
    for parent in config.parents:
        execute(parent)
    trained_ids.clear()
    folder = execute(config)
    assert sorted(trained_ids) == sorted(2 * of(read_subsets(folder), "train", train_on))
    assert max(trained_ids) < 1500


def test_score_runs_with_other_random_labels_are_refused() -> None:
    """Which labels are replaced depends on the limit, so another limit means other labels."""
    corrupted = ("corruption=labels", "corruption.count=100")

    def make() -> None:
        config = by_scores(*corrupted, parents=corrupted)
        for parent in config.parents:
            execute(parent)
        build(config, CPU)

    with pytest.raises(RefusedInput, match=r"subsets\.runs: .*random labels"):
        make()


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that are worked on from here on."""
    names: list[str] = []
    work = pipeline.work

    def spy(run: Run, *arguments: Any) -> None:
        names.append(run.name)
        work(run, *arguments)

    monkeypatch.setattr(pipeline, "work", spy)
    return names


def test_score_runs_are_made_first_and_once(worked: list[str]) -> None:
    config = by_scores()
    parents = [Run(parent).name for parent in config.parents]
    folder = execute(config)
    assert worked == [*parents, folder.name]
    assert len(set(worked)) == 3
    assert all(Run(parent).finished for parent in config.parents)
    assert Run(config).manifest["parents"] == parents
    execute(config)
    other = by_scores("seed=5")
    execute(other)
    assert worked[3:] == [Run(other).name], "score runs that are there are not made again"


def test_a_finished_run_does_not_need_its_score_runs(worked: list[str]) -> None:
    config = by_scores("epochs=1")
    execute(config)
    (Run(config.parents[0]).folder / "DONE").unlink()
    execute(config)
    assert len(worked) == 3


def test_a_run_whose_score_runs_are_missing_says_how_to_make_them() -> None:
    with pytest.raises(RunFailed, match=r"run score-digits-mlp-\w+ is not finished: make it with scripts/score\.py"):
        build(by_scores(), CPU)


# --- stopped and gone on ---


def interrupt_at(stop: int) -> Callable[..., None]:
    """A checkpoint.save that is interrupted after its `stop`-th checkpoint."""
    save, number = checkpoint.save, itertools.count(1)

    def interrupt(*arguments: Any) -> None:
        save(*arguments)
        if next(number) == stop:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_in_a_score_run_or_in_the_run_itself_it_goes_on_with_the_same_numbers(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = by_scores("turnover=all_layers", "optimizer.momentum=0.9")
    whole = execute(config)
    monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / "stopped"))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", interrupt_at(stop))  # two checkpoints a run, three runs
        with pytest.raises(KeyboardInterrupt):
            execute(config)
    stopped = [*config.parents, config][(stop - 1) // 2]
    assert Run(stopped).manifest["status"] == "interrupted"
    assert Run(config).folder.exists() == (stop == 5), "a run starts when its score runs are finished"
    folder = execute(config)
    for name in ("metrics.parquet", "subsets.parquet", "config.yaml"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert "goes on after epoch 1 of 2" in (Run(stopped).folder / "log.txt").read_text()


# --- as a table says ---


@pytest.fixture
def table() -> pd.DataFrame:
    """Subsets with names of the user's, that share examples, of both splits."""
    known = load(by_labels().dataset, digits().corruption)
    train, test = known.train.ids.tolist(), known.test.ids.tolist()
    rows = [
        *((id, "train", "curved") for id in train[20:0:-1]),
        *((id, "train", "straight") for id in train[100:107]),
        *((id, "train", "both") for id in train[15:105]),
        *((id, "test", "curved") for id in test[:9]),
    ]
    return pd.DataFrame(rows, columns=["id", "split", "subset"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_its_subsets(kind: str, table: pd.DataFrame, tmp_path: Path, trained_ids: list[int]) -> None:
    path = tmp_path / f"mine.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    config = by_table(path, "subsets.train_on=curved")
    folder = execute(config)
    found = read_subsets(folder)
    assert found[["id", "split", "subset"]].to_numpy().tolist() == table.to_numpy().tolist()
    data = load(config.dataset, config.corruption)
    labels = dict(
        zip([*data.train.ids.tolist(), *data.test.ids.tolist()], [*data.train.labels, *data.test.labels], strict=True)
    )
    assert found["label"].tolist() == [int(labels[id]) for id in found["id"]]
    assert sorted(trained_ids) == sorted(2 * of(table, "train", "curved"))
    moving = {group for group, metrics in logged(folder).items() if metrics >= MOVING}
    assert moving == {("train", "all"), ("train", "curved")}, "others are not wholly trained on"
    groups = {("train", "straight"), ("train", "both"), ("test", "curved"), ("test", "all")}
    assert set(logged(folder)) == moving | groups
    check_last_epoch(folder, config)


def test_the_subsets_of_another_run_are_a_table() -> None:
    scored = by_scores("epochs=1")
    path = execute(scored) / "subsets.parquet"
    again = read_subsets(execute(by_table(path, "epochs=1")))
    assert again.equals(read_subsets(path.parent))


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (lambda table: table.drop(columns="split"), [], "columns id, split and subset"),
        (lambda table: table.head(0), [], "must have rows"),
        (lambda table: table.assign(subset="all"), [], "a subset is named all"),
        (lambda table: pd.concat([table, table.head(1)]), [], "holds an example twice"),
        (lambda table: table.assign(split="test"), [], "117 of 126 rows are examples that this run does not have"),
        (lambda table: table.assign(split="valid"), [], r"the first is id \d+ of split 'valid'"),
        (lambda table: table.assign(id=table["id"] + 5000), [], "test ids follow the training ids"),
        (lambda table: table.assign(id="x"), [], "column id must have whole numbers alone"),
        (lambda table: table.assign(id=table["id"] + 0.5), [], "column id must have whole numbers alone"),
        (lambda table: table.assign(subset=1), [], "column subset must have names alone"),
        (lambda table: table.assign(subset=None), [], "column subset must have names alone"),
        (lambda table: table.assign(split=0), [], "column split must have names alone"),
        (lambda table: table.assign(score="high"), [], "column score must have numbers alone"),
        (lambda table: table, ["subsets.train_on=round"], "there are all, curved, straight, both"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    overrides: list[str],
    message: str,
    table: pd.DataFrame,
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.csv"
    change(table).to_csv(path, index=False)
    with pytest.raises(RefusedInput, match=message):
        build(by_table(path, *overrides), CPU)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("garbage.parquet", b"abc"),
        ("empty.parquet", b""),
        ("binary.csv", b"\xff\xfe\x00"),
        ("ragged.csv", b"id,split,subset\n1,train,a\n1,2,3,4,5\n"),
        ("empty.csv", b""),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RefusedInput, match=f"{name}: cannot be read as (csv|parquet): ") as refused:
        build(by_table(path), CPU)
    assert len(str(refused.value).splitlines()) == 1


# --- both splits on one scale ---


def test_included_test_examples_are_trained_and_scored_and_tested_no_more(trained_ids: list[int]) -> None:
    corrupted = ("corruption=labels", "corruption.count=50")
    config = digits(*SMALL, *corrupted, "dataset.include_test=true", "estimator.epochs=[1]")
    folder = execute(config)
    data = load(digits(*SMALL, *corrupted).dataset, config.corruption)
    ids = [*data.train.ids.tolist(), *data.test.ids.tolist()]
    assert sorted(trained_ids) == sorted(2 * ids)
    for epoch in (1, 2):
        table = read_scores(folder, epoch)
        assert table.index.tolist() == ids
        assert table["split"].tolist() == ["train"] * 300 + ["test"] * 100
        assert (table.index[table["split"] == "test"] >= 1500).all()
        assert table["label"].tolist() == [*data.train.labels.tolist(), *data.test.labels.tolist()]
        assert table["true_label"].tolist() == [*data.train.true_labels.tolist(), *data.test.true_labels.tolist()]
        assert table["corrupted"].tolist() == [*data.train.corrupted.tolist(), *[False] * 100]
    assert set(read_metrics(folder)["split"]) == {"train"}, "a test example that was trained on tests nothing"
    assert not {metric for metric in read_metrics(folder)["metric"] if metric.startswith("fresh")}
    table = read_scores(folder)  # all of them are tracked
    assert values(folder, "own_accuracy")[2] == pytest.approx((table["own_prediction"] == table["label"]).mean())


# --- plain epochs ---


def test_plain_epochs_equal_those_of_a_run_without_turn_over_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[torch.Tensor]] = []
    save = checkpoint.save

    def keep(path: Path, model: nn.Module, *arguments: Any) -> None:
        kept.append([parameter.detach().clone() for parameter in model.parameters()])
        save(path, model, *arguments)

    monkeypatch.setattr(checkpoint, "save", keep)
    common = (*SMALL, "epochs=4", "optimizer.momentum=0.9", "tracking.every=1")
    plain = execute(digits(*common, "turnover=off", entry="train"))
    mixed = execute(digits(*common, "turnover=all_layers", "turnover.plain_epochs=2", entry="train"))
    without, with_plain = kept[:4], kept[4:]
    same = [all(map(torch.equal, a, b)) for a, b in zip(without, with_plain, strict=True)]
    assert same == [True, True, False, False]
    for metric in ("full_loss", "full_accuracy"):
        a, b = values(plain, metric, "test"), values(mixed, metric, "test")
        assert [a[epoch] == pytest.approx(b[epoch], rel=1e-6) for epoch in range(3)] == [True] * 3
    assert values(plain, "loss")[2] == values(mixed, "loss")[2]
    assert values(plain, "loss")[3] != values(mixed, "loss")[3]


# --- the parts themselves ---


def test_tracked_examples_are_balanced_and_part_of_those_trained_on() -> None:
    parts = build(by_labels("tracking.examples=50"), CPU)
    tracked = parts.groups["train", "all"]
    assert len(tracked) == 50
    assert set(tracked.ids.tolist()) <= set(parts.train.ids.tolist())
    assert len(parts.groups["train", "easy"]) == 40, "a subset is evaluated whole"
    few = build(by_labels("tracking.examples=50", "subsets.train_on=easy"), CPU)
    assert sorted(few.groups["train", "all"].ids.tolist()) == sorted(few.train.ids.tolist())


def test_initial_weights_depend_on_the_seed_and_not_on_the_subsets() -> None:
    def weights(config: RunConfig) -> torch.Tensor:
        return torch.cat([each.detach().flatten() for each in build(config, CPU).model.parameters()])

    first = weights(by_labels())
    assert torch.equal(first, weights(by_labels("subsets.train_on=easy", "turnover=all_layers")))
    assert not torch.equal(first, weights(by_labels("seed=1")))


def test_masks_have_the_seed_of_the_run() -> None:
    hidden: list[torch.Tensor] = []
    for seed in (0, 3):
        parts = build(by_labels("turnover=all_layers", f"seed={seed}"), CPU)
        parts.model.get_submodule("3").register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))
        x, _, ids = parts.train.batch(torch.arange(20))
        with turnover.own(parts.model, ids):
            parts.model(x)
        assert not (hidden[-1].ne(0) & ~turnover.mask(ids, 16, 0, seed)).any()
        assert hidden[-1].any()
