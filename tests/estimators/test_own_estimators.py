"""The one-line API with every estimator: the numbers of a run from a config, the options of `conf/`, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import score_oracles
import torch
from digits import digits
from torch import Tensor, nn

import turnover
from turnover.common.seeding import seeded, torch_generator
from turnover.config.estimator_names import ALIASES, NAMES, by_name
from turnover.config.recipes import RECIPE, RECIPES
from turnover.config.run import RunConfig
from turnover.core.evaluation import full_logits
from turnover.core.examples import Examples
from turnover.errors import RefusedInput, RunFailed, TurnOverError
from turnover.estimators.one_run import Predictions
from turnover.runs.build import build
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_scores

SMALL = (
    *("dataset.limit=120", "dataset.test_limit=40", "model.hidden=[16]", "batch_size=32", "corruption.count=30"),
    *("optimizer.lr=0.1", "optimizer.momentum=0.9", "epochs=4", "seed=3"),
)
FEWER = {  # trainings
    "subsampling": {"models": 30},
    "c_score": {"models": 12},
    "membership": {"models": 40},
    "blocks": {"blocks": 8},
}


def network() -> nn.Module:
    """That of `model=mlp model.hidden=[16]` for digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def run(estimator: str, *overrides: str) -> RunConfig:
    masks = "turnover=all_layers" if estimator == "turnover" else "turnover=off"
    fewer = [f"estimator.{name}={value}" for name, value in FEWER.get(estimator, {}).items()]
    schedule = f"schedule={RECIPES.get(estimator, RECIPE)['schedule']['name']}"
    small = [option for option in SMALL if "optimizer=adamw" not in overrides or "momentum" not in option]
    return digits(*small, masks, f"estimator={estimator}", schedule, *fewer, *overrides)


