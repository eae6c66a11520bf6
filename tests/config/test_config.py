"""Configs: all of conf/ composes, the identity follows the science alone, and bad values are refused readably."""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from pydantic import BaseModel

from turnover.common.text import flatten
from turnover.config import run as schema
from turnover.config.compose import composed, plain, resolved, sweep, varied
from turnover.config.estimator_names import ALIASES
from turnover.config.options import TurnoverOff
from turnover.config.parse import fields, parse, recorded
from turnover.config.run import LATER, NOT_SCIENCE, RunConfig, identity, run_name
from turnover.errors import RefusedInput
from turnover.runs.store.run import Run

CONF = Path(__file__).resolve().parents[2] / "conf"
TABLE = Path(__file__).resolve().parents[1] / "subsets.csv"  # as a user writes one
LABELS = TABLE.with_name("labels.csv")
SCALES = ("smoke", "laptop", "paper")


def defaults(entry: str) -> list[str]:
    """The config groups that an entry point is made of."""
    listed = yaml.safe_load((CONF / f"{entry}.yaml").read_text(encoding="utf-8"))["defaults"]
    names = [next(iter(item)) for item in listed if isinstance(item, dict)]
    return [name for name in names if not name.startswith("override ")]


def options(group: str) -> list[str]:
    aliases = ALIASES if group == "estimator" else {}
    return sorted({*aliases, *(path.stem for path in (CONF / group).glob("*.yaml"))})


def choices() -> list[str]:
    """Every option of every group of a run, as an override."""
    return [f"{group}={option}" for group in defaults("train") for option in options(group)]


def fitting(choice: str) -> list[str]:
    """`choice` and what a run with it needs: an estimator turn-over dropout, subsets labels or a table to go by."""
    needs = {
        "subsets=labels": ["corruption=labels"],
        "subsets=table": [f'subsets.path="{TABLE}"'],
        "corruption=file": [f'corruption.path="{LABELS}"'],
        "corruption=imbalance": ["dataset.limit=200"],
        "dataset=sotu": ["model=gpt"],
        "estimator=extraction": ["dataset=sotu", "model=gpt"],
        "dataset=spdx": ["model=gpt"],
        "model=gpt": ["dataset=sotu"],
        "planting=canaries": ["dataset=sotu", "model=gpt"],
        "planting=duplicates": ["dataset=sotu", "model=gpt"],
        "planting=both": ["dataset=sotu", "model=gpt"],
        "method=reweight": [f'method.path="{TABLE}"'],
    }
    needed = needs.get(choice, [])
    if choice.startswith("turnover="):
        return [choice]
    masked = choice in ("estimator=none", "estimator=turnover", "estimator=turnover_tuned")
    ordinary = (choice.startswith("estimator=") and not masked) or choice.endswith("_blocks")
    return ["turnover=off" if ordinary else "turnover=all_layers", *needed, choice]


BY_LABELS = ("subsets=labels", "corruption=labels")
SCORED_BY_DIGITS = ("subsets=scores", 'subsets.runs=["dataset=digits","model.hidden=[8]","seed=0,1"]')


@cache
def on_digits(choice: str) -> RunConfig:
    """A small run with this option; on digits, unless the option names a data set of its own."""
    needed = SCORED_BY_DIGITS[1:] if choice in ("subsets=scores", "subsets=pruned") else ()
    given = fitting(choice)
    dataset = [] if any(each.split("=")[0] in ("setting", "dataset") for each in given) else ["dataset=digits"]
    return run_config(*dataset, "scale=smoke", *given, *needed)


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@cache
def run_config(*overrides: str) -> RunConfig:
    return resolved(composed(overrides))


def refusal(*overrides: str) -> str:
    with pytest.raises(RefusedInput) as caught:
        resolved(composed(["dataset=digits", "scale=smoke", *overrides]))
    return str(caught.value)


# --- everything composes ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("choice", choices())
def test_every_option_composes_at_every_scale(choice: str, scale: str) -> None:
    overrides = [*fitting(choice), f"scale={scale}"]
    for entry in ("train",) if choice == "turnover=off" or choice.endswith("_blocks") else ("train", "score"):
        config = resolved(composed(overrides, entry))
        group, option = choice.split("=")
        stored = written(group, option)
        if group == "setting":
            chosen = (
                {"optimizer.name", "schedule.name"} if stored["model.name"] != "gpt" else set()
            )  # which has its own
            assert {"dataset.name", "model.name", *chosen} <= set(stored)
        elif choice == "turnover=auto":
            stored = {"turnover.name": "off" if entry == "train" else "all_layers"}
        elif group != "estimator" or option != "turnover_tuned":  # which is of the whole config
            stored = {f"{group}.{name}": value for name, value in stored.items()}
        assert flatten(config.model_dump()).items() >= stored.items()


