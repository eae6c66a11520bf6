"""What stands under a figure: where its runs are not as the paper's."""

import pytest

from turnover.config.compose import sweep
from turnover.experiments.plots.figure import runs_of
from turnover.experiments.plots.notes import notes


def lines(experiment: str, scale: str, *overrides: str) -> list[str]:
    """Under a figure of an experiment; no run is made."""
    configs = sweep([f"+experiment={experiment}", f"scale={scale}", "logger=none", *overrides])
    return notes(configs, {}, scale, overrides).lines


def test_the_optimizer_is_named_with_what_is_its_own() -> None:
    assert "epochs of SGD in batches of 256, learning rate 0.01 (constant), momentum 0;" in lines("fig3", "paper")[0]
    adamw = lines("fig3", "paper", "optimizer=adamw", "~optimizer.momentum", "optimizer.lr=0.002", "schedule=linear")[0]
    assert "epochs of AdamW in batches of 256, learning rate 0.002 (falling to 0), betas 0.9 and 0.999;" in adamw


def test_the_training_rule_is_named_where_it_is_not_the_plain_one() -> None:
    assert "momentum 0, training co teaching; seed 0" in lines("fig2", "paper", "method=co_teaching", "seed=0")[0]
    assert ", training plain or gce; seed" in lines("fig2", "paper", "method=plain,gce")[0]
    assert "training" not in lines("fig2", "paper")[0].replace("training examples", "")


def test_accuracies_of_sub_networks_that_nobody_measured_are_left_out() -> None:
    assert "nan" not in " ".join(lines("fig2", "laptop") + lines("language_masks", "laptop"))


@pytest.mark.parametrize("experiment", ["fig3", "fig4", "fig10"])
def test_runs_as_in_the_paper_say_no_more(experiment: str) -> None:
    assert lines(experiment, "paper")[-1] == "Paper scale."


def test_score_runs_with_other_masks_than_the_papers_say_so() -> None:
    own = lines("scores_cifar10", "paper")[-1]
    assert own.startswith("Paper scale, not as in the paper: ")
    assert "masked layers block5 instead of all" in own
    assert "epochs 60 instead of 200" in own
    assert "schedule constant instead of multistep" in own
    assert "score runs' " in lines("fig5", "paper", "setting=cifar10_vgg11")[-1]
    assert (
        "instead"
        not in " ".join(lines("scores_cifar10", "paper", "turnover.layers=null")).partition("masked layers")[2]
    )


def test_masks_of_some_of_the_runs_are_told() -> None:
    plain, masked = (lines(name, "laptop") for name in ("unlearning_cifar10", "unlearning_cifar10_tied"))
    configs = runs_of(["unlearning_cifar10", "unlearning_cifar10_tied"], "laptop")
    masks = "turn-over dropout in block3, p = 0.1, 0.2 of the units shared"
    assert not any(masks in line for line in plain)
    assert any(f": {masks}" in line for line in masked)
    assert any(f": some with {masks}" in line for line in notes(configs, {}, "laptop").lines)


@pytest.mark.parametrize(
    ("experiment", "own", "labels"),
    [
        ("methods", ", each with its own examples and labels.", ", 1,200 of 3,000 labels wrong; "),
        ("onion", ", each with its own examples.", ""),
        ("fig10_some", ", each with its own labels.", ""),
        ("fig2", "", ""),  # of clean labels and of random ones
        ("planted", ", each with its own examples.", ""),  # of noisy images
        ("similarity_mnist", "", ""),  # several sets of examples, the same ones for every seed
    ],
)
def test_what_seeds_do_not_share_is_told_and_hides_no_wrong_labels(experiment: str, own: str, labels: str) -> None:
    setting = lines(experiment, "laptop")[0]
    assert setting.endswith(own) if own else "own" not in setting
    assert labels in setting


def test_what_is_reduced_is_told_in_words_and_a_field_once() -> None:
    told = notes(runs_of(["fig10_some", "fig10"], "laptop"), {}, "laptop").lines[-1]
    assert told.startswith("Laptop scale, against this repository's paper scale: ")
    assert "training examples 1,500 instead of all" in told
    assert "random labels 300, 600, 900, 1,200, 1,500 instead of 10,000, 20,000, 30,000, 40,000, 50,000" in told
    assert "lower rates after epochs 15 and 23 instead of 100 and 150" in told


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("random", "labels random"),
        ("symmetric", "labels wrong"),
        ("pair", "labels wrong (the next class: class-dependent noise)"),
    ],
)
def test_wrong_labels_of_all_runs_are_told(kind: str, told: str) -> None:
    first = lines("influence", "laptop", f"corruption.kind={kind}", "corruption.count=3000")[0]
    assert first.startswith(f"MNIST, 60,000 training examples, 3,000 of 60,000 {told}; MLP")
    assert "labels" not in lines("influence", "laptop")[0]
    assert "labels" not in lines("influence", "laptop", "corruption.count=0,3000")[0], "the picture itself tells it"
    assert "labels" not in lines("fig3", "paper")[0], "the subsets tell it"
    assert lines("fig3", "laptop")[0].endswith("seeds 3, 4, 5, each with its own labels.")


def test_subsets_by_label_tell_how_many_labels_are_random() -> None:
    assert "difficult: 6,000 of the 20,000 with random ones" in lines("fig3", "laptop")[1]
    assert "Easy: 1,200 of the 1,800 examples with real labels" in lines("fig4_vgg", "laptop")[1]


def test_one_score_run_is_no_mean() -> None:
    assert "highest scores, of one score run (membership" in lines("onion", "laptop", "subsets.train_on=all")[1]
    assert "class, the mean of 3 score runs (" in lines("fig6", "laptop", "subsets.train_on=all")[1]
