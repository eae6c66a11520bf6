"""What stands under a figure: where its runs are not as the paper's."""

from pathlib import Path

import pytest

from turnover.config import RunConfig
from turnover.experiments import sweep
from turnover.figures.notes import Source, notes


def lines(*overrides: str) -> list[str]:
    """Under a figure of the first run of a sweep; no run is made."""
    config: RunConfig = sweep([*overrides, "logger=none"])[0]
    scale = next(each.removeprefix("scale=") for each in overrides if each.startswith("scale="))
    return notes([Source(config, Path())], scale).lines


@pytest.mark.parametrize("experiment", ["fig3", "fig4", "fig10"])
def test_runs_as_in_the_paper_say_that_nothing_is_reduced(experiment: str) -> None:
    assert lines(f"+experiment={experiment}", "scale=paper")[-1] == "paper scale: nothing is reduced."


def test_score_runs_with_other_masks_than_the_papers_say_so() -> None:
    told = "turnover.layers ['block5'] (paper: all)"
    own = lines("+experiment=scores_cifar10", "scale=paper")[-1]
    assert own.startswith("Not as in the paper: ")
    assert told in own
    assert "epochs 60 (paper: 200); schedule.name constant (paper: multistep)" in own.replace(f"; {told}", "")
    assert f"score runs' {told}" in lines("+experiment=fig6", "scale=paper")[-1]
    assert not any("Not as in the paper" in line for line in lines("+experiment=fig6", "scale=laptop"))
    assert told not in lines("+experiment=scores_cifar10_paper", "scale=paper")[-1]
