"""Influence: the training images that help most, and harm most, to classify some test images (equation 5)."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.data.datasets import Split, load
from turnover.estimators.influence import agreement_of_seeds
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS
from turnover.runs.store.tables import read_influences

_TARGETS, _SHOWN = 6, 6  # test images, and training images on either side of each
_SIDES = {"helpful": ("highest influence", "easy"), "harmful": ("lowest influence", "difficult")}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the influences that are shown, means over the runs, which differ in their seeds."""
    runs = [read_influences(source.folder) for source in sources]
    mean = sum(runs[1:], runs[0]) / len(runs)
    config = sources[0].config
    targets = chosen(mean, load(config.dataset, config.corruption).test)
    shown = pd.concat([extremes(mean[target], target) for target in targets], ignore_index=True)
    return Plotted(shown, summary={"agreement_of_seeds": agreement_of_seeds(runs), "targets": mean.shape[1]})


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a row for each test image, with images from the data set."""
    dataset = load(configs[0].dataset, configs[0].corruption)
    train, test, names = dataset.train, dataset.test, DATASETS[configs[0].dataset.name].class_names
    targets = list(dict.fromkeys(numbers["target"]))
    widths = [1.0, 0.35, *[1.0] * _SHOWN, 0.35, *[1.0] * _SHOWN]
    picture, grid = plt.subplots(
        1 + len(targets),  # the first row is for headers
        len(widths),
        figsize=(11, 0.95 * len(targets) + 1.4),
        layout="constrained",
        width_ratios=widths,
        height_ratios=[0.12, *[1.0] * len(targets)],
        squeeze=False,
    )
    for axes in grid.flat:
        axes.axis("off")
    of_train, of_test = ({int(id): position for position, id in enumerate(split.ids)} for split in (train, test))
    first = {"helpful": 2, "harmful": 3 + _SHOWN}  # columns
    for row, target in enumerate(targets, start=1):
        position = of_test[target]
        _image(grid[row, 0], test, position, names[int(test.labels[position])], COLOURS["all"])
        for image in numbers[numbers["target"] == target].to_dict("records"):
            position, side = of_train[image["id"]], image["side"]
            text = f"{names[int(train.labels[position])]}  {image['influence']:+.2f}"
            axes = grid[row, first[side] + image["rank"] - 1]
            _image(axes, train, position, text, COLOURS[_SIDES[side][1]])
    heads = {0: ("test", "all")} | {first[side]: head for side, head in _SIDES.items()}
    for column, (words, colour) in heads.items():
        head = grid[0, column].text(0, 0, words, color=COLOURS[colour], fontsize=9, fontweight="bold")
        head.set_in_layout(False)  # else its column grows with it
    return picture


def chosen(mean: pd.DataFrame, test: Split, count: int = _TARGETS) -> list[int]:
    """Return the test examples on which influences differ most, at most one of a class, ordered by class."""
    labels = pd.Series(test.labels.numpy(), index=test.ids.numpy()).reindex(mean.columns)
    spread = (mean.max() - mean.min()).sort_values(ascending=False)
    first = labels[spread.index].drop_duplicates().index[:count]
    return sorted(first, key=lambda target: int(labels[target]))


def extremes(influence: pd.Series, target: int, count: int = _SHOWN) -> pd.DataFrame:
    """Return the highest and lowest influences on a test example: target, side, rank (from 1), id, influence (nats)."""
    sides = {"helpful": influence.nlargest(count), "harmful": influence.nsmallest(count)}
    rows = [
        values.rename("influence").reset_index().assign(target=target, side=side, rank=range(1, len(values) + 1))
        for side, values in sides.items()
    ]
    return pd.concat(rows, ignore_index=True)[["target", "side", "rank", "id", "influence"]]


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return what is above a training image, and how much of it is noise."""
    over, agree = "", "one seed, so how much of it is noise is not known"
    if len(configs) > 1:
        over, agreement = f", mean of {len(configs)} seeds", summary["agreement_of_seeds"]
        agree = f"two seeds agree with a Spearman correlation of {agreement:.3f} (1 without noise)"
    return (
        "Above a training image: its label, and by how much the test image's loss is lower in the training image's own "
        f"sub-network than in its flipped one (equation 5), in nats{over}; {agree}. "
        f"Shown: the test images, of {summary['targets']} looked at, with the widest range."
    )


def _image(axes: Axes, split: Split, position: int, title: str, colour: str) -> None:
    axes.imshow(split.images[position].permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=7, loc="center", pad=2, color=colour)