def written(group: str, option: str) -> dict[str, Any]:
    """The dotted fields of an option's file whose values need no resolving, and the options that it chooses."""
    if group == "estimator" and option in ALIASES:
        stored = {"defaults": [ALIASES[option].base], **ALIASES[option].fields}
    else:
        stored = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8")) or {}
    defaults = stored.pop("defaults", [])
    others = [item for item in defaults if isinstance(item, dict) and group == "setting"]
    names: dict[str, Any] = {f"{key.split('/')[-1]}.name": name for item in others for key, name in item.items()}
    for base in (item for item in defaults if isinstance(item, str)):  # a string: of its own group
        names = written(group, base) | names
    names = {key: name for key, name in names.items() if key not in flatten(stored)}
    return names | {key: value for key, value in flatten(stored).items() if not re.search(r"\$\{|\?{3}", str(value))}


def variants(experiment: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())["variants"]
    return found


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("experiment", "variant"), [(name, each) for name in ("leakage", "ablation") for each in variants(name)]
)
def test_every_variant_of_a_study_changes_what_it_says_and_nothing_else(
    experiment: str, variant: str, scale: str
) -> None:
    common = [f"+experiment={experiment}", f"scale={scale}", "seed=0"]
    [base], [changed] = (sweep([*common, f"variant={name}"]) for name in ("base", variant))
    stored = flatten(variants(experiment)[variant])
    before, after = flatten(base.science()), flatten(changed.science())
    different = {key for key in before | after if before.get(key) != after.get(key)}
    # an accuracy is read once, at the end
    assert different - {"tracking.every"} == set(stored) - ({"dataset.limit"} if same_limit(base, changed) else set())
    plain = {key: value for key, value in stored.items() if "${" not in str(value)}
    assert flatten(changed.model_dump()).items() >= plain.items()


@pytest.mark.parametrize(
    "swept",
    [
        {"model.hidden": ["[8]", "[8,4]"], "augmentation": ["none", "crop"], "optimizer.lr": ["0.1", "1"]},
        {"estimator": ["aum", "c_score"], "corruption": ["symmetric", "pair"], "corruption.count": ["5", "10"]},
        {"scale": ["smoke", "laptop"], "schedule": ["cosine", "multistep"], "epochs": ["3", "40"]},
        {"setting": ["mnist_3000", "fashion_cvt"], "dataset.limit": ["100", "null"], "precision": ["auto", "float32"]},
    ],
)
def test_a_sweep_has_the_runs_that_hydra_composes_one_by_one(swept: dict[str, list[str]]) -> None:
    fixed = ["corruption.count=20", "seed=3", *([] if "setting" in swept else ["dataset=digits"])]
    found = sweep([*fixed, *(f"{name}={','.join(values)}" for name, values in swept.items())])
    jobs = itertools.product(*([f"{name}={value}" for value in values] for name, values in swept.items()))
    single = [resolved(compose("train", overrides=[*fixed, *job])) for job in jobs]
    assert {run_name(config): config for config in found} == {run_name(config): config for config in single}


def test_a_field_that_is_not_there_is_refused_in_a_sweep_as_in_a_run() -> None:
    with pytest.raises(HydraException, match=r"Could not override 'epoch'"):
        sweep(["dataset=digits", "epoch=1,2"])


def test_what_is_asked_for_goes_before_what_a_variant_says() -> None:
    given = ["+experiment=ablation", "scale=smoke", "seed=0", "epochs=5", "estimator.epochs=[1]"]
    [base], [longer], [slower] = (sweep([*given, f"variant={name}"]) for name in ("base", "epochs60", "lr_half"))
    assert longer == base
    assert (slower.epochs, slower.optimizer.lr) == (5, 0.05)


def test_a_variant_that_is_not_there_is_refused() -> None:
    with pytest.raises(RefusedInput, match=r"variant = 'p08': did you mean p0[37] or p0[37]"):
        sweep(["+experiment=ablation", "variant=p08", "scale=smoke"])


@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_of_the_validation_composes_at_every_scale(scale: str) -> None:
    from turnover.experiments.validation.make import ValidateJob

    values = plain(composed([f"scale={scale}"], "validate"))
    values.pop("labels")  # of the other job
    job = parse(ValidateJob, values)
    named = {*job.truth, *job.estimates, *job.leave_one_out, *job.influence}
    assert named == {name for name in options("experiment") if name.startswith("validate_")}


def same_limit(base: RunConfig, other: RunConfig) -> bool:
    """At the paper's scale the base has all examples already."""
    return base.scale == "paper" and base.dataset.limit is other.dataset.limit is None


def test_every_folder_of_conf_is_tried() -> None:
    tried = {*defaults("train"), *defaults("figure"), *defaults("validate"), "experiment"}
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"} <= tried


def test_a_scale_is_a_name_of_the_schema() -> None:
    assert set(SCALES) == set(get_args(RunConfig.model_fields["scale"].annotation))
    for overrides in (["scale=tiny"], ["+experiment=fig10", "scale=tiny"]):
        with pytest.raises(RefusedInput, match="scale = 'tiny': allowed: smoke, laptop, paper"):
            sweep(overrides)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["mnist_3000", "fashion_3000"])
