"""Configs: all of conf/ composes, the identity follows the science alone, and bad values are refused readably."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import BaseModel

from turnover import config as schema
from turnover.config import NOT_SCIENCE, RunConfig, identity
from turnover.errors import RefusedInput
from turnover.experiments import resolved, sweep
from turnover.options import Group, TurnoverOff
from turnover.refusals import fields, parse
from turnover.values import flatten

CONF = Path(__file__).resolve().parents[1] / "conf"
SCALES = ("smoke", "laptop", "paper")


def defaults(entry: str) -> list[str]:
    """The config groups that an entry point is made of."""
    listed = yaml.safe_load((CONF / f"{entry}.yaml").read_text(encoding="utf-8"))["defaults"]
    names = [next(iter(item)) for item in listed if isinstance(item, dict)]
    return [name for name in names if not name.startswith("override ")]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def choices() -> list[str]:
    """Every option of every group of a run, as an override."""
    return [f"{group}={option}" for group in defaults("train") for option in options(group)]


def fitting(choice: str) -> list[str]:
    """Overrides beside `choice` that a run with it needs: an estimator may need turn-over dropout."""
    return [choice] if choice.startswith("turnover=") else ["turnover=all_layers", choice]


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@cache
def run_config(*overrides: str) -> RunConfig:
    return resolved(compose("train", overrides=list(overrides)))


def refusal(*overrides: str) -> str:
    with pytest.raises(RefusedInput) as caught:
        resolved(compose("train", overrides=["dataset=digits", "scale=smoke", *overrides]))
    return str(caught.value)


# --- everything composes ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("choice", choices())
def test_every_option_composes_at_every_scale(choice: str, scale: str) -> None:
    overrides = fitting(choice) if choice.startswith("scale=") else [*fitting(choice), f"scale={scale}"]
    for entry in ("train",) if choice == "turnover=off" else ("train", "score"):
        config = resolved(compose(entry, overrides=overrides))
        group, option = choice.split("=")
        value = config.model_dump()[group]
        stored = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
        assert value == option if group == "scale" else value.items() >= plain(stored).items()


def plain(stored: dict[str, Any]) -> dict[str, Any]:
    """The values of an option's file that do not depend on the scale."""
    return {key: value for key, value in stored.items() if not str(value).startswith("${")}


def test_every_folder_of_conf_is_tried() -> None:
    tried = {*defaults("train"), *defaults("figure"), "experiment"}
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"} <= tried


def test_a_scale_is_a_name_of_the_schema() -> None:
    assert set(options("scale")) == set(SCALES) == set(get_args(RunConfig.model_fields["scale"].annotation))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_at_every_scale(experiment: str, scale: str) -> None:
    configs = sweep([f"+experiment={experiment}", f"scale={scale}"])
    assert len({identity(config) for config in configs}) == len(configs) > 0
    assert {(config.experiment, config.scale) for config in configs} == {(experiment, scale)}
    if scale != "smoke":  # a claim is computed over at least 3 seeds
        assert len({config.seed for config in configs}) >= 3


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("figure", options("figure"))
def test_every_figure_composes_at_every_scale(figure: str, scale: str) -> None:
    from turnover.figures.make import FigureJob

    composed = compose("figure", overrides=[f"figure={figure}", f"scale={scale}"])
    values: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    job = parse(FigureJob, values)
    assert (job.figure.name, job.scale) == (figure, scale)
    assert job.figure.experiment in {None, *options("experiment")}
    assert (CONF.parent / "src" / "turnover" / "figures" / f"{figure}.py").is_file()
    for claim in job.figure.claims.values():
        sides = [(side.above, side.below) for side in claim.measures.values()]
        assert any(side != (None, None) for side in sides), "a claim needs a threshold"
        assert all(None in side for side in sides), "a measure has one threshold"


