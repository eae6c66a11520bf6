"""Figure 10: training (a) and test accuracy (b) over epochs, with none to all of the labels replaced by random ones.

And how many of the random labels alone are fitted (c): of as many of them wherever some are random, else of all.
Where some are, those that are right by accident are left out; where all are, they are like the others. What is
predicted right by chance alone is taken off.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.data.datasets import load
from turnover.experiments.plots.curves import BAND, METRIC, accuracy_axes, curves, legend, line, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed, crossed, falls, final, later, unfitted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel, shades
from turnover.runs.store.tables import read_subsets

_PANELS = {"a": "train", "b": "test", "c": "train"}
_COSINE = ", cosine schedule"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs of every corruption level with the same seeds."""
    cosine = [source for source in sources if source.config.schedule.name == "cosine"]
    plain = [source for source in sources if source not in cosine]
    size, classes = plain[0].config.train_size, DATASETS[plain[0].config.dataset.name].classes
    tables = []
    for letter, split in _PANELS.items():
        for count in sorted({source.config.corruption.count for source in plain}):
            runs = [source for source in plain if source.config.corruption.count == count]
            name = f"{count:,} ({100 * count / size:.0f} %)"
            if letter != "c" or count == size:
                table = curves(runs, split, "all", METRIC)
                tables.append(rows(table if letter != "c" else fitted(table, 1 / classes), letter, name))
            elif count:
                real, random = (curves(runs, split, subset, METRIC) for subset in ("easy", "difficult"))
                wrong = wrong_alone(random, real, pd.Series(_right(runs)))
                # an image whose label is not fitted is predicted as an unseen one: not as its true class as often as
                # a test image, and then as one of the others, of which its label is any
                by_chance = (1 - curves(runs, "test", "all", METRIC)) / (classes - 1)
                tables.append(rows(fitted(wrong, by_chance), letter, name))
    tables.append(rows(curves(cosine, "train", "all", METRIC), "a", f"{size:,} (100 %){_COSINE}"))
    return Plotted(pd.concat(tables, ignore_index=True))


def _counted(drawn: dict[str, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Return the curves with a multi-step schedule by their number of random labels, with which their names begin."""
    plain = {name: table for name, table in drawn.items() if not name.endswith(_COSINE)}
    return {int(name.split()[0].replace(",", "")): table for name, table in plain.items()}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 10a to 10c."""
    drawn = panels(numbers)
    train, test, random = (_counted(drawn[letter]) for letter in _PANELS)
    [cosine] = [table for name, table in drawn["a"].items() if name.endswith(_COSINE)]
    size = max(train)  # all labels random
    some = np.mean([falls(table) for count, table in test.items() if 0.2 <= count / size <= 0.8], axis=0)  # [seeds]
    by_count = [pd.DataFrame({count: table[seed] for count, table in random.items()}) for seed in cosine.columns]
    return {
        "later": [later(curves) for curves in by_count],
        "whole_slower": np.subtract(by_seed(crossed, train[size]), by_seed(crossed, train[min(random)])).tolist(),
        "slower": [unfitted(curves[size]) - unfitted(curves[min(random)]) for curves in by_count],
        "crossed_later": [later(curves, crossed) for curves in by_count],
        "drop": some.tolist(),
        "drop_over_clean": (some - falls(test[0])).tolist(),
        "drop_clean": falls(test[0]),
        "drop_random": falls(test[size]),
        "fitted": by_seed(final, train[size]),
        "fitted_cosine": by_seed(final, cosine),
    }


def wrong_alone(random: pd.DataFrame, real: pd.DataFrame, right: pd.Series) -> pd.DataFrame:
    """Return the accuracy on those random labels that are wrong.  # index: epoch; a column for each seed

    Chance alone tells a random label that is right from a real one, so they are expected to be predicted as often.

    Args:
        random: accuracy on random labels.
        real: on real ones.
        right: share of the random labels that are right.  # index: seed
    """
    return (random - right * real) / (1 - right)


def fitted(accuracy: pd.DataFrame, by_chance: pd.DataFrame | float) -> pd.DataFrame:
    """Return the share of labels that are fitted, from the accuracy on them.  # index: epoch; a column for each seed

    Args:
        by_chance: the accuracy on those that are not.
    """
    return (accuracy - by_chance) / (1 - by_chance)


def _right(runs: Sequence[Source]) -> dict[int, float]:
    """Return which share of the random labels that a run watches is right by accident, by its seed."""
    shares = {}
    for source in runs:
        train = load(source.config.dataset, source.config.corruption).train
        true = pd.Series(train.true_labels.numpy(), train.ids.numpy())
        random = read_subsets(source.folder).query("subset == 'difficult' and split == 'train'")
        shares[source.config.seed] = float((random["label"].to_numpy() == true[random["id"]].to_numpy()).mean())
    return shares


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw the panels."""
    size, classes = configs[0].train_size, DATASETS[configs[0].dataset.name].classes
    picture, grid = plt.subplots(1, 3, figsize=(11, 4.5), layout="constrained")
    drawn = panels(numbers)
    titles = {
        "a": f"accuracy on the {size:,} training images",
        "b": "test accuracy",
        "c": "wrong random labels that are fitted",
    }
    [cosine] = [name for name in drawn["a"] if name.endswith(_COSINE)]
    colours = dict(zip(drawn["b"], shades(len(drawn["b"])), strict=True))
    for axes, (letter, title) in zip(grid, titles.items(), strict=True):
        panel(axes, letter, title)
        for name, table in drawn[letter].items():
            if name != cosine:
                line(axes, table, name, colours[name])
        accuracy_axes(axes, None if letter == "c" else classes)
    line(grid[0], drawn["a"][cosine], cosine, list(colours.values())[-1], "--")
    grid[0].legend(handles=[grid[0].lines[-1]], fontsize=8)
    legend(grid[1], f"random labels; {BAND}", columns=2)
    return picture
