"""What stands under a figure: where its runs are not as the paper's."""

from pathlib import Path

import pytest

from turnover.config.compose import sweep
from turnover.experiments.plots.notes import Source, notes


def lines(experiment: str, scale: str, *overrides: str) -> list[str]:
    """Under a figure of an experiment; no run is made."""
    configs = sweep([f"+experiment={experiment}", f"scale={scale}", "logger=none", *overrides])
    return notes([Source(config, Path()) for config in configs], scale, overrides).lines


@pytest.mark.parametrize("experiment", ["fig3", "fig4", "fig10"])
def test_runs_as_in_the_paper_say_no_more(experiment: str) -> None:
    assert lines(experiment, "paper")[-1] == "paper scale."


def test_score_runs_with_other_masks_than_the_papers_say_so() -> None:
    told = "turnover.layers ['block5'] (paper: all)"
    own = lines("scores_cifar10", "paper")[-1]
    assert own.startswith("paper scale, not as in the paper: ")
    assert told in own
    assert "epochs 60 (paper: 200); schedule.name constant (paper: multistep)" in own.replace(f"; {told}", "")
    assert f"score runs' {told}" in lines("fig5", "paper", "setting=cifar10_vgg11")[-1]
    assert not any("not as in the paper" in line for line in lines("scores_cifar10", "laptop"))
    assert told not in lines("scores_cifar10", "paper", "turnover.layers=null")[-1]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("random", "labels random"), ("symmetric", "labels wrong"), ("pair", "labels wrong (the next class)")],
)
def test_wrong_labels_of_all_runs_are_told(kind: str, told: str) -> None:
    first = lines("influence", "laptop", f"corruption.kind={kind}", "corruption.count=3000")[0]
    assert first.startswith(f"MNIST, 60,000 training examples, 3,000 of 60,000 {told}; MLP")
    assert "labels" not in lines("influence", "laptop")[0]
    assert "labels" not in lines("influence", "laptop", "corruption.count=0,3000")[0], "the picture itself tells it"
    assert "labels" not in lines("fig3", "laptop")[0], "the subsets tell it"


def test_subsets_by_label_tell_how_many_labels_are_random() -> None:
    assert "difficult: 6,000 of the 20,000 with random ones" in lines("fig3", "laptop")[1]
    assert "Easy: 300 of the 1,800 examples with real labels" in lines("fig4_vgg", "laptop")[1]


def test_one_score_run_is_no_mean() -> None:
    assert "highest scores, of one score run (membership" in lines("onion", "laptop", "subsets.train_on=all")[1]
    assert "class, the mean of 3 score runs (" in lines("fig6", "laptop", "subsets.train_on=all")[1]
