"""Every probe against its definition in loops, in float64; and that a network is the same afterwards."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import probe_oracles as oracles
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.common.seeding import seeded
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.models.conv import conv
from turnover.models.mlp import mlp
from turnover.probes.registry import COLUMNS, measured
from turnover.probes.trained import State, Trained, split

CLASSES, N, M = 3, 60, 40


def trained(seed: int = 0, make: Callable[[], nn.Module] = lambda: mlp(16, [7, 6], CLASSES)) -> Trained:
    """A network in float64 that has learnt examples, a fifth of whose labels are wrong; data are the same for all."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(N + M) % CLASSES
    x = torch.randn(N + M, 1, 4, 4, dtype=torch.float64, generator=generator) + true[:, None, None, None]
    y = true.clone()
    y[:N:5] = (y[:N:5] + 1) % CLASSES
    groups, truth = split(Examples(x[:N], y[:N], torch.arange(N)), true[:N])
    groups["test"], truth["test"] = Examples(x[N:], true[N:], torch.arange(N, N + M)), true[N:]
    with seeded(seed, "init"):
        model = make().double()
    weights = {0: copy.deepcopy(model.state_dict())}
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for epoch in range(1, 121):
        nn.functional.cross_entropy(model(x[:N]), y[:N]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if epoch == 15:
            weights[3] = copy.deepcopy(model.state_dict())
    scores = pd.DataFrame({"first_learning": (x[:N].sum((1, 2, 3)) * (seed + 1)).sin()}, index=range(N))
    kept: dict[int, Callable[[], State]] = {epoch: partial(copy.deepcopy, state) for epoch, state in weights.items()}
    return Trained(f"net{seed}", model, groups, truth, 40, kept, _three_steps, scores)


def _three_steps(model: nn.Module, examples: Examples, epochs: int = 3) -> None:
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], 0.1)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(examples.inputs), examples.labels).backward()
        optimizer.step()


def earlier(network: Trained, epoch: int) -> nn.Module:
    model = copy.deepcopy(network.model)
    model.load_state_dict(network.weights(epoch))
    return model


@pytest.fixture(scope="module")
def network() -> Trained:
    return trained()


@pytest.fixture(scope="module")
def other() -> Trained:
    return trained(1)


def numbers(table: pd.DataFrame, **where: Any) -> Any:
    """Values by the first column that `where` leaves open."""
    for name, value in where.items():
        table = table[table[name] == value]
    return table["value"].to_list()


def values(network: Trained, group: str) -> tuple[Tensor, Tensor, list[int]]:
    return network.groups[group].inputs, network.groups[group].labels, network.truth[group].tolist()


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("block", ["1", "3", "5"])
def test_rewinding_is_loading_weights_by_hand(network: Trained, block: str, epoch: int) -> None:
    table = measured("rewind", [network], {"epochs": [epoch]})
    by_hand = oracles.rewound(network.model, earlier(network, epoch), block)
    for group in ("clean", "noisy", "test"):
        x, y, true = values(network, group)
        found = {"block": block, "epoch": epoch, "group": group}
        assert numbers(table, measure="accuracy", **found) == [pytest.approx(oracles.share_right(by_hand, x, y))]
        if group == "noisy":
            expected = oracles.share_right(by_hand, x, torch.tensor(true))
            assert numbers(table, measure="true_accuracy", **found) == [pytest.approx(expected)]
    all_back = oracles.share_right(earlier(network, epoch), *values(network, "clean")[:2])
    assert numbers(table, block="all", group="clean") == [pytest.approx(all_back)]


def test_without_epochs_every_kept_one_is_rewound_to(network: Trained) -> None:
    table = measured("rewind", [network], {})
    assert set(table["epoch"]) == {0, 3, 40}
    assert set(table[table["epoch"] == 40]["block"]) == {"none"}
    assert numbers(table, block="none", group="noisy", measure="accuracy")[0] > 0.8  # it has learnt them
    with pytest.raises(RefusedInput, match="weights after epoch 7 are needed; there are those of epochs: 0, 3"):
        measured("rewind", [network], {"epochs": [7]})