def test_a_score_run_has_turnover_and_an_estimator() -> None:
    [config] = sweep(["dataset=digits"], config_name="score")
    assert (config.turnover.name, config.estimator.name) == ("all_layers", "turnover")
    with pytest.raises(RefusedInput, match="estimator=turnover needs turn-over dropout"):
        sweep(["dataset=digits", "turnover=off"], config_name="score")


def test_the_scale_changes_what_it_should() -> None:
    epochs = [run_config(f"scale={scale}").epochs for scale in SCALES]
    assert epochs == sorted(set(epochs))
    assert [run_config(f"scale={scale}").dataset.limit for scale in SCALES] == [1500, None, None]


def test_an_override_wins_over_the_scale() -> None:
    config = run_config("scale=smoke", "epochs=7", "dataset.limit=null")
    assert (config.epochs, config.dataset.limit) == (7, None)


def test_a_sweep_holds_every_combination_once_and_in_order() -> None:
    configs = sweep(["scale=smoke", "seed=0,1,0", "corruption=none,labels"])
    found = [(config.seed, config.corruption.count) for config in configs]
    assert found == [(0, 0), (0, 500), (1, 0), (1, 500)]


def test_a_command_line_sweep_replaces_that_of_the_experiment() -> None:
    configs = sweep(["+experiment=fig2", "scale=smoke", "seed=7"])
    assert {config.seed for config in configs} == {7}
    assert len(configs) == 2


def test_a_stored_config_reads_back_as_itself() -> None:
    config = run_config(*FULL)
    assert parse(RunConfig, yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


# --- identity ---

FULL = (
    "dataset=digits",
    "scale=smoke",
    "corruption=labels",
    "turnover=all_layers",
    "estimator=turnover",
    "estimator.epochs=[1]",
    "schedule=multistep",
)


def test_what_is_not_science() -> None:
    assert set(NOT_SCIENCE) == {"device", "logger", "experiment", "scale"}
    assert set(run_config(*FULL).science()) | set(NOT_SCIENCE) == set(RunConfig.model_fields)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"device": "cuda:3"},
        {"logger": {"name": "none"}},
        {"logger": {"name": "wandb", "mode": "online", "project": "other", "entity": "us"}},
        {"experiment": "fig99"},
        {"scale": "paper"},
    ],
)
def test_what_is_not_science_does_not_change_the_identity(change: dict[str, Any]) -> None:
    config = run_config(*FULL)
    other = parse(RunConfig, config.model_dump() | change)
    assert other != config
    assert identity(other) == identity(config)


def changed(value: Any) -> Iterator[Any]:
    """Other values of the same kind; some of them may not be allowed."""
    match value:
        case bool() | None:
            yield from (1, 10, [], ["1"])
        case int():
            yield from (value + 1, value - 1)
        case float():
            yield from (value + 0.25, value / 2)
        case str():
            yield from literals(RunConfig)
        case list():
            yield from ([*value, 1], [*value, max(value, default=0) + 1], value[:-1] or [2])


