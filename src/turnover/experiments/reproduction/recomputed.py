"""What a figure's json says, computed again from its committed table of plotted numbers alone.

Of the figures whose claims are made of curves that is every claim; of figure 2 what its bins leave open is told as
bounds. The claims of figures 7 and 8 count examples that are not in their tables.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from turnover.data.subsets import NAMES
from turnover.experiments.figures import detection_cost, early_stopping, leakage, onion
from turnover.experiments.figures.fig4 import lowest
from turnover.experiments.figures.fig9 import settled
from turnover.experiments.figures.fig10 import drop, latest
from turnover.experiments.plots.learning_curves import (
    by_seed,
    early_gain,
    epochs_ahead,
    falls,
    faster,
    final,
    final_gap,
    gain_over,
    highest,
    lead,
    peak_epoch,
    together,
)

Values = dict[str, list[float]]  # a measure's value for each seed; of claims that share a measure "5a faster_mnist"
Bounds = dict[str, list[tuple[float, float]]]  # between what it must lie, for each seed


def measures(name: str, table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    """The measures of a figure's claims that its plotted numbers tell.

    Args:
        wanted: names of the measures that it has; of data sets that were not drawn there are none.
    """
    return _MEASURES[name](table, wanted) if name in _MEASURES else {}


def bounds(name: str, table: pd.DataFrame) -> Bounds:
    """Between what measures must lie that plotted numbers tell only roughly."""
    return _of_histogram(table) if name == "fig2" else {}


def summary(name: str, table: pd.DataFrame, told: dict[str, Any]) -> dict[str, Any]:
    """What of a study's summary its plotted numbers tell; `told` is the whole of it."""
    if name == "early_stopping":
        settings = table.groupby("setting", sort=False)
        return {str(setting): early_stopping.summary(part) for setting, part in settings}
    if name == "sensitivity":
        return {"peaks": [_peak(part) for _, part in table.groupby(["normalization", "lr"], sort=False)]}
    if name == "leakage":
        last = table[table["epoch"] == table.groupby("panel")["epoch"].transform("max")]
        mean = last.groupby(["panel", "curve"])["value"].mean()
        rows = [
            row | {kind: round(float(value), 4) for kind, value in mean[row["variant"]].items()}
            for row in told["variants"]
        ]
        return {"variants": rows} | leakage.choose(rows)
    return {}


def _curves(table: pd.DataFrame, letter: str) -> dict[str, pd.DataFrame]:
    """The curves of a panel, each with its epochs as index and a column for each seed; by the first words of names."""
    mine = table[table["panel"] == letter]
    return {
        str(name).partition(" (")[0]: part.pivot(index="epoch", columns="seed", values="value")
        for name, part in mine.groupby("curve", sort=False)
    }


