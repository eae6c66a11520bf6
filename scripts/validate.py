"""Compare every estimator with ground truth, from finished runs. Prints the table's path as its last line."""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="validate")
def main(config: DictConfig) -> None:
    from turnover.config.parse import parse
    from turnover.experiments.validation.make import ValidateJob, make

    with one_message():
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        print(make(parse(ValidateJob, values)), flush=True)


def known() -> list[str]:
    """Return the fields of this entry point's config."""
    from turnover.config.parse import fields
    from turnover.experiments.validation.make import ValidateJob

    return fields(ValidateJob)


if __name__ == "__main__":
    enter(main, known)
