"""Execution of a run that measures the networks of other runs: those first, if they are missing; cached if finished."""

import logging
from pathlib import Path
from typing import Any

import yaml

from turnover.common.files import write_text
from turnover.common.signals import stoppable
from turnover.config.probe_run import ProbeRun
from turnover.runs.execute import execute, log_file, removed_if_refused
from turnover.runs.store.provenance import provenance
from turnover.runs.store.run import Folder, require

log = logging.getLogger("turnover")


def probe(config: ProbeRun) -> Path:
    """Measure the networks of `config` and return the folder with probes.parquet.

    Raises:
        RefusedInput: the networks lack what the probe needs.
        RunFailed: a run is damaged, or could not be made.
    """
    run = Folder(config.name, config.identity)
    if run.finished:
        require(run, "the same command")
        log.info("cached: %s", run.name)
        return run.folder
    folders = [execute(each) for each in config.runs]
    from turnover.common.device import resolve  # imports PyTorch

    device = resolve(config.device)
    with run.lock():
        if not run.finished:
            with removed_if_refused(run), stoppable(), log_file(run.folder / "log.txt"):
                write_text(run.folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
                with run.working(provenance() | {"parents": [folder.name for folder in folders]}) as record:
                    _measure(run, config, device, record)
    return run.folder


def _measure(run: Folder, config: ProbeRun, device: Any, record: dict[str, Any]) -> None:
    from turnover.common.device import describe, peak_memory
    from turnover.probes.registry import measured
    from turnover.runs.networks import trained
    from turnover.runs.store.tables import write_probes

    record["device"] = describe(device)
    networks = [trained(each, device) for each in config.runs]
    write_probes(run.folder / "probes.parquet", measured(config.probe["name"], networks, config.options))
    record["peak_memory"] = peak_memory(device)
