"""Pictures of influence and of the privacy onion: what is shown and compared, against plain loops."""

import numpy as np
import pandas as pd
import pytest
import torch
from digits import digits
from ensemble_oracles import kept, log_likelihood_ratios

from turnover.config.compose import sweep
from turnover.data.datasets import load
from turnover.data.subsets import ranked
from turnover.estimators.influence import agreement_of_seeds, influence
from turnover.experiments.figures import influence as picture
from turnover.experiments.figures import onion
from turnover.experiments.plots.notes import Source
from turnover.runs import checkpoint
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.runs.store.tables import read_influences, read_scores
from turnover.runs.subsets import choose


def test_a_run_stores_the_influences_of_its_last_network() -> None:
    config = digits("estimator.targets=7", "dataset.limit=150")
    folder = execute(config)
    found = read_influences(folder)
    parts = build(config, torch.device("cpu"))
    checkpoint.load(folder / "checkpoint.pt", parts.model, parts.optimizer)
    test = parts.groups["test", "all"]
    places = torch.searchsorted(test.ids, torch.tensor(found.columns.to_numpy()))
    inputs, labels, ids = test.batch(places)
    assert found.columns.tolist() == ids.tolist()
    assert found.index.tolist() == parts.train.ids.tolist()
    expected = influence(parts.model, inputs, labels, parts.train.ids)
    np.testing.assert_allclose(found.to_numpy().T, expected.numpy(), atol=1e-6)
    assert labels.bincount().max() == 1, "as many of every class as can be"


def test_the_targets_differ_most_and_have_different_classes() -> None:
    config = digits("estimator.targets=20", "dataset.limit=150")
    test = load(config.dataset, config.corruption).test
    columns = pd.Index(test.ids[:12].numpy(), name="target")
    labels = dict(zip(columns, test.labels[:12].tolist(), strict=True))
    spread = {target: float(number) for number, target in enumerate(columns)}  # the later, the larger
    mean = pd.DataFrame({target: [-spread[target], 0.0, spread[target]] for target in columns})
    mean.columns = columns
    best: dict[int, int] = {}
    for target in columns:  # the last of each class wins
        best[labels[target]] = int(target)
    expected = sorted(sorted(best.values(), key=lambda target: -spread[target])[:4], key=lambda target: labels[target])
    assert picture.chosen(mean, test, 4) == expected


def test_the_most_helpful_and_the_most_harmful_are_shown() -> None:
    values = pd.Series([0.1, -2.0, 3.0, 0.0, -1.0, 2.0], index=pd.Index([10, 11, 12, 13, 14, 15], name="id"))
    shown = picture.extremes(values, 99, 2)
    assert shown["id"].tolist() == [12, 15, 11, 14]
    assert shown["side"].tolist() == ["helpful", "helpful", "harmful", "harmful"]
    assert shown["influence"].tolist() == [3.0, 2.0, -2.0, -1.0]
    assert set(shown["target"]) == {99}


def test_seeds_that_agree_and_one_seed() -> None:
    table = pd.DataFrame({1: [0.0, 1.0, 2.0], 2: [5.0, 4.0, 3.0]})
    assert agreement_of_seeds([table, table]) == pytest.approx(1)
    assert agreement_of_seeds([table, -table]) == pytest.approx(-1)
    assert np.isnan(agreement_of_seeds([table]))
    configs = [digits(f"seed={seed}") for seed in range(3)]
    several = picture.note({"targets": 100, "agreement_of_seeds": 0.1234}, configs)
    assert "Spearman correlation of 0.123 (" in several
    assert "mean of 3 seeds" in several
    one = picture.note({"targets": 100, "agreement_of_seeds": float("nan")}, configs[:1])
    assert "not known" in one
    assert "nan" not in one


