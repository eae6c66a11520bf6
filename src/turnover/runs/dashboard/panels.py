"""The panels of the dashboard: what to look at, under the names that runs and figures log."""

from dataclasses import dataclass

from turnover.runs.dashboard.figure import CLAIMS, FIGURES, NUMBERS
from turnover.runs.dashboard.summary import MOST_MEMORIZED, QUANTILES


@dataclass(frozen=True)
class Lines:
    """Metrics over epochs."""

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Bars:
    """Single values of runs, a bar each."""

    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """One column of a logged table against another."""

    title: str
    table: str
    x: str
    y: str


@dataclass(frozen=True)
class Table:
    """A logged table, of all chosen runs."""

    title: str
    table: str


@dataclass(frozen=True)
class Pictures:
    """Logged pictures, of all chosen runs."""

    title: str
    pictures: str


Panel = Lines | Bars | Curve | Table | Pictures


def described(panel: Panel) -> str:
    """What it shows, in a few words."""
    match panel:
        case Lines(_, metrics):
            return " ".join(f"`{metric}`" for metric in metrics)
        case Bars(_, values):
            return "last of " + " ".join(f"`{value}`" for value in values)
        case Curve(_, table, x, y):
            return f"`{y}` against `{x}` of the table `{table}`"
        case Table(_, table):
            return f"the table `{table}`"
        case Pictures(_, pictures):
            return f"the pictures `{pictures}`"


_SETS = ("easy", "difficult", "random")


def _of_sets(title: str, split: str, metric: str, sets: tuple[str, ...] = _SETS) -> Lines:
    return Lines(title, tuple(f"{split}/{each}/{metric}" for each in sets))


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Accuracy and loss": (
        Lines("Test accuracy", ("test/full_accuracy",)),
        Lines("Training accuracy", ("train/full_accuracy", "train/accuracy")),
        Lines("Test loss", ("test/full_loss",)),
        Lines("Training loss", ("train/full_loss", "train/loss")),
        Bars("Best test accuracy", ("best/test/full_accuracy",)),
        Lines("Learning rate", ("train/lr",)),
    ),
    "Own and flipped sub-networks": (
        Lines("Accuracy of own and flipped sub-networks", ("train/own_accuracy", "train/flipped_accuracy")),
        Lines("Loss of own and flipped sub-networks", ("train/own_loss", "train/flipped_loss")),
        Lines("Test accuracy, masks that were never trained", ("test/fresh_accuracy", "test/full_accuracy")),
        Lines("What masks alone tell of the labels", ("train/constant_accuracy",)),
        Bars("The label of the mask, or of a bystander", ("leakage/mask_accuracy", "leakage/bystander_accuracy")),
    ),
    "Scores": (
        Curve("Quantiles of the scores", QUANTILES, "share", "score"),
        Bars("How well scores find wrong labels, AUROC", ("scores/auroc_wrong_labels", "scores/auroc_replaced_labels")),
        Bars("Positive mass held by the highest tenth", ("scores/top_tenth_share",)),
        Table("The most memorized examples", MOST_MEMORIZED),
    ),
    "Easy and difficult examples": (
        _of_sets("Training accuracy", "train", "full_accuracy"),
        _of_sets("Test accuracy", "test", "full_accuracy"),
        _of_sets("Own accuracy", "train", "own_accuracy", (*_SETS, "control")),
        _of_sets("Flipped accuracy", "train", "flipped_accuracy"),
    ),
    "Gradients": (
        _of_sets("Cosine of pairs in a mini-batch", "train", "batch_cosine", ("easy", "difficult")),
        _of_sets("Cosine of all pairs", "train", "set_cosine", ("easy", "difficult")),
        _of_sets("Contribution to updates", "train", "contribution", ("easy", "difficult")),
        _of_sets("Length of a gradient", "train", "gradient_norm", ("easy", "difficult")),
    ),
    "Figures and claims": (
        Pictures("Figures", FIGURES),
        Table("Claims", CLAIMS),
        Table("Plotted numbers", NUMBERS),
    ),
}

# beside a run's name in the list of runs
COLUMNS = ("best/test/full_accuracy", "leakage/verdict", "scores/auroc_wrong_labels")