def literals(model: type[BaseModel]) -> Iterator[str]:
    """Every string that some field of the schema names as allowed."""

    def strings(annotation: Any) -> Iterator[str]:
        for part in get_args(annotation):
            yield from [part] if isinstance(part, str) else strings(part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from literals(annotation)

    for info in model.model_fields.values():
        yield from strings(info.annotation)


def replaced(values: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    head, _, rest = field.partition(".")
    return values | {head: replaced(values[head], rest, value) if rest else value}


def other_values(config: RunConfig, field: str) -> Iterator[RunConfig]:
    values = config.model_dump()
    for value in changed(flatten(values)[field]):
        try:
            other = parse(RunConfig, replaced(values, field, value))
        except RefusedInput:
            continue
        if other != config:
            yield other


def test_every_field_of_the_science_changes_the_identity() -> None:
    bases = [run_config(*FULL)]
    bases += [run_config("dataset=digits", "scale=smoke", *fitting(choice)) for choice in choices()[::-1]]
    tried = set()
    for base in bases:
        for field in flatten(base.science()):
            for other in other_values(base, field):
                assert identity(other) != identity(base), field
                tried.add(field)
    wanted = {field for field in fields() if field.split(".")[0] not in NOT_SCIENCE}
    assert {field for field in wanted - tried if not field.endswith(".name")} == set()
    assert {"dataset.name", "schedule.name"} <= tried


@pytest.mark.parametrize("group", [group for group in defaults("train") if group not in ("logger", "scale")])
def test_the_options_of_a_group_are_different_runs(group: str) -> None:
    configs = [run_config("dataset=digits", "scale=smoke", *fitting(f"{group}={one}")) for one in options(group)]
    assert len({identity(config) for config in configs}) == len(configs)


def test_no_corruption_and_corruption_of_no_labels_are_the_same_run() -> None:
    assert identity(run_config("corruption=none")) == identity(run_config("corruption=labels", "corruption.count=0"))


def test_the_way_a_value_is_written_does_not_change_the_identity() -> None:
    assert identity(run_config("optimizer.lr=1")) == identity(run_config("optimizer.lr=1.0"))
    assert identity(run_config("optimizer.lr=0.05")) == identity(run_config("optimizer.lr=5e-2"))
    assert identity(run_config("seed=1", "epochs=2")) == identity(run_config("epochs=2", "seed=1"))


def test_a_scale_and_its_values_written_out_are_the_same_run() -> None:
    written = [f"{field}={value}" for field, value in (("epochs", 3), ("dataset.limit", 1500), ("model.hidden", [256]))]
    assert identity(run_config("scale=smoke")) == identity(run_config(*written, "tracking.examples=null"))


def test_a_new_stage_version_changes_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_config(*FULL)
    before = identity(config)
    monkeypatch.setattr(schema, "STAGE_VERSION", schema.STAGE_VERSION + 1)
    assert identity(config) != before


def test_a_config_cannot_be_changed() -> None:
    config = run_config("dataset=digits")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


# --- refusals ---


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["epochs=three"], ["epochs = 'three'", "integer"]),
        (["epochs=2.5"], ["epochs = 2.5", "integer"]),
        (["epochs=true"], ["epochs = True", "integer"]),
        (["seed=false"], ["seed = False", "integer"]),
        (["epochs=0"], ["epochs = 0", "greater than or equal to 1"]),
        (["epochs=null"], ["epochs = None", "integer"]),
        (["batch_size=-1"], ["batch_size = -1", "greater than or equal to 1"]),
        (["seed=-1"], ["seed = -1", "greater than or equal to 0"]),
        ([f"seed={2**63}"], [f"seed = {2**63}", f"less than {2**63}"]),
        (["precision=float16"], ["precision = 'float16'", "'float32' or 'bfloat16'"]),
        (["device=tpu"], ["device = 'tpu'", "allowed: auto, cpu, cuda, cuda:N"]),
        (["device=cuda:"], ["device = 'cuda:'", "allowed: auto, cpu, cuda, cuda:N"]),
        (["dataset.name=mnst"], ["dataset.name = 'mnst'", "'mnist'", "'cifar10'", "'digits'"]),
        (["dataset.limit=1501"], ["dataset.limit = 1501", "at most 1500", "digits"]),
        (["dataset=mnist", "dataset.limit=60001"], ["dataset.limit = 60001", "at most 60000", "mnist"]),
        (["dataset.limit=0"], ["dataset.limit = 0", "greater than or equal to 1"]),
        (["dataset.normalization=none"], ["dataset.normalization = 'none'", "'standard' or 'unit'"]),
        (["corruption.count=1501"], ["corruption.count = 1501", "at most 1500"]),
        (["corruption.count=101", "dataset.limit=100"], ["corruption.count = 101", "at most 100"]),
        (["corruption.count=-1"], ["corruption.count = -1", "greater than or equal to 0"]),
        (["model.name=mpl"], ["model.name = 'mpl'", "'mlp'"]),
        (["model.hidden=[]"], ["model.hidden = []", "at least 1 item"]),
        (["model.hidden=[8,0]"], ["model.hidden.1 = 0", "greater than or equal to 1"]),
        (["model.hidden=8"], ["model.hidden = 8", "valid list"]),
        (["optimizer.name=adam"], ["optimizer.name = 'adam'", "'sgd'"]),
        (["optimizer.lr=nan"], ["optimizer.lr = nan", "finite number"]),
        (["optimizer.lr=inf"], ["optimizer.lr = inf", "finite number"]),
        (["optimizer.lr=0"], ["optimizer.lr = 0", "greater than 0"]),
        (["optimizer.lr=-0.1"], ["optimizer.lr = -0.1", "greater than 0"]),
        (["optimizer.lr=fast"], ["optimizer.lr = 'fast'", "valid number"]),
        (["optimizer.lr=true"], ["optimizer.lr = True", "valid number"]),
        (["optimizer.momentum=1"], ["optimizer.momentum = 1", "less than 1"]),
        (["optimizer.momentum=nan"], ["optimizer.momentum = nan", "less than 1"]),
        (["optimizer.weight_decay=inf"], ["optimizer.weight_decay = inf", "finite number"]),
        (["schedule.name=warmup"], ["schedule.name = 'warmup'", "'constant'", "'multistep'", "'cosine'"]),
        (["schedule=multistep", "schedule.milestones=[]"], ["schedule.milestones = []", "at least 1 item"]),
        (["schedule=multistep", "schedule.milestones=[0,5]"], ["schedule.milestones.0 = 0", "greater than or equal"]),
        (["schedule=multistep", "schedule.milestones=[20,10]"], ["schedule", "milestones", "[20, 10]"]),
        (["schedule=multistep", "schedule.milestones=[10,10]"], ["schedule", "milestones", "[10, 10]"]),
        (["schedule=multistep", "schedule.gamma=0"], ["schedule.gamma = 0", "greater than 0"]),
        (["turnover=all_layers", "turnover.p=0"], ["turnover.p = 0", "greater than 0"]),
        (["turnover=all_layers", "turnover.p=1"], ["turnover.p = 1", "less than 1"]),
        (["turnover=all_layers", "turnover.p=-0.5"], ["turnover.p = -0.5", "greater than 0"]),
        (["turnover=all_layers", "turnover.p=1.5"], ["turnover.p = 1.5", "less than 1"]),
        (["turnover=all_layers", "turnover.p=nan"], ["turnover.p = nan"]),
        (["turnover=all_layers", "turnover.p=1e-6"], ["turnover.p = 1e-06", "2^-16"]),
        (["turnover=all_layers", "turnover.groups=0"], ["turnover.groups = 0", "greater than or equal to 1"]),
        (["turnover=all_layers", "turnover.balance=half"], ["turnover.balance = 'half'", "'bernoulli' or 'exact'"]),
        (["turnover=all_layers", "turnover.layers=first"], ["turnover.layers = 'first'", "valid list"]),
        (["estimator=turnover"], ["estimator=turnover", "turnover=all_layers"]),
        (
            ["turnover=all_layers", "estimator=turnover", "estimator.epochs=[1,4]"],
            ["estimator.epochs = 4", "at most 3"],
        ),
        (
            ["turnover=all_layers", "estimator=turnover", "estimator.epochs=[0]"],
            ["estimator.epochs.0 = 0", "greater than or equal to 1"],
        ),
        (["tracking.every=0"], ["tracking.every = 0", "greater than or equal to 1"]),
        (["tracking.examples=0"], ["tracking.examples = 0", "greater than or equal to 1"]),
        (["tracking.fresh_masks=0"], ["tracking.fresh_masks = 0", "greater than or equal to 1"]),
        (["logger.mode=maybe"], ["logger.mode = 'maybe'", "'offline' or 'online'"]),
        (["logger.project=null"], ["logger.project = None", "string"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] and " = " not in value[0] else "",
)
def test_a_bad_value_is_refused_by_field_value_and_what_is_allowed(overrides: list[str], parts: list[str]) -> None:
    message = refusal(*overrides)
    assert all(part in message for part in parts), message
    assert len(message.splitlines()) == 1, message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["+epohcs=3"], ["epohcs = 3", "there is no such field", "did you mean epochs?"]),
        (["+optimizer.lrr=3"], ["optimizer.lrr = 3", "there is no such field", "optimizer.lr"]),
        (["+qqq=1"], ["qqq = 1", "there is no such field", "allowed: batch_size, corruption.count"]),
    ],
)
def test_a_misspelt_field_is_refused_with_what_was_meant(overrides: list[str], parts: list[str]) -> None:
    message = refusal(*overrides)
    assert all(part in message for part in parts), message


