"""Measure the networks of finished runs, which are made first if they are missing. Prints the folder of the table.

python scripts/probe.py probe=rewind 'runs=["dataset=mnist","corruption=symmetric","seed=0,1,2"]'
"""

import hydra
from omegaconf import DictConfig

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="probe")
def main(config: DictConfig) -> None:
    from turnover.config.compose import of_probe
    from turnover.runs.probing import probe

    with one_message():
        print(probe(of_probe(config)), flush=True)


def known() -> list[str]:
    """Return the fields of this entry point's config."""
    from turnover.config.probes import PROBES

    options = {f"probe.{option}" for probe in PROBES.values() for option in probe.options}
    return ["probe", "runs", "scale", "device", "logger", *sorted(options)]


if __name__ == "__main__":
    enter(main, known)
