"""Any composition of groups and any scalar: a run of a step or two, or a refusal of a few readable lines.

`FUZZ=500 pytest tests/config/test_fuzz.py` tries more of them.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_structure import ROOT

from turnover.config.compose import sweep
from turnover.config.parse import fields
from turnover.config.run import RunConfig
from turnover.runs.cli import leave
from turnover.runs.execute import execute
from turnover.runs.store.run import Run

CONF = ROOT / "conf"
GROUPS = [
    "corruption",
    "augmentation",
    "model",
    "optimizer",
    "schedule",
    "method",
    "turnover",
    "estimator",
    "subsets",
    "tracking",
]
FIELDS = [name for name in fields() if name.split(".")[0] not in ("dataset", "logger")]
FIELDS += ["dataset.limit", "dataset.test_limit", "dataset.normalization", "dataset.seed", "dataset.include_test"]
SCALARS = [
    *(
        "-3",
        "-1",
        "0",
        "1",
        "2",
        "3",
        "7",
        "50",
        "1000000",
        str(10**20),
        "true",
        "null",
        "''",
        "abc",
        "nan",
        "inf",
        "-inf",
    ),
    *("-0.5", "0.0", "0.5", "1.0", "1.5", "1e30", "1e-30", "[]", "[1]", "[3,2]", "[0]", "[a]", "[null]", "{}", "{a:1}"),
    *("'[1'", "'{a'", "'../x'", "'${seed}'", "'${nothing}'", "'${oc.env:HOME}'", "???", "'???'", "'$(ls)'", "'a b'"),
    *(
        "[1,1]",
        "['a','b']",
        "random",
        "scores",
        "bernoulli",
        "unit",
        "bfloat16",
        "'ä'",
        "'\\u0000'",
        "[[1]]",
        "0x1f",
        "1_000",
        *("auto", "cuda:01", "cuda:99", "cuda:٣", "'cuda:0\\n'"),
    ),
]


@st.composite
def overrides(draw: Any) -> list[str]:
    chosen = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=4))
    options = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in chosen}
    found = [f"{group}={draw(st.sampled_from(names))}" for group, names in options.items()]
    for _ in range(draw(st.integers(0, 3))):
        plus = draw(st.sampled_from(["", "", "", "+", "++", "~"]))
        name = draw(st.sampled_from(FIELDS))
        found.append(f"{plus}{name}" + ("" if plus == "~" else "=" + draw(st.sampled_from(SCALARS))))
    return found


class TooLong(Exception):
    """A config hangs."""


def alarm(number: int, frame: Any) -> None:
    raise TooLong


def smallest(config: RunConfig) -> RunConfig:
    """The same with a step or two, where a config may well ask for years of work."""
    values = config.model_dump()
    values["epochs"] = min(values["epochs"], 2)
    for name in ("models", "seeds", "folds", "examples"):
        if isinstance(values["estimator"].get(name), int):
            values["estimator"][name] = min(values["estimator"][name], 8)
    return RunConfig.model_validate(values)


@settings(
    max_examples=int(os.environ.get("FUZZ", "100")),
    deadline=None,
    derandomize="FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(entry=st.sampled_from(["train", "score"]), asked=overrides())
def test_a_config_runs_or_is_refused(
    entry: str, asked: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["dataset=digits", "scale=smoke", "logger=none", "device=cpu", "dataset.limit=60", "dataset.test_limit=40"]
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(60)
    with pytest.MonkeyPatch.context() as patch:
        store = tmp_path_factory.mktemp("fuzz")
        patch.setenv("TURNOVER_OUTPUTS", str(store))
        done, config = None, None
        try:
            [config, *_] = sweep([*small, *asked], entry)
            config = smallest(config)
            done = execute(config)
        except (TooLong, AssertionError):
            raise
        except Exception as error:
            refused_in_words(error, capsys)
        finally:
            signal.alarm(0)
        half_written(store, config, done)


def refused_in_words(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        leave(error)  # raises what nobody foresaw
    told = capsys.readouterr().err
    assert end.value.code in (2, 3)
    assert "Traceback" not in told
    assert 0 < len(told.splitlines()) <= 12, told
    assert len(told) < 4000, told


def half_written(store: Path, config: RunConfig | None, done: Path | None) -> None:
    folders = list((store / "runs").glob("*"))
    if done is not None:
        assert (done / "DONE").exists()
    elif config is None:
        assert not folders, "refused before anything is written"
    else:
        states = {path.name: path.joinpath("manifest.json").exists() for path in folders}
        assert all(states.values()), states
        assert not Run(config).finished