def test_a_field_of_another_option_is_not_proposed_again() -> None:
    message = refusal("schedule=constant", "+schedule.gamma=0.5")
    assert "schedule.gamma = 0.5" in message
    assert "did you mean schedule.gamma" not in message


@pytest.mark.parametrize("milestones", ["[20,10]", "[10,10]", "[1,3,2]"])
def test_milestones_must_rise(milestones: str) -> None:
    assert "must rise" in refusal("schedule=multistep", f"schedule.milestones={milestones}")


def test_a_missing_value_is_refused() -> None:
    values = run_config("dataset=digits").model_dump()
    del values["seed"], values["optimizer"]["lr"]
    with pytest.raises(RefusedInput) as caught:
        parse(RunConfig, values)
    assert str(caught.value).splitlines() == ["seed: a value is required", "optimizer.lr: a value is required"]


def test_all_wrong_fields_are_listed_at_once() -> None:
    message = refusal(
        "epochs=0", "optimizer.lr=nan", "dataset.name=mnst", "turnover=all_layers", "turnover.p=2", "+x=1"
    )
    assert len(message.splitlines()) == 5
    for start in ("epochs = 0", "optimizer.lr = nan", "dataset.name = 'mnst'", "turnover.p = 2", "x = 1"):
        assert any(line.startswith(start) for line in message.splitlines()), message


