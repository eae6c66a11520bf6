"""How estimators look in the pictures of the validation: one colour and mark each, everywhere the same."""

from dataclasses import dataclass

import pandas as pd

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import COLOURS


@dataclass(frozen=True)
class Look:
    """Colour, mark and short name of an estimator."""

    colour: str
    mark: str
    name: str


LOOKS = {
    "turnover": Look(COLOURS["own"], "o", "turn-over dropout"),
    "memorization": Look(COLOURS["all"], "s", "subsampling ensemble"),
    "cumulative_loss": Look(COLOURS["easy"], "^", "cumulative loss"),
    "aum": Look(COLOURS["fresh"], "v", "AUM"),
    "el2n": Look(COLOURS["random"], "D", "EL2N"),
    "second_split": Look(COLOURS["difficult"], "P", "second-split forgetting"),
    "confident_learning": Look(COLOURS["flipped"], "X", "confident learning"),
    "forgetting": Look(COLOURS["constant"], "<", "forgetting events"),
    "inconsistency": Look(COLOURS["muted"], "h", "C-score"),
    "final_loss": Look("#F0E442", ">", "final loss"),
}


def dataset_names(table: pd.DataFrame) -> list[str]:
    """The data sets of a table, in the order in which they are known."""
    return [name for name in FACTS if name in set(table["dataset"])]
