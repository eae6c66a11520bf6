"""Find wrong labels in your own images: `python scripts/audit.py data=PATH`. Prints the folder of the results.

PATH is a folder with a subfolder of images for each class, a csv file with columns path and label, or an npz file with
x, y and perhaps ids; all options are explained in conf/audit.yaml.
"""

import hydra
from omegaconf import DictConfig

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="audit")
def main(config: DictConfig) -> None:
    from turnover.audit.options import AuditConfig
    from turnover.audit.work import audit
    from turnover.config.compose import plain
    from turnover.config.parse import parse

    with one_message():
        print(audit(parse(AuditConfig, plain(config))), flush=True)


def known() -> list[str]:
    """Return the fields of this entry point's config."""
    from turnover.audit.options import AuditConfig
    from turnover.config.parse import fields

    return fields(AuditConfig)


if __name__ == "__main__":
    enter(main, known, paths=("data", "output", "features", "weights"))
