"""Config of a run that measures finished networks: a probe with its options, and the runs whose networks they are."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from turnover.config.options import Group
from turnover.config.parse import parse, recorded
from turnover.config.probes import PROBES, options_of
from turnover.config.run import RunConfig, hashed, identity


class ProbeRun(Group):
    """Config of one probe of the networks of runs; `science()` is the part that decides its numbers."""

    probe: dict[str, Any]  # its name, and its options as `config.probes.PROBES` has them
    runs: Annotated[list[RunConfig], Field(min_length=1)]  # made first if they are missing
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:(0|[1-9][0-9]?))?)$")]  # auto: a GPU if there is one
    scale: Literal["smoke", "laptop", "paper"]  # of runs that do not name one

    @classmethod
    def of(cls, probe: dict[str, Any], runs: Sequence[RunConfig], device: str, scale: str) -> Self:
        """Return the config with all options of the probe.

        Raises:
            RefusedInput: there is no such probe, option or device.
        """
        given = {name: value for name, value in probe.items() if name != "name"}
        whole = {"name": probe["name"], **options_of(probe["name"], given)}
        return parse(
            cls, {"probe": whole, "runs": [run.model_dump() for run in runs], "device": device, "scale": scale}
        )

    @property
    def options(self) -> dict[str, Any]:
        """Options of the probe."""
        return {name: value for name, value in self.probe.items() if name != "name"}

    def science(self) -> dict[str, Any]:
        """Return the fields that decide the numbers; a run counts by its identity."""
        return {"probe": self.probe, "runs": [identity(run) for run in self.runs]}

    @property
    def identity(self) -> str:
        """Ten hex digits that name it."""
        return hashed(self.science())

    @property
    def name(self) -> str:
        """Name of its folder: probe, data, network and identity."""
        first = self.runs[0]
        return f"probe-{self.probe['name']}-{first.dataset.name}-{first.model.name}-{self.identity}"

    @property
    def title(self) -> str:
        """A readable title: what is measured, of how many networks."""
        first, about = self.runs[0], PROBES[self.probe["name"]].about
        return f"{about}, {first.dataset.name}, {first.model.name}, {len(self.runs)} networks, {self.scale}"


def recorded_probe(values: dict[str, Any]) -> ProbeRun:
    """Return the probe of a stored config.yaml.

    Raises:
        ValueError: no such probe is allowed by the code as it is.
    """
    return ProbeRun.of(values["probe"], [recorded(run) for run in values["runs"]], values["device"], values["scale"])
