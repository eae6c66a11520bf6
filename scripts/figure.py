"""Make the missing runs of a figure, draw it and decide its claims; of several with -m figure=fig2,fig3.

Prints the picture's path as its last line.
"""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="figure")
def main(config: DictConfig) -> None:
    from turnover.config.parse import parse
    from turnover.experiments.figures.make import FigureJob, make

    with one_message(config.figure.name):
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        print(make(parse(FigureJob, values)), flush=True)


def known() -> list[str]:
    """Return the fields of this entry point's config."""
    from turnover.config.parse import fields
    from turnover.experiments.figures.make import FigureJob

    return fields(FigureJob)


if __name__ == "__main__":
    enter(main, known)