@pytest.mark.parametrize("block", ["1", "3", "5", "all"])
def test_retraining_trains_one_block_on_clean_examples(network: Trained, block: str) -> None:
    table = measured("retrain", [network], {})
    x, y, _ = values(network, "clean")
    by_hand = oracles.retrained(network.model, earlier(network, 0), None if block == "all" else block, x, y)
    for group in ("clean", "noisy", "test"):
        expected = oracles.share_right(by_hand, *values(network, group)[:2])
        assert numbers(table, measure="accuracy", block=block, group=group) == [pytest.approx(expected)]


@pytest.mark.parametrize("neighbours", [1, 5])
def test_nearest_neighbours_vote_with_true_labels(network: Trained, neighbours: int) -> None:
    table = measured("knn", [network], {"neighbours": neighbours})
    x = {group: values(network, group)[0] for group in ("clean", "noisy", "test")}
    labels = network.truth["clean"].tolist() + network.truth["noisy"].tolist()
    for epoch, model in ((0, earlier(network, 0)), (40, network.model)):
        h = {group: oracles.features_of_mlp(model, each) for group, each in x.items()}  # type: ignore[arg-type]
        for number, block in enumerate(["1", "3", "5"]):
            train = np.concatenate([h["clean"][number], h["noisy"][number]])
            predicted = oracles.nearest_labels(train, labels, h["test"][number], neighbours)
            expected = np.mean(np.array(predicted) == network.truth["test"].numpy())
            assert numbers(table, block=block, epoch=epoch) == [pytest.approx(expected)]
    train = torch.cat([x["clean"], x["noisy"]]).flatten(1).numpy()
    predicted = oracles.nearest_labels(train, labels, x["test"].flatten(1).numpy(), neighbours)
    assert numbers(table, block="input") == [
        pytest.approx(np.mean(np.array(predicted) == network.truth["test"].numpy()))
    ]


def test_dilation_and_collapse(network: Trained) -> None:
    table = measured("collapse", [network], {})
    test, test_true = values(network, "test")[0], values(network, "test")[2]
    of_test = oracles.features_of_mlp(network.model, test)  # type: ignore[arg-type]
    for number, block in enumerate(["1", "3", "5"]):
        spread = oracles.distance_from_class(of_test[number], test_true, of_test[number], test_true)
        together, given = [], []
        for group in ("clean", "noisy"):
            x, y, true = values(network, group)
            h = oracles.features_of_mlp(network.model, x)[number]  # type: ignore[arg-type]
            distance = oracles.distance_from_class(h, true, of_test[number], test_true)
            assert numbers(table, block=block, group=group) == pytest.approx([distance, distance / spread], rel=1e-9)
            together.append(h)
            given += y.tolist()
        expected = oracles.nc1(np.concatenate(together), given)
        assert numbers(table, block=block, group="train", measure="nc1") == [pytest.approx(expected, rel=1e-6)]
        expected = oracles.nc1(of_test[number], test_true)
        assert numbers(table, block=block, group="test", measure="nc1") == [pytest.approx(expected, rel=1e-6)]


def test_similarity_of_two_networks(network: Trained, other: Trained) -> None:
    table = measured("similarity", [network, other], {"group": "clean"})
    assert set(table["run"]) == {"net0 & net1"}
    x = values(network, "clean")[0]
    a, b = (oracles.features_of_mlp(each.model, x) for each in (network, other))  # type: ignore[arg-type]
    for number, block in enumerate(["1", "3", "5"]):
        both = (oracles.pwcca(a[number], b[number]) + oracles.pwcca(b[number], a[number])) / 2
        assert numbers(table, block=block, measure="pwcca") == [pytest.approx(both, rel=1e-6)]
        expected = oracles.cka(a[number], b[number])
        assert numbers(table, block=block, measure="cka") == [pytest.approx(expected, rel=1e-9)]
    same = measured("similarity", [network, network], {"group": "clean"})
    assert same["value"].to_list() == pytest.approx([1.0] * len(same))