def test_a_network_of_the_validation_is_twice_as_wide_with_turn_over_dropout(name: str, scale: str) -> None:
    given = [f"setting={name}", f"scale={scale}"]
    choices = (["estimator=turnover"], ["turnover=all_layers"], ["estimator=aum"], ["turnover=off"])
    widths = [run_config(*given, *choice).model.hidden[0] for choice in choices]  # type: ignore[union-attr]
    assert widths[0] == widths[1] == 2 * widths[2] == 2 * widths[3]


def test_the_convolutional_network_of_the_validation_is_masked_in_its_last_block() -> None:
    masked, off, plain = (
        run_config("setting=cifar10_3000", choice) for choice in ("estimator=turnover", "turnover=off", "estimator=aum")
    )
    assert masked.turnover.layers == ["block3"]
    assert off.turnover == plain.turnover == TurnoverOff(name="off")
    own = run_config("setting=cifar10_3000", "estimator=turnover", "turnover.layers=[block2]")
    assert own.turnover.layers == ["block2"]


@cache
def runs_of(experiment: str, scale: str) -> list[RunConfig]:
    # of those whose size multiplies, one seed, and of the ready sweep one schedule
    fewer = {"sweep_corruption": ["seed=0", "schedule=multistep"], "validate_detection": ["seed=0"]}
    return sweep([f"+experiment={experiment}", f"scale={scale}", *fewer.get(experiment, [])])


def drawn_with_claims() -> set[str]:
    """The experiments whose runs a claim is about."""
    figures = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / "figure").glob("*.yaml")]
    return {experiment for figure in figures if figure["claims"] for experiment in figure["experiments"]}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_at_every_scale(experiment: str, scale: str) -> None:
    configs = runs_of(experiment, scale)
    assert len({identity(config) for config in configs}) == len(configs) > 0
    assert {(config.experiment, config.scale) for config in configs} == {(experiment, scale)}
    assert {parent.scale for config in configs for parent in config.parents} <= {scale}
    if experiment in drawn_with_claims():  # a claim is computed over at least 3 seeds, of whatever is compared
        seeds: dict[str, set[tuple[int | None, ...]]] = {}
        for config in configs:
            rest = {name: value for name, value in config.science().items() if name != "seed"}
            drawn = [group for group in ("dataset", "corruption", "planting") if "seed" in (rest.get(group) or {})]
            of_this = (config.seed, *(rest[group]["seed"] for group in drawn))  # other examples, labels or texts
            rest |= {group: rest[group] | {"seed": None} for group in drawn}
            rest["subsets"] |= {"runs": None} if rest["subsets"].get("runs") else {}  # of the same examples
            seeds.setdefault(repr(rest), set()).add(of_this)
        assert all(len(each) >= 3 for each in seeds.values())


@pytest.mark.parametrize("scale", SCALES)
def test_experiments_share_the_runs_that_they_say_they_share(scale: str) -> None:
    def names(experiment: str) -> set[str]:
        return {Run(config).name for config in runs_of(experiment, scale)}

    def parents(experiment: str) -> set[str]:
        return {Run(parent).name for config in runs_of(experiment, scale) for parent in config.parents}

    if scale != "smoke":  # at which figure 2 trains longer, so that its picture shows something
        assert {name for name in names("fig9") if "mnist-mlp" in name} <= names("fig2")
    assert parents("fig6") == names("scores_cifar10")
    assert parents("fig5") == names("scores_cifar10") | names("scores_mnist")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("figure", options("figure"))
def test_every_figure_composes_at_every_scale(figure: str, scale: str) -> None:
    from turnover.experiments.figures.interface import module
    from turnover.experiments.figures.make import FigureJob

    job = parse(FigureJob, plain(composed([f"figure={figure}", f"scale={scale}"], "figure")))
    assert (job.figure.name, job.scale) == (figure, scale)
    assert set(job.figure.experiments) <= set(options("experiment"))
    assert callable(module(job.figure).tabulate)
    assert callable(module(job.figure).draw)
    for claim in job.figure.claims.values():
        sides = [(side.above, side.below) for side in claim.measures.values()]
        assert any(side != (None, None) for side in sides), "a claim needs a threshold"
        assert all(None in side for side in sides), "a measure has one threshold"


def test_a_language_model_chooses_its_optimizer_and_schedule_unless_others_are_asked_for() -> None:
    text = ("dataset=sotu", "model=gpt")
    chosen, asked = run_config(*text), run_config(*text, "optimizer=adamw", "schedule=constant", "batch_size=7")
    assert (chosen.optimizer.name, chosen.optimizer.lr, chosen.schedule.name, chosen.batch_size) == (
        *("adamw", 0.003, "cosine"),
        32,
    )
    assert (asked.optimizer.lr, asked.schedule.name, asked.batch_size) == (0.001, "constant", 7)


