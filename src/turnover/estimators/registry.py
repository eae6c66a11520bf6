"""Registry of estimators by the option of `config.estimator`: a new one is one file and one line here."""

from turnover.config.run import Training
from turnover.estimators.ensemble import Ensemble
from turnover.estimators.estimator import Estimator, Task
from turnover.estimators.second_split import SecondSplit
from turnover.training.loop import steps_per_epoch, visits

# those that train networks of their own; the others score the one network of the run
OF_SEVERAL_NETWORKS: dict[str, Estimator] = {
    "subsampling": Ensemble(),
    "leave_one_out": Ensemble(),
    "confident_learning": Ensemble(),
    "blocks": Ensemble(),
    "second_split": SecondSplit(),
}


def of_several_networks(config: Training) -> Estimator | None:
    """Return the estimator of a config if it trains networks of its own, else None."""
    return OF_SEVERAL_NETWORKS.get(config.estimator.name)


def sizes(task: Task, config: Training) -> list[int]:
    """Return the numbers of examples that the networks of a run are trained on."""
    estimator = of_several_networks(config)
    return [len(task.train)] if estimator is None else estimator.sizes(task, config)


def steps(task: Task, config: Training) -> int:
    """Return the steps of all trainings of a run."""
    estimator = of_several_networks(config)
    if estimator is None:
        return config.epochs * steps_per_epoch(visits(task.train), config.batch_size)
    return estimator.steps(task, config)