def test_similarity_refuses_what_it_cannot_compare(network: Trained, other: Trained) -> None:
    with pytest.raises(RefusedInput, match="give two or more"):
        measured("similarity", [network], {})
    with pytest.raises(RefusedInput, match="block 1 has 7 features, and there are 7 examples"):
        measured("similarity", [network, other], {"examples": 7})
    deeper = trained(0, lambda: mlp(16, [4, 4, 4], CLASSES))
    with pytest.raises(RefusedInput, match="other blocks"):
        measured("similarity", [network, deeper], {})


def test_dimension_by_two_neighbours(network: Trained) -> None:
    table = measured("dimension", [network], {"group": "test", "discard": 0.2})
    h = oracles.features_of_mlp(network.model, values(network, "test")[0])  # type: ignore[arg-type]
    for number, block in enumerate(["1", "3", "5"]):
        different = np.unique(h[number], axis=0)
        assert numbers(table, block=block) == [pytest.approx(oracles.two_nn(different, 0.2), rel=1e-9)]


def test_dimension_of_a_plane_in_twenty_dimensions() -> None:
    from turnover.probes.dimension import two_nn

    generator = torch.Generator().manual_seed(0)
    plane = torch.rand(1500, 2, dtype=torch.float64, generator=generator) @ torch.randn(
        2, 20, dtype=torch.float64, generator=generator
    )
    assert two_nn(plane, 0.1) == pytest.approx(2, abs=0.15)
    assert two_nn(plane, 0.0) == pytest.approx(2, abs=0.3), "the largest ratio, of which all are at most, never counts"
    with pytest.raises(RefusedInput, match="needs three examples that differ"):
        two_nn(torch.zeros(5, 2, dtype=torch.float64), 0.1)


def test_units_are_zeroed_until_the_prediction_flips(network: Trained) -> None:
    from turnover.probes.neurons import Zeroing, margin

    clean, noisy = network.groups["clean"], network.groups["noisy"]
    zeroing = Zeroing(network, clean.select(torch.arange(20)))
    assert zeroing.widths == [7, 6]
    counts = []
    for number in range(6):
        zeroed, flips = zeroing.greedy(noisy, number, 4)
        x, y = noisy.inputs[number : number + 1], int(noisy.labels[number])
        expected = oracles.zeroed_units(network.model, x, y, clean.inputs[:20], clean.labels[:20], 13, 4)  # type: ignore[arg-type]
        assert sorted(zeroed.nonzero()[:, 0].tolist()) == sorted(expected)
        left = 1.0 - zeroed.double().numpy()
        logits = oracles.logits_of_mlp(network.model, x, left)[0]  # type: ignore[arg-type]
        assert flips == (logits.argmax() != y)
        right = oracles.logits_of_mlp(network.model, clean.inputs, left).argmax(1) == clean.labels.numpy()  # type: ignore[arg-type]
        assert zeroing.right(clean, zeroed).tolist() == right.tolist()
        counts.append(len(expected))
        full = network.model(x)[0].tolist()
        expected_margin = full[y] - max(value for label, value in enumerate(full) if label != y)
        assert float(margin(network, noisy)[number]) == pytest.approx(expected_margin, rel=1e-6)
    assert len(set(counts)) > 1  # they differ


def test_random_units_are_as_few_as_flip_it(network: Trained) -> None:
    from turnover.common.seeding import torch_generator
    from turnover.probes.neurons import Zeroing

    noisy = network.groups["noisy"]
    zeroing = Zeroing(network, network.groups["clean"])
    for number in range(4):
        order = torch.randperm(13, generator=torch_generator(0, "units", int(noisy.ids[number])))
        expected = float("inf")
        for count in range(13, 0, -1):
            left = np.ones(13)
            left[order[:count]] = 0
            logits = oracles.logits_of_mlp(network.model, noisy.inputs[number : number + 1], left)[0]  # type: ignore[arg-type]
            expected = count if logits.argmax() != int(noisy.labels[number]) else expected
        assert zeroing.random(noisy, number) == expected