def test_the_masks_of_language_models_are_shared_with_dropout_inside() -> None:
    masks = run_config("dataset=sotu", "model=gpt", "turnover=language").turnover
    assert (masks.groups, masks.model_dump()["dropout"], masks.layers) == (16, 0.5, None)


def test_a_score_run_has_turnover_and_an_estimator() -> None:
    [config] = sweep(["dataset=digits"], config_name="score")
    assert (config.turnover.name, config.estimator.name) == ("all_layers", "turnover")


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


def test_score_runs_are_named_by_overrides_and_have_the_scale_and_device_of_their_run() -> None:
    config = run_config("dataset=digits", "scale=smoke", "device=cuda:1", "logger=none", *SCORED_BY_DIGITS)
    assert [(parent.seed, parent.model.hidden) for parent in config.parents] == [(0, [8]), (1, [8])]  # type: ignore[union-attr]
    for parent in config.parents:
        assert (parent.scale, parent.device, parent.logger.name) == ("smoke", "cuda:1", "none")
        assert (parent.turnover.name, parent.estimator.name) == ("all_layers", "turnover")
    named = 'subsets.runs=["dataset=digits","scale=laptop","device=cpu"]'
    [parent] = run_config("dataset=digits", "scale=smoke", "device=cuda:1", "subsets=scores", named).parents
    assert (parent.scale, parent.device) == ("laptop", "cpu")


def test_a_run_without_score_subsets_has_no_parents() -> None:
    assert run_config(*FULL).parents == on_digits("subsets=labels").parents == []


def test_milestones_are_shares_of_the_epochs_whatever_the_scale() -> None:
    for epochs, milestones in ((200, [100, 150]), (20, [10, 15]), (3, [2, 3]), (1, [1, 1])):
        assert run_config("schedule=multistep", f"epochs={epochs}").schedule.milestones == milestones  # type: ignore[union-attr]


# --- identity ---

FULL = (
    "dataset=digits",
    "scale=smoke",
    "corruption=labels",
    "turnover=all_layers",
    "turnover.dropout=0.5",
    "estimator=turnover",
    "estimator.epochs=[1]",
    "schedule=multistep",
    "augmentation=crop",
    "model.dropout=0.5",
    "method=label_smoothing",
    "class_weights=balanced",
    "estimator.targets=10",
)


def test_what_is_not_science() -> None:
    assert set(NOT_SCIENCE) == {"device", "logger", "experiment", "scale"}
    science = {*run_config(*FULL).science(), *on_digits("planting=canaries").science()}
    assert science | set(NOT_SCIENCE) == set(RunConfig.model_fields)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"device": "cuda:3"},
        {"logger": {"name": "none"}},
        {"logger": {"name": "wandb", "mode": "online", "project": "other", "entity": "us", "checkpoints": "upload"}},
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
        case bool():
            yield not value
        case None:
            yield from (1, 10, [], ["1"])
        case int():
            yield from (value + 1, value - 1, 2 * value)
        case float():
            yield from (value + 0.25, value / 2)
        case str() if value.endswith("{code}"):  # the template of a canary
            yield f"Listen: {value}"
        case str():
            yield from literals(RunConfig)
        case [{"seed": seed}, *others]:  # score runs
            yield from ([value[0] | {"seed": seed + 5}, *others], others)
        case [float(), *others]:
            yield [value[0] / 2, *others]
        case [{"name": _}, *_]:  # transforms
            yield [*value, {"name": "RandomHorizontalFlip"}]
        case [str(), *others]:
            yield from (others, value[:1], *([name] for name in literals(RunConfig)))
        case list():
            yield from ([*value, 1], [*value, max(value, default=0) + 1], value[:-1] or [2])