def test_all_sizes_that_disagree_are_listed_at_once() -> None:
    message = refusal("dataset.limit=2000", "corruption.count=3000", "estimator=turnover")
    for part in ("dataset.limit = 2000", "corruption.count = 3000", "estimator=turnover"):
        assert part in message, message


def test_one_wrong_run_refuses_its_whole_sweep() -> None:
    with pytest.raises(RefusedInput, match="epochs = 0"):
        sweep(["seed=0,1", "epochs=1,0"])


# --- fields ---


def groups_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A schema and every schema inside it."""

    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from groups_of(annotation)
        for part in get_args(annotation):
            yield from inside(part)

    return {model} | {found for info in model.model_fields.values() for found in inside(info.annotation)}


def test_fields_are_those_of_all_options_together() -> None:
    configs = [run_config(*FULL)]
    configs += [run_config("dataset=digits", "scale=smoke", *fitting(choice)) for choice in choices()]
    assert set(fields()) == {field for config in configs for field in flatten(config.model_dump())}


def test_fields_of_one_group() -> None:
    assert fields(TurnoverOff) == ["name"]
    assert fields(schema.DatasetConfig, "d.") == ["d.limit", "d.name", "d.normalization", "d.seed"]


def test_no_group_of_the_schema_is_forgotten() -> None:
    def below(group: type[Group]) -> Sequence[type[Group]]:
        return [found for each in group.__subclasses__() for found in (each, *below(each))]

    written = {group for group in below(Group) if group.__module__ == schema.__name__}
    assert written == groups_of(RunConfig)
