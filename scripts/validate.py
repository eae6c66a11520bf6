"""Compare every estimator with ground truth, or on labels of people. Prints the table's path as its last line."""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="validate")
def main(config: DictConfig) -> None:
    from turnover.config.parse import parse
    from turnover.experiments.validation import labels, make

    with one_message():
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        of_people = values.pop("labels")
        if of_people["path"] is None:
            print(make.make(parse(make.ValidateJob, values)), flush=True)
        else:
            shared = {name: values[name] for name in ("scale", "launcher")}
            print(labels.make(parse(labels.LabelsJob, of_people | shared)), flush=True)


def known() -> list[str]:
    """Return the fields of this entry point's config."""
    from turnover.config.parse import fields
    from turnover.experiments.validation import labels, make

    return [*fields(make.ValidateJob), *fields(labels.LabelsJob, "labels.")]


if __name__ == "__main__":
    enter(main, known, paths=("onto", "labels.path"))