def _fig3(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    train, [test] = _curves(table, "a"), _curves(table, "b").values()
    control = train["difficult, other labels"]
    return {
        "epochs_ahead": by_seed(epochs_ahead, train["easy"], train["difficult"]),
        "easy_highest": by_seed(highest, train["easy"]),
        "early_gain": by_seed(early_gain, train["difficult"]),
        "over_control": by_seed(gain_over, train["difficult"], control),
        "fall": falls(test),
        "peak_epoch": by_seed(peak_epoch, test),
        "peak_accuracy": by_seed(highest, test),
    }


def _fig4(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    pairs, contribution, sets, others = (_curves(table, letter) for letter in "abcd")
    found = {
        "cosine_lead": lowest(pairs, "easy", "difficult"),
        "set_cosine_lead": lowest(sets, "easy", "difficult"),
    }
    for prefix, curves in (("", contribution), ("others_", others)):
        for first, second in (("difficult", "all"), ("difficult", "easy"), ("all", "easy")):
            found[f"{prefix}{first}_over_{second}"] = lowest(curves, first, second)
    return found | {f"others_{subset}": list(others[subset].mean()) for subset in ("difficult", "easy")}


def _fig5(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    names = [name.removeprefix("final_gap_") for name in wanted if name.startswith("final_gap_")]
    found: Values = {}
    for row, name in enumerate(names):
        for letter, claim in zip("abcd"[2 * row :], ("5a", "5b"), strict=False):  # train and test
            curves = _curves(table, letter)
            for word, number in {"faster": faster, "together": together, "lead": lead}.items():
                found[f"{claim} {word}_{name}"] = by_seed(number, curves["easy"], curves["difficult"])
        found[f"final_gap_{name}"] = by_seed(final_gap, curves["easy"], curves["difficult"])  # of test, the last one
    return found


def _fig6(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    curves = {trained: _curves(table, letter) for letter, trained in zip("abc", NAMES, strict=True)}
    found = {
        f"{trained}_to_{'test' if name == 'all test examples' else name}": by_seed(final, curve)
        for trained, each in curves.items()
        for name, curve in each.items()
    }
    return found | {"transfer": by_seed(final_gap, curves["difficult"]["easy"], curves["easy"]["difficult"])}


def _fig9(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    names = [name.removeprefix("settled_") for name in wanted if name.startswith("settled_")]
    found = {}
    for letter, name in zip("abcd", names, strict=False):
        curves = _curves(table, letter)
        found[f"settled_{name}"] = by_seed(settled, curves["own, train"], curves["flipped, train"])
    return found


def _fig10(table: pd.DataFrame, wanted: Sequence[str]) -> Values:
    cosine = table["curve"].str.endswith("cosine schedule")
    train, test = (_counted(_curves(table[~cosine], letter)) for letter in "ab")
    [fitted] = _curves(table[cosine], "a").values()
    size = max(train)
    return {
        "later": latest(train),
        "drop": drop(test, size),
        "drop_clean": falls(test[0]),
        "fitted": by_seed(final, train[size]),
        "fitted_cosine": by_seed(final, fitted),
    }


def _counted(curves: dict[str, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    return {int(name.replace(",", "")): curve for name, curve in curves.items()}


def _of_histogram(table: pd.DataFrame) -> Bounds:
    """Of figure 2: examples of one bin may have any order and any score in it."""
    found: Bounds = {"median_distance": [], "auroc": []}
    for _, bins in table[table["panel"] == "a"].groupby("seed"):
        middle = bins[bins["examples"].cumsum() >= bins["examples"].sum() / 2].iloc[0]  # the bin that holds the median
        low, high = float(middle["bin_low"]), float(middle["bin_high"])
        found["median_distance"].append((max(0.0, low, -high), max(-low, high)))
    for _, bins in table[table["panel"] == "b"].groupby("seed"):
        wide = bins.pivot(index="bin_low", columns="group", values="examples").sort_index()
        yes, no = wide["corrupted"], wide["uncorrupted"]
        below = no.cumsum() - no  # uncorrupted examples in lower bins
        pairs = float(yes.sum() * no.sum())
        low, high = (float((yes * lower).sum()) / pairs for lower in (below, below + no))
        found["auroc"].append((low, high))
    return found


def _peak(part: pd.DataFrame) -> dict[str, Any]:
    """Of one curve of the study of sensitivity."""
    first, accuracy = part.iloc[0], part.set_index("epoch")["test_accuracy"]
    found = {"normalization": first["normalization"], "lr": first["lr"], "peak_epoch": int(peak_epoch(accuracy))}
    return found | {"peak_accuracy": highest(accuracy), "last_accuracy": final(accuracy)}


_MEASURES: dict[str, Callable[[pd.DataFrame, Sequence[str]], Values]] = {
    "fig3": _fig3,
    "fig4": _fig4,
    "fig4_rate": _fig4,
    "fig4_vgg": _fig4,
    "fig5": _fig5,
    "fig6": _fig6,
    "fig9": _fig9,
    "fig10": _fig10,
    "onion": lambda table, wanted: onion.gains(table),
    "detection_cost": lambda table, wanted: detection_cost.savings(table),
}
