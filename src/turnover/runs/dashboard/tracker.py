"""One log(): rows for the run's tables always, a dashboard beside them if it is wanted."""

from turnover.runs.dashboard.wandb import Dashboard
from turnover.runs.store.tables import Metric


class Tracker:
    """Collects the metrics of a run and shows them on its dashboard."""

    def __init__(self, dashboard: Dashboard, rows: list[Metric]) -> None:
        self.rows = rows
        self.dashboard = dashboard
        dashboard.go_on(rows)

    def log(self, epoch: int, split: str, values: dict[str, float], subset: str = "all") -> None:
        """Record metrics of one split, or of a subset of it, at the end of an epoch."""
        rows = [Metric(epoch, split, subset, name, value) for name, value in values.items()]
        self.rows += rows
        self.dashboard.log({"epoch": epoch} | {row.key: row.value for row in rows})
