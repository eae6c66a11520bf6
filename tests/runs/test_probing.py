"""Probes of runs: parents are made, every probe takes their networks, rewound networks are those of the metrics."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from crashes import crashes_that_change_nothing
from digits import digits

from turnover.config.compose import sweep
from turnover.config.probe_run import ProbeRun
from turnover.config.probes import PROBES
from turnover.config.run import RunConfig, identity
from turnover.errors import RefusedInput
from turnover.probes.registry import COLUMNS
from turnover.runs.execute import execute
from turnover.runs.networks import trained
from turnover.runs.probing import probe
from turnover.runs.store.housekeeping import runs
from turnover.runs.store.run import Run
from turnover.runs.store.tables import PROBE_COLUMNS, read_metrics, read_probes

LEARNT = ("epochs=12", "dataset.limit=300", "corruption=symmetric", "corruption.count=40", "optimizer.lr=0.1")
TRACKED = ("tracking.every=1", "tracking.keep=[2,3]", "tracking.examples=null")
WITH = (*LEARNT, "estimator=first_learning", "model.hidden=[24,16]", *TRACKED)
OPTIONS: dict[str, dict[str, Any]] = {"neurons": {"examples": 3, "batch": 20, "others": 20}}


CHOSEN = (  # by others, of the same examples and wrong labels
    "subsets=scores",
    f"subsets.runs={['dataset=digits', 'epochs=2', *LEARNT[1:-1], 'turnover=off', 'estimator=cumulative_loss']}",
)
OF_OTHERS: dict[str, tuple[str, ...]] = {"unlearn": CHOSEN}


def two(*overrides: str) -> list[RunConfig]:
    return [digits(*WITH, *overrides, f"seed={seed}") for seed in (0, 1)]


def run_of(name: str, configs: list[RunConfig], **options: Any) -> ProbeRun:
    return ProbeRun.of({"name": name, **options}, configs, "cpu", "smoke")


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_measures_the_networks_of_runs(name: str) -> None:
    configs = two(*OF_OTHERS.get(name, ()))
    folder = probe(run_of(name, configs, **OPTIONS.get(name, {})))
    assert folder.name.startswith(f"probe-{name}-digits-mlp-")
    table = read_probes(folder)
    names = {Run(config).name for config in configs}
    assert {each for run in table["run"] for each in run.split(" & ")} == names
    assert table["value"].notna().all()
    schema = pq.read_schema(folder / "probes.parquet")
    assert schema.names == list(PROBE_COLUMNS) == COLUMNS
    assert all(schema.field(column).metadata[b"doc"].decode() == doc for column, (_, doc) in PROBE_COLUMNS.items())


def test_rewound_networks_are_those_of_their_epochs() -> None:
    [config, _] = two()
    table = read_probes(probe(run_of("rewind", [config])))
    logged = read_metrics(Run(config).folder).query("metric == 'full_accuracy' and split == 'test'")
    metrics = logged.set_index("epoch")["value"]
    for epoch, block in ((0, "all"), (2, "all"), (3, "all"), (12, "none")):
        rows = table[(table["epoch"] == epoch) & (table["block"] == block) & (table["group"] == "test")]
        assert rows["value"].item() == pytest.approx(metrics[epoch])
    assert metrics[0] < metrics[2] < metrics[12]


def test_without_wrong_labels_retraining_all_is_the_same_training_again() -> None:
    config = digits("epochs=4", "dataset.limit=300", "optimizer.lr=0.1", "estimator=none")
    table = read_probes(probe(run_of("retrain", [config]))).set_index(["block", "group"])["value"]
    assert table["all", "test"] == table["none", "test"]
    assert set(table.index.get_level_values("group")) == {"clean", "test"}


def test_a_finished_probe_is_cached_and_listed() -> None:
    config = run_of("dimension", two())
    folder = probe(config)
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert probe(config) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    parents = json.loads((folder / "manifest.json").read_text())["parents"]
    assert parents == [Run(each).name for each in two()]
    listed = {found.folder.name: found for found in runs(thorough=True)}
    assert listed[folder.name].state == "finished"
    assert listed[folder.name].title.endswith("by block, digits, mlp, 2 networks, smoke")


def test_options_and_runs_are_in_the_identity() -> None:
    first, second = two()
    configs = [run_of("dimension", [first]), run_of("dimension", [first, second]), run_of("collapse", [first])]
    configs += [run_of("dimension", [first], discard=0.2)]
    assert len({config.identity for config in configs}) == 4
    assert run_of("dimension", [first], discard=0.1).identity == configs[0].identity
    elsewhere = first.model_copy(update={"experiment": "other", "scale": "paper"})
    assert run_of("dimension", [elsewhere]).identity == configs[0].identity


def test_weights_are_kept_whatever_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = digits("epochs=2", "dataset.limit=100", "estimator=none", "tracking.keep=[1,2]")
    writes = crashes_that_change_nothing(config, tmp_path, monkeypatch, ["metrics.parquet"])
    assert writes == 13, (
        "config, manifest, 2 weights, 2 checkpoints with checksums, one before, metrics, manifest, sums, DONE"
    )
    folder = execute(config)
    final = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    kept = [torch.load(folder / "weights" / f"epoch-0000{epoch}.pt", weights_only=True) for epoch in (1, 2)]
    assert all(value.equal(final[name]) for name, value in kept[1].items())
    assert not all(value.equal(final[name]) for name, value in kept[0].items())
    assert identity(config) != identity(digits("epochs=2", "dataset.limit=100", "estimator=none"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("tracking.keep=[1,4]",), r"tracking.keep = \[1, 4\]: epoch 4 is beyond epochs = 3"),
        (("tracking.keep=[0]",), "tracking.keep"),
        (("estimator=blocks", "tracking.keep=[1]"), "trains several networks: set it to"),
    ],
)
def test_epochs_that_cannot_be_kept_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        digits(*overrides, "epochs=3")


def test_a_run_of_several_networks_is_refused() -> None:
    config = digits("estimator=blocks", "estimator.blocks=6", "epochs=1", "dataset.limit=60")
    with pytest.raises(RefusedInput, match="has estimator = 'blocks', which trains several networks"):
        probe(run_of("knn", [config]))


def test_a_network_of_text_is_refused() -> None:
    [config] = sweep(["dataset=sotu", "model=gpt", "scale=smoke", "logger=none", "device=cpu"])
    with pytest.raises(RefusedInput, match="is of text; probes are of networks that classify"):
        trained(config, torch.device("cpu"))


def test_a_network_with_turn_over_dropout_is_measured_whole() -> None:
    config = digits("epochs=3", "dataset.limit=200", "corruption=symmetric", "corruption.count=20")
    table = read_probes(probe(run_of("rewind", [config])))
    metrics = read_metrics(Run(config).folder).query("metric == 'full_accuracy' and split == 'test' and epoch == 3")
    assert isinstance(table, pd.DataFrame)
    rows = table[(table["block"] == "none") & (table["group"] == "test")]
    assert rows["value"].item() == pytest.approx(metrics["value"].item())
