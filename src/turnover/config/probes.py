"""Every probe, a measurement of finished networks: what it measures, who proposed it, and its options.

An option has the value that stands here unless another one of the same kind is given.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from turnover.common.text import suggestion
from turnover.errors import RefusedInput


class Probe(NamedTuple):
    """A measurement of finished networks: the module of its name in `turnover.probes`."""

    about: str
    source: str
    options: dict[str, Any]  # their meaning is said by the module


PROBES = {
    "rewind": Probe("one block set back to an earlier epoch", "Maini et al., 2023", {"epochs": []}),
    "retrain": Probe("one block trained anew on clean examples alone", "Maini et al., 2023", {}),
    "neurons": Probe(
        "units to be zeroed until a prediction flips",
        "Maini et al., 2023",
        {"examples": 200, "most": 100, "batch": 64, "others": 256},
    ),
    "knn": Probe("accuracy of nearest neighbours, by block", "Anagnostidis et al., 2023", {"neighbours": 10}),
    "collapse": Probe("memorization-dilation and neural collapse, by block", "Nguyen et al., 2023", {}),
    "similarity": Probe(
        "PWCCA and linear CKA of two networks, by block", "Morcos et al., 2018", {"group": "test", "examples": 1000}
    ),
    "dimension": Probe(
        "intrinsic dimension by two neighbours, by block",
        "Ansuini et al., 2019",
        {"group": "test", "examples": 1000, "discard": 0.1},
    ),
    "unlearn": Probe(
        "what other networks found hard forgotten, against retraining without it",
        "Zhu et al., 2020",
        {"epochs": 3},
    ),
    "labels": Probe("right and wrong labels, by all units and by an example's own", "Arpit et al., 2017", {}),
    "order": Probe("agreement about when examples are learnt", "Hacohen et al., 2020", {"column": "first_learning"}),
}


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a probe, updated with those that are given.

    Raises:
        RefusedInput: there is no such probe or option, or its value is of another kind.
    """
    if name not in PROBES:
        raise RefusedInput(f"probe = {name!r}: {suggestion(str(name), list(PROBES))}")
    usual = PROBES[name].options
    for option, value in given.items():
        if option not in usual:
            there = suggestion(option, list(usual)) if usual else "it has none"
            raise RefusedInput(f"probe.{option} = {value!r}: probe={name} has no such option; {there}")
        if wrong := _unlike(value, usual[option]):
            raise RefusedInput(f"probe.{option} = {value!r}: must be {wrong}")
    return usual | dict(given)


def _unlike(value: Any, usual: Any) -> str | None:
    """Return what a value must be, if it is not of the kind of the usual one."""
    match usual:
        case int():
            return None if type(value) is int and value >= 1 else "a whole number, 1 or more"
        case float():
            return None if type(value) is float and 0 <= value < 1 else "a share, 0.0 or more and less than 1.0"
        case list():
            whole = isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
            return None if whole else "a list of epochs, whole numbers from 0 on"
        case _:
            return None if isinstance(value, str) else "a name"
