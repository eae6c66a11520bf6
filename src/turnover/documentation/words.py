"""What the measures of claims are called where people read them; the names are those of conf/figure."""

from turnover.facts import FACTS

_WORDS = {
    "median_distance": "distance of the median from 0, in nats",
    "skewness": "skewness",
    "top_decile_share": "share of the positive mass held by the highest tenth",
    "auroc": "AUROC of the score for corrupted labels",
    "auroc_wrong": "AUROC of the score for labels that really are wrong",
    "epochs_ahead": "epochs by which easy examples are ahead (difficult ones that never get there: one after the last)",
    "easy_highest": "highest training accuracy on easy examples",
    "early_gain": "gain of accuracy on difficult examples in a tenth of the epochs",
    "over_control": "the same minus that on the same images with other random labels, never trained on",
    "fall": "fall of the test accuracy from its peak to the last epoch",
    "peak_epoch": "epoch of the peak",
    "peak_accuracy": "height of the peak",
    "cosine_lead": "lowest lead of easy examples in any watched epoch, mean cosine of pairs in a mini-batch",
    "set_cosine_lead": "the same of all pairs of the set",
    "difficult_over_easy": "lowest lead of difficult examples over easy ones in any watched epoch (equation 4), "
    "in nats per unit of length",
    "difficult_over_all": "the same over all examples",
    "all_over_easy": "lowest lead of all examples over easy ones",
    "others_difficult_over_easy": "lowest lead of difficult over easy examples without the self-term",
    "others_difficult_over_all": "the same over all examples, without the self-term",
    "others_all_over_easy": "lowest lead of all examples over easy ones without the self-term",
    "others_difficult": "mean over epochs without the self-term, difficult examples",
    "others_easy": "the same, easy examples",
    "faster": "epochs to half of the own rise, difficult minus easy",
    "together": "what difficult examples have gained in accuracy when easy ones are half way",
    "lead": "accuracy on easy minus on difficult examples, mean over epochs",
    "final_gap": "test accuracy on easy minus on difficult examples, last epoch",
    "transfer": "accuracy on easy examples, trained on difficult ones, minus the reverse",
    "easy_to_easy": "on easy examples, trained on easy ones",
    "difficult_to_difficult": "on difficult examples, trained on difficult ones",
    "difficult_to_easy": "on easy examples, trained on difficult ones (chance: 0.1)",
    "easy_to_difficult": "on difficult examples, trained on easy ones",
    "random_to_easy": "on easy examples, trained on random others",
    "random_to_difficult": "on difficult examples, trained on random others",
    "easy_to_test": "test accuracy, trained on easy examples",
    "difficult_to_test": "test accuracy, trained on difficult examples",
    "random_to_test": "test accuracy, trained on random others",
    "agreement": "share of the easy examples where own and flipped predict the label",
    "agreement_literal": "share of those with the literally lowest scores",
    "agreement_difficult": "share of the difficult examples",
    "agreement_all": "share of all examples",
    "settled": "first epoch from which own and flipped accuracy stay within 0.02 of their last",
    "rank": "Spearman correlation of the scores of that epoch with the last ones",
    "kept": "correlation of those scores with other seeds' last ones, over that of the last ones",
    "later": "rank correlation of the number of random labels with the epoch in which 90 % are fitted",
    "drop": "fall of the test accuracy from its peak to the last epoch, mean over 20 to 80 % random labels",
    "drop_clean": "the same without random labels",
    "fitted": "training accuracy of the last epoch, all labels random",
    "fitted_cosine": "the same with a cosine schedule",
    "gain": "gain in exposure of the examples that remain in both, in nats",
    "next_tenth_gain": "the same of the most exposed tenth of those",
    "found_gain": "gain in the share that an attacker finds at 1 % false positives",
    "more_exposed": "share of the examples that are more exposed",
}


def words(measure: str) -> str:
    """A measure in words; of one data set among several, with its name.

    Raises:
        KeyError: a measure of a new claim has no words yet: give it some here.
    """
    for dataset, facts in FACTS.items():
        kind = measure.removesuffix(f"_{dataset}")
        if measure not in _WORDS and kind in _WORDS:
            return f"{_WORDS[kind]}; {facts.title}"
    return _WORDS[measure]
