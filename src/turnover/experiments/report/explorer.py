"""The explorer's data: sets of examples, their images if the data set is at hand, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from turnover.common.files import checkout
from turnover.config.datasets import FACTS
from turnover.data.fetch import at_hand
from turnover.experiments.report.packing import COLUMNS, FLOOR, STEPS, Packer, sheets
from turnover.experiments.report.sets import LABELS, ExampleSet, documentation


@dataclass(frozen=True)
class Explorer:
    """What the page holds of single examples."""

    index: dict[str, Any]  # for data.js: the list of sets and of images, and how to read them
    blobs: dict[str, str]  # by element id, in base64
    missing: tuple[str, ...]  # commands that would make more


def explorer(found: Sequence[ExampleSet], missing: Sequence[str], scale: str) -> Explorer:
    """All sets, packed, with the images of their examples."""
    blobs: dict[str, str] = {}
    index: dict[str, Any] = {"sets": [], "images": {}, "floor": FLOOR, "steps": STEPS}
    for each in found:
        entry, text = _packed(each)
        index["sets"].append(entry)
        blobs[f"set-{each.name}"] = text
    for dataset in dict.fromkeys(each.dataset for each in found):
        if not at_hand(dataset):
            continue
        ids = np.unique(np.concatenate([each.table.index.to_numpy() for each in found if each.dataset == dataset]))
        packer = Packer(len(ids))
        packer.ids("id", ids)
        _, height, width = FACTS[dataset].shape
        blobs[f"ids-{dataset}"] = packer.text()
        blobs |= {f"sheet-{dataset}-{number}": text for number, text in enumerate(sheets(dataset, ids))}
        about = {"rows": len(ids), "fields": packer.fields, "width": width, "height": height, "columns": COLUMNS}
        index["images"][dataset] = about
    return Explorer(index, blobs, _commands(found, missing, scale))


def _packed(each: ExampleSet) -> tuple[dict[str, Any], str]:
    facts, table = FACTS[each.dataset], each.table
    packer = Packer(len(table))
    packer.ids("id", table.index.to_numpy())
    for name in LABELS:
        if name in table:
            packer.classes(name, table[name].to_numpy(), name.replace("_", " "))
    for name, title in each.numbers.items():
        packer.numbers(name, table[name].to_numpy(), title, documentation(name))
    entry: dict[str, Any] = {
        "name": each.name,
        "title": each.title,
        "about": each.about,
        "dataset": each.dataset,
        "tests": facts.train,  # ids from here on are test examples
        "classes": facts.class_names,
        "rows": len(table),
    }
    if each.curves:
        highest = float(max(each.curves.own.max(), each.curves.flipped.max(), 10 * FLOOR))
        packer.curves("own", each.curves.own, highest)
        packer.curves("flipped", each.curves.flipped, highest)
        entry["curves"] = {"epochs": each.curves.epochs, "highest": highest}
    entry["fields"] = packer.fields
    return entry, packer.text()


def _commands(found: Sequence[ExampleSet], missing: Sequence[str], scale: str) -> tuple[str, ...]:
    """Which commands would make what is not there: runs of experiments, and data sets for the images."""
    doors: dict[str, str] = {}
    for path in sorted((checkout() / "conf" / "figure").glob("*.yaml")):
        for experiment in yaml.safe_load(path.read_text(encoding="utf-8"))["experiments"]:
            doors.setdefault(experiment, path.stem)
    runs = [f"make {doors[name]} SCALE={scale}" for name in missing if name in doors]
    absent = [each.dataset for each in found if not at_hand(each.dataset)]
    return tuple(dict.fromkeys([*runs, *(f"make data DATASET={name}" for name in absent)]))
