"""The panels as a workspace of wandb, by wandb's own library for them."""

from typing import Any

from turnover.errors import RefusedInput, RunFailed
from turnover.runs.dashboard.panels import COLUMNS, SECTIONS, Bars, Curve, Lines, Panel, Pictures, Table

NAME = "turnover"


def workspace(entity: str, project: str, name: str = NAME) -> Any:
    """A workspace with the panels of `turnover.runs.dashboard.panels`, not saved yet.

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
            ws.Section(name=title, panels=[_panel(each) for each in panels], is_open=True)
            for title, panels in SECTIONS.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(pinned_columns=[f"summary:{column}" for column in COLUMNS]),
    )


def save(entity: str, project: str, name: str = NAME) -> str:
    """Save it as a new view of the project; returns its address.

    Raises:
        RunFailed: wandb did not take it; says why.
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