def test_neurons_of_noisy_clean_and_matched_examples(network: Trained) -> None:
    table = measured("neurons", [network], {"examples": 5, "batch": 10, "others": 8})
    ids = {group: set(rows["id"]) for group, rows in table.groupby("group")}
    assert ids["noisy"] <= set(range(0, N, 5))
    assert all(id % 5 for id in ids["clean"] | ids["matched"])
    assert [len(each) for each in ids.values()] == [5, 5, 5]
    for (_, _), rows in table[table["measure"] == "units"].groupby(["group", "id"]):
        total = rows[rows["block"] == "all"]["value"].item()
        inside = rows[rows["block"] != "all"]["value"].sum()
        assert total in (inside, float("inf"))
    with pytest.raises(RefusedInput, match="clean examples are right, and probe=neurons compares with 64 and 256"):
        measured("neurons", [network], {})


def test_clean_examples_are_matched_by_margin_without_repetition() -> None:
    from turnover.probes.neurons import matches

    there = torch.tensor([1.0, 2.0, 3.0, 2.1])
    assert matches(torch.tensor([2.0, 2.0, 9.0]), there).tolist() == [1, 3, 2]
    assert matches(torch.tensor([2.0, 2.0, 9.0]), there[:1]).tolist() == [0]


def test_order_of_learning(network: Trained, other: Trained) -> None:
    table = measured("order", [network, other], {})
    assert network.scores is not None
    assert other.scores is not None
    wrong = np.arange(N) % 5 == 0
    for group, rows in {"all": np.ones(N, bool), "clean": ~wrong, "noisy": wrong}.items():
        a, b = network.scores["first_learning"][rows], other.scores["first_learning"][rows]
        assert numbers(table, group=group) == [pytest.approx(a.corr(b, method="spearman"))]
    fewer = replace(
        other, groups={name: group.select(torch.arange(1, len(group))) for name, group in other.groups.items()}
    )
    with pytest.raises(RefusedInput, match="have other clean examples: probe=order compares networks of the same"):
        measured("order", [network, fewer], {})
    with pytest.raises(RefusedInput, match="net0: probe=order reads column aum of score tables"):
        measured("order", [network, other], {"column": "aum"})


OPTIONS: dict[str, dict[str, Any]] = {
    "neurons": {"examples": 2, "batch": 5, "others": 5},
    "similarity": {"group": "clean"},
    "dimension": {"group": "test"},
}


def halves(network: Trained, chosen: list[int]) -> tuple[Examples, Examples]:
    """The training examples of these ids, and the others."""
    x, y, ids = (
        torch.cat([getattr(network.groups[name], field) for name in ("clean", "noisy")])
        for field in ("inputs", "labels", "ids")
    )
    there = torch.tensor([int(id) in chosen for id in ids])
    return Examples(x[there], y[there], ids[there]), Examples(x[~there], y[~there], ids[~there])


FORGOTTEN = [0, 3, 5, 20, 31, 45]


def test_what_others_found_difficult_is_forgotten_by_training_on_the_rest(network: Trained) -> None:
    forgotten, kept = halves(network, FORGOTTEN)
    table = measured("unlearn", [replace(network, difficult=forgotten)], {"epochs": 2})
    tuned, retrained = copy.deepcopy(network.model), earlier(network, 0)
    _three_steps(tuned, kept, 2)
    _three_steps(retrained, kept)
    first, test = (forgotten.inputs, forgotten.labels), values(network, "test")[:2]
    for state, model in (("trained", network.model), ("tuned", tuned), ("retrained", retrained)):
        for group, examples in {"forgotten": first, "kept": (kept.inputs, kept.labels), "test": test}.items():
            [found] = numbers(table, measure=f"{state}_accuracy", group=group)
            assert found == pytest.approx(oracles.share_right(model, *examples))
        [found] = numbers(table, measure=f"{state}_exposure", group="forgotten")
        assert found == pytest.approx(oracles.lower_loss(model, first, model, test))
        [found] = numbers(table, measure=f"{state}_lower", group="forgotten")
        assert found == pytest.approx(oracles.lower_loss(model, first, retrained, first))
    assert numbers(table, measure="trained_lower") > numbers(table, measure="retrained_lower") == [0.5]