def test_an_onion_is_peeled_and_compared_on_what_remains_in_both() -> None:
    configs = sweep(["+experiment=onion", "scale=smoke", "logger=none", "seed=0"])
    for config in configs:
        execute(config)
    table = read_scores(Run(configs[0].parents[0]).folder)
    sources = [Source(config, Run(config).folder) for config in configs]
    numbers, more_exposed = onion._of_seed(0, sources)
    members = {config.subsets.train_on: kept(Run(config).folder) for config in configs}
    removed = {side: set(table.index) - set(each["ids"].tolist()) for side, each in members.items()}
    assert removed["without_difficult"] == set(ranked(table).index[-20:])
    assert len(removed["without_random"]) == 20
    both = [id for id in table["score"].sort_values(kind="stable").index if id not in set.union(*removed.values())]
    exposures, attacked = {}, {}
    for side, each in members.items():
        places = [each["ids"].tolist().index(id) for id in both]
        included = each["included"][:, places]
        ratios = log_likelihood_ratios(each["confidence"][:, places].tolist(), included.tolist())
        attacked[side] = np.array(ratios), included
    outside = sorted((ratio for ratios, included in attacked.values() for ratio in ratios[~included]), reverse=True)
    common = outside[int(0.01 * len(outside))]
    for side, (ratios, included) in attacked.items():
        alone = sorted(ratios[~included], reverse=True)
        limit = alone[int(0.01 * len(alone))]
        exposures[side] = np.array(
            [ratios[inside, i].mean() - ratios[~inside, i].mean() for i, inside in enumerate(included.T)]
        )
        tenths = [list(range(len(both))), *(list(part) for part in np.array_split(range(len(both)), 10))]
        for tenth, part in enumerate(tenths):
            row = numbers[(numbers["side"] == side) & (numbers["tenth"] == tenth)].iloc[0]
            assert row["examples"] == len(part)
            assert row["exposure"] == pytest.approx(exposures[side][part].mean())
            positive = [ratios[n, i] for n in range(len(ratios)) for i in part if included[n, i]]
            assert row["found"] == pytest.approx(np.mean(np.array(positive) > limit))
            assert row["found_common"] == pytest.approx(np.mean(np.array(positive) > common))
            negative = [ratios[n, i] for n in range(len(ratios)) for i in part if not included[n, i]]
            assert row["false_positives"] == pytest.approx(np.mean(np.array(negative) > common))
    assert more_exposed == pytest.approx(np.mean(exposures["without_difficult"] > exposures["without_random"]))
    assert set(numbers["tenth"]) == set(range(11))
    known = {(row["side"], row["tenth"]): row for row in numbers.to_dict("records")}
    for measure, value, tenth in (
        ("found_gain", "found", 0),
        ("common_gain", "found_common", 0),
        ("false_gain", "false_positives", 0),
        ("found_next_tenth", "found", 10),
        ("gain", "exposure", 0),
        ("next_tenth_gain", "exposure", 10),
    ):
        gain = known["without_difficult", tenth][value] - known["without_random", tenth][value]
        assert onion.measures(numbers)[measure] == [pytest.approx(gain)]
    found = numbers.set_index(["side", "tenth"])["found"].to_dict()
    more = [found["without_difficult", tenth] > found["without_random", tenth] for tenth in range(1, 11)]
    assert onion.measures(numbers)["found_tenths"] == [sum(more) / 10]


def test_the_control_of_an_onion_is_any_tenth_and_another_for_each_seed() -> None:
    left_out = []
    for seed in (0, 1):
        configs = sweep(["+experiment=onion", "scale=smoke", "logger=none", f"seed={seed}"])
        for config in configs:
            for parent in config.parents:
                execute(parent)
            chosen = choose(config, load(config.dataset, config.corruption))
            assert chosen is not None
            of_train = chosen[chosen["split"] == "train"]
        left_out.append(set(of_train["id"][of_train["subset"] == "random"]))
        assert left_out[-1] & set(of_train["id"][of_train["subset"] != "random"]), "it may hold exposed ones"
    assert left_out[0] != left_out[1]
