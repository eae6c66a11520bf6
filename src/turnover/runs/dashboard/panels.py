"""Panels of the dashboard, under the names that runs and figures log."""

from dataclasses import dataclass
from typing import Any

from turnover.errors import RefusedInput, RunFailed
from turnover.runs.dashboard.summary import CLAIMS, FIGURES, MOST_MEMORIZED, NUMBERS, QUANTILES

NAME = "turnover"


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
    """Describe what a panel shows, in a few words."""
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
    return Lines(title, tuple(f"{split}/{name}/{metric}" for name in sets))


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


def workspace(entity: str, project: str, name: str = NAME) -> Any:
    """Build a workspace with the panels of `turnover.runs.dashboard.panels`, not saved yet.

    Raises:
        RefusedInput: wandb's library is not installed.
    """
    try:
        from wandb_workspaces import workspaces as ws
    except ImportError as error:
        raise RefusedInput(f"wandb-workspaces cannot be imported ({error}): pip install '.[wandb]'") from None
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=title, panels=[_panel(panel) for panel in panels], is_open=True)
            for title, panels in SECTIONS.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(pinned_columns=[f"summary:{column}" for column in COLUMNS]),
    )


def save(entity: str, project: str, name: str = NAME) -> str:
    """Save the workspace as a new view of the project; return its URL.

    Raises:
        RunFailed: wandb did not save it; says why.
    """
    made = workspace(entity, project, name)
    try:
        return str(made.save().url)
    except Exception as error:  # of many libraries, for the network or the account
        raise RunFailed(
            f"wandb did not save the workspace in {entity}/{project}: {str(error).rstrip('.')}; it needs `wandb login` "
            "once, a network, and a project with runs"
        ) from error


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports import v2

    match panel:
        case Lines(title, metrics):
            return v2.LinePlot(title=title, x="epoch", y=list(metrics))
        case Bars(title, values):
            return v2.BarPlot(title=title, metrics=list(values))
        case Curve(title, table, x, y):
            return v2.CustomChart(
                query={"summaryTable": {"tableKey": table}},
                chart_name="wandb/line/v0",
                chart_fields={"x": x, "y": y, "stroke": "name"},  # a line for each run
                chart_strings={"title": title},
            )
        case Table(_, table):
            return v2.WeavePanelSummaryTable(table_name=table)
        case Pictures(title, pictures):
            return v2.MediaBrowser(title=title, media_keys=[pictures], num_columns=2)