def data_of(config: RunConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and ids of its training examples."""
    parts = build(config, torch.device("cpu"))
    return parts.dataset.inputs(parts.train.inputs), parts.train.labels, parts.train.ids


def own(config: RunConfig, estimator: str, **changes: Any) -> pd.DataFrame:
    x, y, ids = data_of(config)
    given: dict[str, Any] = {
        "epochs": config.epochs,
        "lr": config.optimizer.lr,
        "momentum": getattr(config.optimizer, "momentum", None),
        "batch_size": config.batch_size,
        "seeds": [config.seed],
        "ids": ids,
        "device": "cpu",
        "progress": False,
        "estimator": estimator,
        "options": FEWER.get(estimator),
    }
    return turnover.memorization(network, x, y, **given | changes)


# --- the same numbers as a run from a config ---


@pytest.mark.parametrize(
    ("estimator", "precision"), [*((name, "float32") for name in NAMES), ("turnover", "bfloat16"), ("aum", "bfloat16")]
)
def test_scores_are_those_of_a_run_from_a_config(estimator: str, precision: str) -> None:
    config = run(estimator, f"precision={precision}")
    expected = read_scores(execute(config)).drop(columns=["split", "true_label", "corrupted"])
    found = own(config, estimator, precision=precision)
    assert found.index.name == "id"
    assert list(found.columns) == [*[name for name in expected.columns if name != "label"], "label"]
    assert found.index.tolist() == expected.index.tolist()
    for name in expected.columns:
        assert found[name].astype(expected[name].dtype).tolist() == expected[name].tolist(), name
    assert found["score"].nunique() > 2, "it tells examples apart"
    assert found.attrs["seeds"] == [3]
    assert ("leakage" in found.attrs) == (estimator == "turnover")


AS_PEOPLE_TRAIN: dict[str, Any] = {
    "optimizer": {"name": "adamw", "eps": 1e-7},
    "schedule": {"name": "cosine", "by": "step", "warmup": 4},
    "method": {"name": "label_smoothing", "smoothing": 0.1},
    "augmentation": {"name": "crop", "pad": 1, "flip": True},
    "class_weights": "balanced",
}


@pytest.mark.parametrize("estimator", ["turnover", "cumulative_loss", "blocks"])
def test_trained_as_people_train_they_are_those_of_a_run_from_a_config_too(estimator: str) -> None:
    given = ["optimizer=adamw", "optimizer.eps=1e-7", "optimizer.weight_decay=0.02"]
    given += ["schedule=cosine", "schedule.by=step", "schedule.warmup=4", "method=label_smoothing"]
    given += ["augmentation=crop", "augmentation.pad=1", "augmentation.flip=true", "class_weights=balanced"]
    config = run(estimator, *given, "dataset.normalization=unit")  # 0 is black before and after it
    expected = read_scores(execute(config))
    choices = {"training": AS_PEOPLE_TRAIN, "weight_decay": 0.02}
    np.testing.assert_allclose(own(config, estimator, **choices)["score"], expected["score"], rtol=1e-5, atol=1e-5)
    for name in AS_PEOPLE_TRAIN:
        fewer = {key: value for key, value in AS_PEOPLE_TRAIN.items() if key != name}
        without = own(config, estimator, **choices | {"training": fewer})
        assert not np.allclose(without["score"], expected["score"], rtol=1e-2), name


METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "gce": ("second_split", {"q": 0.7}),
    "rll": ("confident_learning", {"alpha": 0.1}),
    "elr": ("second_split", {"strength": 3.0, "momentum": 0.7}),
    "small_loss": ("turnover", {"share": 0.2, "ramp": 2}),
    "co_teaching": ("turnover", {"share": 0.2, "ramp": 2}),
    "clipping": ("turnover", {"norm": 0.5}),
    "dp_sgd": ("one_run", {"norm": 0.5, "noise": 0.1}),
    "pgd": ("subsampling", {"radius": 0.1, "size": 0.1, "steps": 1}),
    "trades": ("turnover", {"radius": 0.1, "size": 0.05, "steps": 2, "beta": 2.0}),
    "reweight": ("subsampling", {"strength": -1.0}),
}


@pytest.mark.parametrize("method", METHODS)
def test_under_every_method_they_are_those_of_a_run_from_a_config(method: str, tmp_path: Path) -> None:
    estimator, fields = METHODS[method]
    given = [f"method={method}", *(f"method.{name}={value}" for name, value in fields.items())]
    choice: dict[str, Any] = {"name": method, **fields}
    if method == "reweight":
        choice["path"] = str(tmp_path / "scores.csv")
        pd.DataFrame({"id": range(60_000), "score": torch.rand(60_000).tolist()}).to_csv(choice["path"], index=False)
        given.append(f"method.path={choice['path']}")
    config = run(estimator, *given)
    expected = read_scores(execute(config))["score"].to_numpy()
    found = own(config, estimator, training={"method": choice})["score"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(own(config, estimator)["score"], expected, rtol=1e-2)


def test_with_shared_units_they_are_those_of_a_run_from_a_config() -> None:
    given = ("turnover=example_tied", "turnover.p=0.3", "turnover.shared=0.4")
    config = digits(*SMALL, "estimator=turnover", "schedule=constant", *given)
    expected = read_scores(execute(config))
    found = own(config, "turnover", p=0.3, shared=0.4)
    assert found["score"].astype(np.float32).tolist() == expected["score"].tolist()
    assert not np.allclose(own(config, "turnover", p=0.3)["score"], expected["score"], rtol=1e-2)


def test_attacks_are_on_inputs_that_can_be_changed_by_little() -> None:
    fields = {"radius": 0.1, "size": 0.1, "steps": 1}
    with pytest.raises(RefusedInput, match="one floating-point tensor"):
        turnover.memorization(
            lambda: nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.Linear(16, 2)), torch.randint(5, (8, 2)),
            torch.arange(8) % 2, 1, 0.1, seeds=1, estimator="cumulative_loss",
            training={"method": {"name": "pgd", **fields}}, progress=False,
        )  # fmt: skip


def test_a_choice_by_its_name_has_the_values_of_its_config() -> None:
    by_name = {"optimizer": "adamw", "schedule": "linear", "method": "label_smoothing", "augmentation": "crop"}
    given = [f"{group}={name}" for group, name in by_name.items()]
    config = run("cumulative_loss", *given, "dataset.normalization=unit")
    choices = {"training": by_name}
    found = own(config, "cumulative_loss", weight_decay=config.optimizer.weight_decay, **choices)
    assert found["score"].tolist() == read_scores(execute(config))["score"].tolist()


def test_values_may_be_in_tuples() -> None:
    config = run("cumulative_loss")
    tables = [
        own(config, "cumulative_loss", momentum=None, training={"optimizer": {"name": "adamw", "betas": betas}})
        for betas in ((0.5, 0.6), [0.5, 0.6], (0.9, 0.999))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not np.allclose(tables[0]["score"], tables[2]["score"])


REFUSED_TRAINING: dict[str, tuple[dict[str, Any], str]] = {
    "no such choice": ({"training": {"optimiser": "sgd"}}, "optimizer"),
    "no such optimizer": ({"training": {"optimizer": "adam"}}, "adamw"),
    "an argument of the call": ({"training": {"optimizer": {"name": "sgd", "lr": 0.1}}}, "lr="),
    "momentum of AdamW": ({"training": {"optimizer": "adamw"}}, "betas"),
    "a field that it has not": ({"training": {"schedule": {"name": "constant", "by": "step"}}}, "schedule.by"),
    "an argument of the call, outside": ({"training": {"weight_decay": 0.1}}, "argument of the call: weight_decay="),
    "a rate that is none": ({"lr": -1.0}, r"^lr = -1\.0: should be"),
    "a rate for SGD": ({"training": {"optimizer": "adamw"}, "momentum": None, "lr": None}, "lr must be given"),
    "no mapping": ({"training": "adamw"}, "give names, or a name"),
    "a class": ({"training": {"optimizer": torch.optim.AdamW}}, "give names, or a name"),
    "a warm-up longer than the training": ({"training": {"schedule": {"name": "constant", "warmup": 999}}}, "warmup"),
    "a choice without a name": ({"training": {"schedule": {"by": "step"}}}, "schedule"),
    "weights of what are no classes": ({"training": {"class_weights": "balanced"}, "loss": "squared"}, "leave them"),
}


@pytest.mark.parametrize("case", REFUSED_TRAINING)
def test_choices_that_mean_nothing_are_refused(case: str) -> None:
    changes, words = REFUSED_TRAINING[case]
    with pytest.raises(RefusedInput, match=words):
        own(run("cumulative_loss"), "cumulative_loss", **changes)


def test_only_images_are_augmented() -> None:
    with pytest.raises(RefusedInput, match=r"augmentation is of images \[n, channels, height, width\]"):
        turnover.memorization(
            lambda: nn.Linear(4, 2), torch.randn(8, 4), torch.arange(8) % 2, 1, 0.1, seeds=1,
            estimator="cumulative_loss", training={"augmentation": {"name": "crop", "pad": 1, "flip": False}},
        )  # fmt: skip


def test_it_names_the_score_and_averages_over_seeds() -> None:
    config = run("one_run")
    both = own(config, "one_run", seeds=[3, 5])
    single = [own(config, "one_run", seeds=[seed]) for seed in (3, 5)]
    assert both.attrs["estimator"] == "cumulative_loss"
    for name in both.columns.drop("label"):
        np.testing.assert_allclose(both[name], (single[0][name] + single[1][name]) / 2, rtol=1e-12, err_msg=name)
    assert not np.allclose(single[0]["score"], single[1]["score"])
    assert both["score"].tolist() == both["cumulative_loss"].tolist()


def test_ten_seeds_unless_each_is_an_ensemble() -> None:
    config = run("el2n")
    assert own(config, "el2n", seeds=None, epochs=1).attrs["seeds"] == list(range(10))
    assert own(config, "confident_learning", seeds=None, epochs=1).attrs["seeds"] == [0]


def test_options_are_those_of_the_config() -> None:
    fields = {"models": 9, "fractions": [0.4, 0.6], "score": "inconsistency"}
    changed = [f"estimator.{name}={str(value).replace(' ', '')}" for name, value in fields.items()]
    config = digits(*SMALL, "turnover=off", "estimator=subsampling", *changed)
    found = own(config, "subsampling", options=fields)
    assert found["score"].astype(np.float32).tolist() == read_scores(execute(config))["score"].tolist()
    assert found.attrs["estimator"] == "inconsistency"


def test_nothing_of_it_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own(run("vog"), "vog")
    with pytest.raises(RunFailed):
        own(run("aum"), "aum", lr=1e30)
    assert [path.name for path in tmp_path.iterdir()] == []


# --- options ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs", [1, 20, 35])
def test_the_options_of_an_estimator_are_those_of_conf(name: str, epochs: int) -> None:
    masks = "turnover=all_layers" if name == "turnover" else "turnover=off"
    config = digits("scale=laptop", masks, f"estimator={name}", f"epochs={epochs}")
    assert by_name(name, epochs, {}) == config.estimator.model_dump()


def test_every_estimator_of_the_configs_can_be_had_or_says_why_not(root: Path) -> None:
    files = {path.stem for path in (root / "conf" / "estimator").glob("*.yaml")} - {"none"}
    assert set(NAMES) - set(ALIASES) <= files
    for name in files - set(NAMES):
        with pytest.raises(RefusedInput, match=rf"estimator = '{name}'.*(give|take) "):
            by_name(name, 10, {})


# --- predictions ---


def test_predictions_are_the_mean_of_what_the_networks_said_before_they_learnt() -> None:
    config = run("aum")
    x, y, ids = data_of(config)
    seen = np.zeros((len(x), 10))
    for seed in (3, 5):
        with seeded(seed, "init"):
            model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9)
        for epoch in range(1, 5):
            for index in torch.randperm(len(x), generator=torch_generator(seed, "order", epoch)).split(32):
                logits = full_logits(model, Examples(x[index], y[index], ids[index]))
                for position, row in zip(index.tolist(), logits.tolist(), strict=True):
                    seen[position] += score_oracles.softmax(row)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[index]), y[index]).backward()
                optimizer.step()
    seen /= 2 * 4
    table = own(config, "aum", seeds=[3, 5], predictions=True)
    assert list(table.columns) == ["score", "aum", "label", "prediction", "probability"]
    assert table["prediction"].tolist() == seen.argmax(1).tolist()
    np.testing.assert_allclose(table["probability"], seen.max(1), rtol=1e-5)
    assert table["score"].tolist() == own(config, "aum", seeds=[3, 5])["score"].tolist(), "it changes nothing"


def test_predictions_of_examples_that_are_seen_less_often() -> None:
    examples = Examples(torch.zeros(2, 1), torch.tensor([0, 1]), torch.arange(2))
    seen = Predictions(examples)
    seen.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), examples.labels, torch.tensor([1, 0]))
    seen.update(torch.tensor([[0.0, 4.0]]), examples.labels[1:], torch.tensor([1]))
    probability, prediction = seen.mean().max(1)
    second = np.mean([score_oracles.softmax([2, 0]), score_oracles.softmax([0, 4])], axis=0)
    assert prediction.tolist() == [1, 1]
    np.testing.assert_allclose(probability, [score_oracles.softmax([0, 1])[1], second[1]], rtol=1e-6)


# --- what is refused, and what to do ---

X, Y = np.zeros((20, 64), dtype=np.float32), np.arange(20) % 10
LAYER = nn.Linear(64, 16)


def wide(value: float) -> np.ndarray:
    x = X.copy()
    x[7, 3] = value
    return x


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"make_model": lambda: nn.Sequential(LAYER, nn.ReLU(), nn.Linear(16, 10))}, "2 of the same parameters"),
        ({"make_model": lambda size: network()}, "must need no arguments.*missing 1 required positional argument"),
        ({"make_model": lambda: None}, "gives a NoneType: must be an nn.Module with parameters"),
        ({"make_model": nn.ReLU}, "gives a ReLU: must be an nn.Module with parameters"),
        ({"make_model": "mlp"}, "make_model = 'mlp': must be a function"),
        ({"make_model": lambda: nn.Linear(63, 10)}, r"cannot take x\[:2\] of shape \(2, 64\), torch.float32: Runtime"),
        ({"make_model": lambda: nn.Linear(64, 1)}, r"logits \[batch, classes\] with two classes.* it gives \(2, 1\)"),
        ({"make_model": lambda: nn.Sequential(nn.Linear(64, 9), nn.Flatten(0))}, r"it gives \(18,\)"),
        ({"make_model": lambda: nn.Linear(64, 9)}, "class 9, but the network gives 9 logits.*last layer give 10.*uniq"),
        ({"x": X.astype(np.uint8)}, r"torch.uint8: .*if it needs floats, give x.astype\('float32'\)"),
        ({"x": np.full((20, 64), "a")}, "x must be an array or tensor of numbers, got ndarray"),
        ({"x": X + 0j}, "x must hold real numbers, got torch.complex64"),
        ({"x": wide(np.nan)}, "x has 1 values that are NaN or infinite, in 1 rows, the first of them 7: remove"),
        ({"x": X[:19]}, "x and y must be of one length: x has 19 rows and y 20"),
        ({"x": np.float32(3)}, "got a single number"),
        ({"x": X[:0], "y": Y[:0]}, "the data set is empty"),
        ({"y": np.array(list("abcdefghij") * 2)}, r"it holds \['a', 'b', 'c'\].*return_inverse=True"),
        ({"y": Y + 0.5}, "for numbers to be predicted give loss='squared'"),
        ({"y": Y > 4}, r"dtype is torch.bool: give y.astype\('int64'\)"),
        ({"y": Y + 100}, "class 109, but the network gives 10 logits"),
        ({"ids": [0, 1, 1, *range(2, 19)]}, "ids must differ.*: 1 come more than once; leave ids out"),
        ({"ids": np.arange(20) - 1}, "ids"),
        ({"ids": np.arange(20) / 2}, "ids"),
        ({"estimator": "cumulativ_loss"}, "estimator = 'cumulativ_loss': did you mean cumulative_loss"),
        ({"estimator": "none"}, "estimator = 'none': "),
        (
            {"estimator": "aum", "options": {"models": 3}},
            "'aum' has no option 'models'; allowed: scores, vog_of, vog_epochs, early",
        ),
        ({"estimator": "aum", "p": 0.7}, "p, layers, groups, dropout and shared belong to estimator='turnover'"),
        ({"options": {"epochs": [1]}}, "arguments: p, layers, groups, dropout"),
        ({"estimator": "subsampling", "options": {"fractions": [0.01]}}, "none or all of 20 examples"),
        ({"estimator": "el2n", "options": {"early": 3}}, "estimator.early = 3 is too large: at most 1"),
        ({"estimator": "subsampling", "predictions": True}, "predictions = True.*several networks"),
        ({"precision": "float16"}, "precision = 'float16'"),
        ({"epochs": 1.5}, "epochs = 1.5: should be a valid integer"),
        ({"seeds": -1}, "seeds = -1"),
        ({"seeds": [-1]}, "seed = -1"),
    ],
)
def test_it_says_what_is_wrong_and_what_to_do(change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"make_model": network, "x": X, "y": Y, "epochs": 1, "lr": 0.1, "seeds": 1} | change
    with pytest.raises((RefusedInput, TurnOverError), match=told):
        turnover.memorization(**given, progress=False)


def test_numbers_of_other_types_are_taken() -> None:
    plain = {"epochs": 1, "lr": 0.1, "batch_size": 8, "seeds": [1], "progress": False}
    noise = np.random.default_rng(0).normal(size=(20, 64))
    y = pd.Series(Y, dtype="uint8")
    expected = turnover.memorization(network, noise.tolist(), Y.tolist(), **plain)  # type: ignore[arg-type]
    other = {"epochs": np.int64(1), "lr": np.float64(0.1), "batch_size": np.int32(8), "seeds": np.array([1])}
    found = turnover.memorization(network, pd.DataFrame(noise).to_numpy(), y, **plain | other)  # type: ignore[arg-type]
    assert found["score"].tolist() == expected["score"].tolist()


def test_a_network_trained_by_hand_is_checked_too() -> None:
    model = turnover.attach(network(), seed=0)
    with pytest.raises(RefusedInput, match="class 10, but the network gives 10 logits"):
        turnover.score(model, X, Y + 1)
