"""What the measures of claims are called in sentences; `conf/figure` holds their thresholds."""

from turnover.config.datasets import DATASETS

MEASURES = {
    # figure 2
    "median_distance": "distance of the median score from 0, nats",
    "skewness": "skewness of the scores",
    "top_decile_share": "share of the positive mass held by the highest tenth of the scores",
    "auroc": "AUROC of the score, replaced labels against others",
    "auroc_wrong": "AUROC of the score, labels that really are wrong against right ones",
    # figure 3
    "epochs_ahead": "epochs by which easy examples reach 90 % training accuracy first",
    "easy_highest": "highest training accuracy on easy examples",
    "early_gain": "gain of accuracy on difficult examples in a tenth of the epochs",
    "over_control": "the same minus that on the same images with other random labels, never trained on",
    "fall": "fall of the test accuracy from its peak to the last epoch",
    "peak_epoch": "epoch of the peak",
    "peak_accuracy": "test accuracy at the peak",
    # figure 4
    "cosine_lead": "lowest lead of easy examples in any epoch, mean cosine of pairs in a mini-batch",
    "set_cosine_lead": "the same of all pairs of the set",
    "difficult_over_easy": "lowest lead of difficult over easy in any epoch, contribution (eq. 4), nats per length",
    "difficult_over_all": "lowest lead of difficult over all examples",
    "all_over_easy": "lowest lead of all examples over easy",
    "others_difficult_over_easy": "lowest lead of difficult over easy without the self-term",
    "others_difficult_over_all": "lowest lead of difficult over all examples without the self-term",
    "others_all_over_easy": "lowest lead of all examples over easy without the self-term",
    "others_difficult": "contribution without the self-term, mean over epochs, difficult",
    "others_easy": "contribution without the self-term, mean over epochs, easy",
    # figure 5
    "faster": "epochs to half of the own rise, difficult minus easy",
    "together": "what difficult examples have gained when easy ones are half way",
    "lead": "accuracy on easy minus on difficult, mean over epochs",
    "final_gap": "accuracy on easy minus on difficult, last epoch",
    # figure 6
    "transfer": "accuracy on easy, trained on difficult, minus the reverse",
    "easy_to_easy": "accuracy on easy, trained on easy",
    "difficult_to_difficult": "accuracy on difficult, trained on difficult",
    "difficult_to_easy": "accuracy on easy, trained on difficult",
    "easy_to_difficult": "accuracy on difficult, trained on easy",
    "random_to_easy": "accuracy on easy, trained on as many random others",
    "random_to_difficult": "accuracy on difficult, trained on as many random others",
    "easy_to_test": "test accuracy, trained on easy",
    "difficult_to_test": "test accuracy, trained on difficult",
    "random_to_test": "test accuracy, trained on random others",
    # figures 7 and 8
    "agreement": "share of easy examples whose own and flipped predictions are the label",
    "agreement_literal": "the same of examples with the literally lowest scores",
    "agreement_difficult": "the same of difficult examples",
    "agreement_all": "the same of all examples",
    # figure 9
    "settled": "first epoch from which own and flipped accuracy stay within 0.02 of their last",
    "rank": "Spearman correlation of the scores of that epoch with the last ones",
    "kept": "Spearman correlation with the mean of the other seeds' last scores, over that of the last ones",
    # figure 10
    "later": "Spearman correlation of the number of random labels with the epoch in which 90 % are fitted",
    "drop": "fall of the test accuracy from its peak to the last epoch, with random labels",
    "drop_clean": "the same without random labels",
    "fitted": "training accuracy of the last epoch, all labels random",
    "fitted_cosine": "the same with a cosine schedule",
    # the onion
    "gain": "exposure of the examples that remain in both, with minus without, nats",
    "next_tenth_gain": "the same of the most exposed tenth of those",
    "found_gain": "share that an attacker finds at 1 % false positives, with minus without",
    "more_exposed": "share of the examples that are more exposed",
    # the cost of finding wrong labels
    "saving": "examples trained on until AUROC .98, cheapest ensemble over one turn-over run",
    "saving_loss": "the same with an ensemble of losses",
    "saving_arithmetic": "the same by arithmetic: a network with turn-over dropout is larger",
}


def measure(name: str) -> str:
    """A measure in words; one that ends with a data set's name says so.

    Raises:
        KeyError: nothing is written here about it.
    """
    if name in MEASURES:
        return MEASURES[name]
    for dataset in sorted(DATASETS, key=len, reverse=True):
        if name.endswith(f"_{dataset}"):
            return f"{MEASURES[name.removesuffix(f'_{dataset}')]}, {DATASETS[dataset].title}"
    raise KeyError(name)
