"""Score every training example of one run, or of a sweep with -m. Prints the run's folder as its last line.

A score run is a training run with an estimator on; see conf/score.yaml.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from turnover.runs.cli import enter, one_message


@hydra.main(version_base="1.3", config_path="../conf", config_name="score")
def main(config: DictConfig) -> None:
    from turnover.config.compose import resolved
    from turnover.runs.execute import execute

    with one_message():
        print(execute(resolved(config, HydraConfig.get().overrides.task)), flush=True)


if __name__ == "__main__":
    enter(main)