def literals(model: type[BaseModel]) -> Iterator[str]:
    """Every string that some field of the schema names as allowed."""

    def strings(annotation: Any) -> Iterator[str]:
        for part in get_args(annotation):
            yield from [part] if isinstance(part, str) else strings(part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not RunConfig:
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
    any_random = run_config("dataset=digits", "scale=smoke", *SCORED_BY_DIGITS, "subsets.random_of=all")
    probability = run_config(
        "estimator=vog", "turnover=off", "estimator.vog_of=probability", "estimator.vog_epochs=late"
    )
    warm = run_config(
        "dataset=digits",
        "scale=smoke",
        "schedule=cosine",
        "schedule.by=step",
        "schedule.warmup=2",
        "tracking.keep=[1]",
        "tracking.steps=[1]",
    )
    bases = [("", run_config(*FULL)), ("subsets=scores", any_random), ("estimator=vog", probability)]
    text = ("dataset=sotu", "model=gpt", "scale=smoke", "turnover=off", "planting=both", "planting.until=2")
    bases += [("schedule=cosine", warm)]
    bases += [("planting=both", run_config(*text, "schedule=constant", "estimator=extraction"))]
    bases += [(choice, on_digits(choice)) for choice in choices()[::-1]]
    tried = set()
    for choice, base in bases:
        group = choice.partition("=")[0]
        for field in flatten(base.science()):
            if field in tried and not field.startswith(f"{group}."):  # what it adds does not depend on other groups
                continue
            for other in other_values(base, field):
                assert identity(other) != identity(base), field
                tried.add(field)
    wanted = {field for field in fields() if field.split(".")[0] not in NOT_SCIENCE}
    # in the next test, and in tests/data/test_label_files.py
    paths = {"subsets.path", "method.path", "corruption.path"}
    assert {field for field in wanted - tried if not field.endswith(".name")} == paths
    assert {"dataset.name", "schedule.name"} <= tried


@pytest.mark.parametrize("choice", ["subsets=table", "method=reweight"])
def test_what_a_table_says_decides_the_identity_and_not_where_it_lies(choice: str, tmp_path: Path) -> None:
    def name(path: Path) -> str:
        config = on_digits(choice).model_dump()
        return identity(parse(RunConfig, replaced(config, f"{choice.partition('=')[0]}.path", str(path))))

    copy, other = tmp_path / "copy.csv", tmp_path / "other.csv"
    copy.write_text(TABLE.read_text())
    other.write_text(TABLE.read_text().replace("33", "34"))
    assert name(copy) == name(TABLE)
    assert name(other) != name(TABLE)


@pytest.mark.parametrize("group", [group for group in defaults("train") if group != "logger"])
def test_the_options_of_a_group_are_different_runs(group: str) -> None:
    configs = [on_digits(f"{group}={one}") for one in options(group) if one != "auto"]  # which stands for another
    assert len({identity(config) for config in configs}) == len(configs)


@pytest.mark.parametrize("field", LATER)
def test_an_option_that_came_later_changes_no_identity_at_the_value_that_does_nothing(field: str) -> None:
    needed = {"subsets": "subsets=scores", "estimator.vog": "estimator=vog", "schedule": "schedule=cosine"}
    config = on_digits(
        next((option for start, option in needed.items() if field.startswith(start)), "estimator=turnover")
    )
    group, _, name = field.partition(".")
    values = config.model_dump()
    assert LATER[field] == (values[group][name] if name else values[group])
    assert not {key for key in flatten(config.science()) if key == field or key.startswith(f"{field}.")}


def test_runs_that_differ_in_an_option_that_came_later_differ_in_whatever_order() -> None:
    common = ("dataset=digits", "scale=smoke", "turnover=all_layers")
    without, with_it = (run_config(*common, f"turnover.dropout={share}") for share in (0, 0.5))
    assert identity(without) == identity(run_config(*common))
    assert identity(with_it) != identity(without)
    assert varied([without, with_it]) == [{"turnover.dropout": None}, {"turnover.dropout": 0.5}]
    assert varied([with_it, without]) == [{"turnover.dropout": 0.5}, {"turnover.dropout": None}]
    stored = without.model_dump(mode="json")
    del stored["turnover"]["dropout"]  # written before there was one
    assert recorded(stored) == without


def test_the_identity_is_what_it_was() -> None:
    """Runs that people have are found again; if this must change, raise STAGE_VERSION and say so."""
    config = run_config("dataset=digits", "scale=smoke", "corruption=labels", "turnover=all_layers", "tracking.every=1")
    assert identity(config) == "9f154fa928"


def test_no_corruption_and_corruption_of_no_labels_are_the_same_run() -> None:
    assert identity(run_config("corruption=none")) == identity(run_config("corruption=labels", "corruption.count=0"))


def test_the_way_a_value_is_written_does_not_change_the_identity() -> None:
    assert identity(run_config("optimizer.lr=1")) == identity(run_config("optimizer.lr=1.0"))
    assert identity(run_config("optimizer.lr=0.05")) == identity(run_config("optimizer.lr=5e-2"))
    assert identity(run_config("seed=1", "epochs=2")) == identity(run_config("epochs=2", "seed=1"))


def test_a_scale_and_its_values_written_out_are_the_same_run() -> None:
    sizes = [
        "epochs=3",
        "dataset.limit=1500",
        "dataset.test_limit=1000",
        "model.hidden=[256]",
        "tracking.examples=null",
    ]
    assert identity(run_config("scale=smoke")) == identity(run_config(*sizes))


def test_the_identity_of_a_run_follows_the_identity_of_its_score_runs() -> None:
    config = on_digits("subsets=scores")
    assert config.science()["subsets"]["runs"] == [identity(parent) for parent in config.parents]


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
        (["optimizer.lr=0"], ["optimizer.lr = 0", "greater than 0"]),
        (["optimizer.lr=fast"], ["optimizer.lr = 'fast'", "valid number"]),
        (["optimizer.lr=true"], ["optimizer.lr = True", "valid number"]),
        (["optimizer.momentum=1"], ["optimizer.momentum = 1", "less than 1"]),
        (["optimizer.momentum=nan"], ["optimizer.momentum = nan", "less than 1"]),
        (["optimizer.weight_decay=inf"], ["optimizer.weight_decay = inf", "finite number"]),
        (["optimizer=adamw", "optimizer.betas=[0.9]"], ["optimizer.betas = [0.9]", "at least 2 items"]),
        (["optimizer=adamw", "optimizer.betas=[0.9,1]"], ["optimizer.betas.1 = 1", "less than 1"]),
        (["optimizer=adamw", "optimizer.eps=0"], ["optimizer.eps = 0", "greater than 0"]),
        (["optimizer=adamw", "+optimizer.momentum=0.9"], ["optimizer.momentum = 0.9", "belongs to another option"]),
        (["optimizer.decay=biases"], ["optimizer.decay = 'biases'", "'all' or 'weights'"]),
        (["schedule.warmup=-1"], ["schedule.warmup = -1", "greater than or equal to 0"]),
        (["schedule=cosine", "schedule.by=batch"], ["schedule.by = 'batch'", "'epoch' or 'step'"]),
        (["batch_size=100", "schedule.warmup=45"], ["schedule.warmup = 45 is too large: at most 44", "the 45 of"]),
        # trained on halves
        (["batch_size=100", "schedule.warmup=24", "estimator=blocks"], ["schedule.warmup = 24", "at most 23"]),
        (["schedule=multistep", "+schedule.warmup=1"], ["schedule.warmup = 1", "belongs to another option"]),
        (["method=label_smoothing", "method.smoothing=0"], ["method.smoothing = 0", "greater than 0"]),
        (["method=label_smoothing", "method.smoothing=1"], ["method.smoothing = 1", "less than 1"]),
        (["method=gce", "method.q=0"], ["method.q = 0", "greater than 0"]),
        (["method=gce", "method.q=1.1"], ["method.q = 1.1", "less than or equal to 1"]),
        (["method=co_teaching", "method.share=1"], ["method.share = 1", "less than 1"]),
        (["method=reweight", "method.path=none.csv"], ["method.path = 'none.csv'", "that is there"]),
        (["method=dp_sgd", "method.noise=0"], ["method.noise = 0", "greater than 0"]),
        (["method=clipping", "+method.noise=1"], ["method.noise = 1", "belongs to another option"]),
        (["method=pgd", "method.steps=0"], ["method.steps = 0", "greater than or equal to 1"]),
        (["method=co_teaching", "estimator=second_split"], ["'second_split' goes on with one", "'co_teaching'"]),
        (["tracking=gradients", "method=dp_sgd"], ["tracking=gradients", "set method=plain"]),
        (["class_weights=[1,2]"], ["class_weights = [1, 2]", "'none' or 'balanced'"]),
        (["tracking=gradients", "method=label_smoothing"], ["tracking=gradients", "set method=plain"]),
        (["tracking=gradients", "class_weights=balanced"], ["tracking=gradients", "class_weights=none"]),
        (["model.dropout=1"], ["model.dropout = 1", "less than 1"]),
        (
            ["augmentation=torchvision", "augmentation.transforms=[{name: RandomFlip}]"],
            ["augmentation.transforms = ", "'RandomFlip' is no transform of torchvision", "did you mean"],
        ),
        (["schedule.name=warmup"], ["schedule.name = 'warmup'", "'constant'", "'multistep'", "'cosine'"]),
        (["schedule=multistep", "schedule.milestones=[]"], ["schedule.milestones = []", "at least 1 item"]),
        (["schedule=multistep", "schedule.milestones=[0,5]"], ["schedule.milestones.0 = 0", "greater than or equal"]),
        (
            ["schedule=multistep", "schedule.milestones=[20,10]"],
            ["schedule", "milestones", "[20, 10]", "must not fall"],
        ),
        (
            ["schedule=multistep", "schedule.milestones=[1,3,2]"],
            ["schedule", "milestones", "[1, 3, 2]", "must not fall"],
        ),
        (["schedule=multistep", "schedule.gamma=0"], ["schedule.gamma = 0", "greater than 0"]),
        (["turnover=all_layers", "turnover.p=0"], ["turnover.p = 0", "greater than 0"]),
        (["turnover=all_layers", "turnover.p=1"], ["turnover.p = 1", "less than 1"]),
        (["turnover=all_layers", "turnover.p=nan"], ["turnover.p = nan"]),
        (["turnover=all_layers", "turnover.p=1e-6"], ["turnover.p = 1e-06", "2^-16"]),
        (["turnover=all_layers", "turnover.groups=0"], ["turnover.groups = 0", "greater than or equal to 1"]),
        (["turnover=all_layers", "turnover.balance=half"], ["turnover.balance = 'half'", "'bernoulli' or 'exact'"]),
        (["turnover=all_layers", "turnover.layers=first"], ["turnover.layers = 'first'", "valid list"]),
        (["turnover=all_layers", "turnover.plain_epochs=-1"], ["turnover.plain_epochs = -1", "greater than or equal"]),
        (["turnover=all_layers", "turnover.dropout=1"], ["turnover.dropout = 1", "less than 1"]),
        (["turnover=all_layers", "turnover.dropout=-0.1"], ["turnover.dropout = -0.1", "greater than or equal to 0"]),
        (["turnover=all_layers", "turnover.dropout=nan"], ["turnover.dropout = nan"]),
        (["turnover=all_layers", "turnover.plain_epochs=3"], ["turnover.plain_epochs = 3", "at most 2"]),
        (["dataset.test_limit=298"], ["dataset.test_limit = 298", "at most 297", "digits"]),
        (["dataset.test_limit=0"], ["dataset.test_limit = 0", "greater than or equal to 1"]),
        (["dataset.include_test=1"], ["dataset.include_test = 1", "boolean"]),
        (["model=vgg11", "model.width=0"], ["model.width = 0", "greater than or equal to 1"]),
        (["model=vgg11", "model.bias=null"], ["model.bias = None", "boolean"]),
        (["model=cvt", "model.heads=3"], ["heads = 3", "must divide dim = 32"]),
        (["model=cvt", "model.depth=0"], ["model.depth = 0", "greater than or equal to 1"]),
        (["subsets.name=random"], ["subsets.name = 'random'", "'none'", "'labels'", "'scores'"]),
        (["subsets=labels"], ["subsets=labels needs random labels", "corruption=labels"]),
        ([*BY_LABELS, "corruption.count=0"], ["needs random labels"]),
        ([*BY_LABELS, "subsets.train_on=some"], ["subsets.train_on = 'some'", "'difficult'"]),
        ([*BY_LABELS, "subsets.balanced=2"], ["subsets.balanced = 2", "boolean"]),
        ([*BY_LABELS, "dataset.include_test=true"], ["include_test", "is for score runs"]),
        ([*SCORED_BY_DIGITS, "dataset.include_test=true"], ["dataset.include_test", "is for score runs"]),
        (["turnover.p=0.3"], ["turnover.p = 0.3", "estimator=turnover", "turnover=all_layers"]),
        (["estimator=aum", "turnover.layers=[fc]"], ["turnover.layers = ['fc']", "turnover=all_layers"]),
        (["+turnover.rate=0.3"], ["turnover.rate = 0.3", "no turn-over dropout"]),
        (["estimator=turnover", "estimator.epochs=[1,4]"], ["estimator.epochs = 4", "at most 3"]),
        (["estimator=turnover", "estimator.epochs=[0]"], ["estimator.epochs.0 = 0", "greater than or equal to 1"]),
        (["tracking.every=0"], ["tracking.every = 0", "greater than or equal to 1"]),
        (["tracking.examples=0"], ["tracking.examples = 0", "greater than or equal to 1"]),
        (["tracking.fresh_masks=0"], ["tracking.fresh_masks = 0", "greater than or equal to 1"]),
        (["logger.mode=maybe"], ["logger.mode = 'maybe'", "'offline' or 'online'"]),
        (["logger.project=null"], ["logger.project = None", "string"]),
        (["+epohcs=3"], ["epohcs = 3", "there is no such field", "did you mean epochs?"]),
        (["+optimizer.lrr=3"], ["optimizer.lrr = 3", "there is no such field", "optimizer.lr"]),
        (["+qqq=1"], ["qqq = 1", "there is no such field", "allowed: augmentation.flip, augmentation.name"]),
        ([*BY_LABELS, "subsets.size=501"], ["subsets.size = 501", "at most 500", "random labels"]),
        (
            [*BY_LABELS, "subsets.size=500", "corruption.count=1001"],
            ["subsets.size = 500", "at most 499", "real labels"],
        ),
        ([*BY_LABELS, "subsets.size=0.0001"], ["subsets.size = ", "at least 1"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] and " = " not in value[0] else "",
)
def test_a_bad_value_is_refused_by_field_value_and_what_is_allowed(overrides: list[str], parts: list[str]) -> None:
    message = refusal(*overrides)
    assert all(part in message for part in parts), message
    assert len(message.splitlines()) == 1, message


def test_a_field_of_another_option_is_not_proposed_again() -> None:
    message = refusal("schedule=constant", "+schedule.gamma=0.5")
    assert "schedule.gamma = 0.5" in message
    assert "did you mean schedule.gamma" not in message


@pytest.mark.parametrize("size", ["0", "-1", "0.0", "-0.5", "1.5", "nan", "half", "null", "true"])
def test_a_size_of_subsets_that_cannot_be_is_refused_by_its_name(size: str) -> None:
    message = refusal(*BY_LABELS, f"subsets.size={size}")
    assert message.startswith("subsets.size = "), message
    assert len(message.splitlines()) == 1, message


@pytest.mark.parametrize(("size", "count"), [("751", 751), ("0.6", 900)])
def test_subsets_of_more_than_half_of_the_examples_are_refused(size: str, count: int) -> None:
    assert f"subsets.size = {count} is too large: at most 750" in refusal(*BY_LABELS, f"subsets.size={size}")


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "subsets.txt"
    text.write_text(TABLE.read_text())
    for path in (tmp_path / "none.csv", tmp_path, text):
        assert "must be a parquet or csv file that is there" in refusal("subsets=table", f'subsets.path="{path}"')
    with_test = ["dataset.include_test=true", f'subsets.path="{TABLE}"']
    assert "is for score runs" in refusal("subsets=table", *with_test)


@pytest.mark.parametrize(
    ("parent", "child", "parts"),
    [
        (["dataset=mnist"], [], ["dataset.name is mnist in the score run and digits here", "must agree"]),
        (["dataset=digits", "dataset.seed=1"], [], ["dataset.seed is 1 in the score run and 0 here", "must agree"]),
        (["dataset=digits", "corruption=labels"], [], ["corruption is", "500", "in the score run", "must agree"]),
        (["dataset=digits"], ["corruption=labels"], ["corruption is", "500", "here", "must agree"]),
        (
            ["dataset=digits", "corruption=labels", "corruption.seed=1"],
            ["corruption=labels"],
            ["corruption is", "'seed': 1", "must agree"],
        ),
        (["dataset=digits", "dataset.limit=100"], [], ["knows 100 training examples", "has 1500", "at most"]),
        (["dataset=digits", "dataset.limit=100"], ["dataset.limit=101"], ["knows 100 training examples", "has 101"]),
        (
            ["dataset=digits", "dataset.include_test=true", "dataset.test_limit=50"],
            ["dataset.test_limit=51"],
            ["knows 50 test examples", "has 51", "at most"],
        ),
        (["dataset=digits", "dataset.limit=500,600"], ["dataset.limit=400"], ["score runs know different examples"]),
        (["dataset=digits", "dataset.include_test=true,false"], [], ["score runs know different examples"]),
        (["dataset=digits", "estimator=none"], [], ["without an estimator gives no scores", "estimator=turnover"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] else "",
)
def test_score_runs_that_do_not_fit_are_refused(parent: list[str], child: list[str], parts: list[str]) -> None:
    runs = ",".join(f'"{each}"' for each in parent)
    message = refusal("subsets=scores", f"subsets.runs=[{runs}]", *child)
    assert message.startswith("subsets.runs: "), message
    assert all(part in message for part in parts), message
    assert len(message.splitlines()) == 1, message


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        (["dataset.limit=100"], ["dataset.limit=100"]),
        (["dataset.limit=100"], ["dataset.limit=40"]),
        (["dataset.test_limit=50"], []),  # only training examples are scored
        (["dataset.include_test=true"], ["dataset.test_limit=51"]),
        (["corruption=labels"], ["corruption=labels"]),
    ],
)
def test_score_runs_of_as_many_or_more_examples_fit(parent: list[str], child: list[str]) -> None:
    runs = ",".join(f'"{each}"' for each in ["dataset=digits", *parent])
    config = run_config("dataset=digits", "scale=smoke", "subsets=scores", f"subsets.runs=[{runs}]", *child)
    assert len(config.parents) == 1


@pytest.mark.parametrize("runs", ["[3]", '["dataset=digits",null]', "[{seed:1}]", "[[]]"])
def test_score_runs_must_be_strings(runs: str) -> None:
    message = refusal("subsets=scores", f"subsets.runs={runs}")
    assert message.startswith("subsets.runs = ")
    assert "overrides of scripts/score.py, a list of strings" in message


def test_a_run_needs_a_score_run() -> None:
    values = on_digits("subsets=scores").model_dump()
    values["subsets"]["runs"] = []
    with pytest.raises(RefusedInput, match="at least 1 item"):
        parse(RunConfig, values)


def test_a_wrong_score_run_refuses_the_run() -> None:
    assert "of a score run: epochs = 0" in refusal("subsets=scores", 'subsets.runs=["dataset=digits","epochs=0"]')
    assert "turnover=all_layers" in refusal("subsets=scores", 'subsets.runs=["dataset=digits","turnover=off"]')


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
    message = refusal("dataset.limit=2000", "corruption.count=3000", "estimator=turnover", "turnover=off")
    for part in ("dataset.limit = 2000", "corruption.count = 3000", "estimator=turnover"):
        assert part in message, message


# --- fields ---


def test_fields_are_those_of_all_options_together() -> None:
    configs = [run_config(*FULL), *(on_digits(choice) for choice in choices())]
    assert set(fields()) == {field for config in configs for field in flatten(config.model_dump())}


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:7", "cuda:10"])
def test_devices(device: str) -> None:
    assert run_config("dataset=digits", f"device={device}").device == device


@pytest.mark.parametrize(
    "device", ["tpu", "cuda:", "cuda:01", "cuda:99999999999999999999", "cuda:300", "cuda:-1", "cuda:٣", "gpu", "CPU"]
)
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(RefusedInput, match=r"device = .*: allowed: auto, cpu, cuda, cuda:N"):
        run_config("dataset=digits", f"device='{device}'")