def test_own_units_of_forgotten_examples_are_dropped() -> None:
    def fit(model: nn.Module, examples: Examples) -> None:
        with turnover.own(model, examples.ids):
            _three_steps(model, examples)

    network = replace(trained(), fit=fit)
    turnover.attach(network.model, seed=0, p=0.5)
    forgotten, kept = halves(network, FORGOTTEN)
    table = measured("unlearn", [replace(network, difficult=forgotten)], {})
    retrained = earlier(network, 0)
    fit(retrained, kept)

    def right(state: str, model: nn.Module, group: str, examples: Examples) -> None:
        share = float((model(examples.inputs).argmax(1) == examples.labels).double().mean())
        assert numbers(table, measure=f"{state}_accuracy", group=group) == [pytest.approx(share)]

    test = network.groups["test"]
    for state, model in (("scrubbed", network.model), ("retrained", retrained)):
        for group, examples in (("forgotten", forgotten), ("test", test)):
            with turnover.flipped(model, examples.ids):
                right(state, model, group, examples)
    with turnover.own(network.model, forgotten.ids):
        right("trained", network.model, "forgotten", forgotten)
    right("trained", network.model, "test", test)  # the full network
    assert not numbers(table, measure="tuned_accuracy", group="forgotten")


@pytest.mark.parametrize("shared", [None, 0.5])
def test_labels_given_and_true_by_all_units_own_ones_and_the_others(shared: float | None) -> None:
    network = trained()
    if shared is not None:
        turnover.attach(network.model, seed=0, p=0.5, shared=shared)
    table = measured("labels", [network], {})
    inside: dict[str, Callable[[Tensor], Any]] = {"full": lambda ids: nullcontext()}
    if shared is not None:
        inside |= {name: partial(getattr(turnover, name), network.model) for name in ("own", "flipped")}
    expected = {}
    for group, examples in network.groups.items():
        for kind, subnetworks in inside.items():
            labels = {"given": examples.labels} | ({"true": network.truth[group]} if group == "noisy" else {})
            for which, wanted in labels.items():
                right = 0
                for i in range(len(examples)):  # one after another
                    with subnetworks(examples.ids[i : i + 1]):
                        right += int(network.model(examples.inputs[i : i + 1]).argmax()) == int(wanted[i])
                if (group, kind) != ("test", "own"):
                    expected[group, f"{kind}_{which}"] = pytest.approx(right / len(examples), abs=1e-12)
    assert table.set_index(["group", "measure"])["value"].to_dict() == expected
    assert len(set(table["value"])) > 2


@pytest.mark.parametrize("probe", ["rewind", "retrain", "neurons", "knn", "collapse", "similarity", "dimension"])
def test_a_convolutional_network_is_the_same_afterwards(probe: str) -> None:
    network = trained(0, lambda: conv(1, CLASSES, width=2, side=4))
    before = copy.deepcopy(network.model.state_dict())
    both = [network, trained(1, lambda: conv(1, CLASSES, width=2, side=4))] if probe == "similarity" else [network]
    table = measured(probe, both, OPTIONS.get(probe, {}))
    assert list(table) == COLUMNS
    assert {"block1", "block2", "block3"} <= set(table["block"])
    assert network.model.training
    assert all(value.equal(before[name]) for name, value in network.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.model.parameters())
    assert table["value"].notna().all()


@pytest.mark.parametrize(
    ("probe", "options", "message"),
    [
        ("knm", {}, "probe = 'knm': did you mean knn"),
        ("knn", {"k": 3}, "probe.k = 3: probe=knn has no such option; allowed: neighbours"),
        ("knn", {"neighbours": 0}, "probe.neighbours = 0: must be a whole number, 1 or more"),
        ("dimension", {"discard": 1.0}, "probe.discard = 1.0: must be a share"),
        ("rewind", {"epochs": [1, "early"]}, "must be a list of epochs"),
        ("dimension", {"group": "train"}, "there are no train examples: allowed"),
    ],
)
def test_options_are_checked(network: Trained, probe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        measured(probe, [network], options)
