"""Scores from blocks: small networks in pairs, one trained on a random half of the examples and one on the rest.

This is the estimator of Feldman and Zhang (2020) with its budget spent otherwise: many narrow networks, trained to the
end of a falling rate. Every example is held out of half of the blocks, exactly as many as are trained on it, so that
mean and spread of its log odds a = log p(label) / (1 - p(label)) are known both with and without it.
"""

import torch
from torch import Tensor

from turnover.estimators.subsampling import random_parts

_PRIOR = 12  # the median variance of all examples counts as much as so many degrees of freedom of an example's own
_FITTED = 0.9  # accuracy on what blocks were trained on, below which their log odds are not those of trained networks
_TENTH, _HELD = 10, 0.5  # of the examples with the highest scores, accuracy below which their labels are not fitted


def complementary(blocks: int, examples: int, seed: int) -> Tensor:
    """Draw the examples each block is trained on: block k on a random half, block k + blocks/2 on the rest.

    The half is drawn by the number of the pair, so that more blocks add pairs and change none.  # bool [blocks, n]
    """
    first = random_parts(blocks // 2, examples, 0.5, seed)
    return torch.cat([first, ~first])


def block_estimates(log_odds: Tensor, included: Tensor) -> dict[str, Tensor]:
    """Estimate the scores of every example from the log odds of blocks.

    Args:
        log_odds: of the label, by each block.  # float64 [blocks, n]
        included: what each is trained on, as `complementary` returns it, of three pairs or more.  # bool [blocks, n]

    Returns:
        By their names in `config.estimators.ESTIMATES`: blocks, memorization, memorization_se, out_probability,
        in_probability.  # float64 [n] each
    """
    inside, outside = _in_and_out(log_odds, included)
    in_probability, out_probability = _right(inside), _right(outside)
    return {
        "blocks": -_mean_over_spread(outside),
        "memorization": in_probability - out_probability,
        "memorization_se": _jackknife(inside, outside),
        "out_probability": out_probability,
        "in_probability": in_probability,
    }


def block_losses(losses: Tensor, included: Tensor) -> dict[str, Tensor]:
    """Estimate the same where a loss has no log odds: the mean over pairs of the loss held out minus that trained on.

    Args:
        losses: by each block.  # float64 [blocks, n]
        included: as above.  # bool [blocks, n]

    Returns:
        memorization_loss, memorization_se of two pairs or more (the jackknife of a mean is its standard error),
        in_loss, out_loss.  # float64 [n] each
    """
    inside, outside = _in_and_out(losses, included)
    excess = outside - inside
    error = {"memorization_se": excess.std(0) / len(excess) ** 0.5} if len(excess) > 1 else {}
    return {
        "memorization_loss": excess.mean(0),
        **error,
        "in_loss": inside.mean(0),
        "out_loss": outside.mean(0),
    }


def _in_and_out(values: Tensor, included: Tensor) -> tuple[Tensor, Tensor]:
    """Return, of each pair, the value by the block trained on an example and by the other.  # [pairs, n] each"""
    first, second = values.chunk(2)
    in_first = included[: len(first)]
    return torch.where(in_first, first, second), torch.where(in_first, second, first)


def _mean_over_spread(values: Tensor) -> Tensor:
    """Return mean over standard deviation, whose square is shrunk towards the median of all.  # [pairs, n] -> [n]"""
    freedom, own = len(values) - 1, values.var(0)
    variance = (freedom * own + _PRIOR * own.quantile(0.5)) / (freedom + _PRIOR)
    return values.mean(0) / variance.clamp(min=1e-12).sqrt()


def _right(values: Tensor) -> Tensor:
    """Return the probability that log odds of another such block are positive, if normal.  # [pairs, n] -> [n]"""
    return torch.special.ndtr(_mean_over_spread(values))


def _jackknife(inside: Tensor, outside: Tensor) -> Tensor:
    """Estimate the standard error of memorization by leaving out one pair at a time.  # [pairs, n], twice -> [n]"""
    pairs = len(inside)
    without = [torch.arange(pairs, device=inside.device) != pair for pair in range(pairs)]
    estimates = torch.stack([_right(inside[rest]) - _right(outside[rest]) for rest in without])
    return ((pairs - 1) * estimates.var(0, correction=0)).sqrt()


def missing_classes(included: Tensor, labels: Tensor) -> str | None:
    """Return a line on classes of which some blocks are trained on no example, and what to do; None if there are none.

    Args:
        included: which examples each block is trained on.  # bool [blocks, n]
        labels: class numbers.  # int64 [n]
    """
    classes, counts = labels.unique(return_counts=True)
    never = (_of_classes(included, labels) == 0).sum(0)  # blocks without an example of each class
    if not never.any():
        return None
    worst = int(never.argmax())
    return (
        f"{int((never > 0).sum())} of {len(classes)} classes are missing in the half of some blocks, most often class "
        f"{int(classes[worst])}, of which there are {int(counts[worst])} examples, in {int(never[worst])} of "
        f"{len(included)}: the scores of such a class say that it is rare; leave it out, or give more examples of it"
    )


def unfitted(log_odds: Tensor, right: Tensor, included: Tensor, labels: Tensor, score: Tensor, lr: float) -> str | None:
    """Return a line on blocks that have not learnt their training examples, and what to do; None if all have.

    Args:
        log_odds: of the label, by each block; if it is dead, the same for all examples of a class.  # [blocks, n]
        right: whether each block is right.  # bool [blocks, n]
        included: which examples each is trained on.  # bool [blocks, n]
        labels: class numbers.  # int64 [n]
        score: by which examples are ranked.  # [n]
        lr: learning rate of the first epoch.
    """
    dead = sum(len(row.unique()) <= len(labels.unique()) for row in log_odds)
    accuracy = float((right & included).sum() / included.sum())
    if dead:
        return (
            f"{dead} of {len(included)} blocks say the same of all examples, so scores say little: "
            f"take a tenth of lr = {lr:g}"
        )
    if accuracy < _FITTED:
        return (
            f"blocks are right about {accuracy:.0%} of the examples that they were trained on, so scores say little: "
            "train for more epochs; if that does not help, take a smaller lr or wider networks"
        )
    highest = score.topk(-(-len(score) // _TENTH)).indices
    inside = included[:, highest]
    held = float((right[:, highest] & inside).sum() / inside.sum())
    if held < _HELD:
        return (
            f"of the tenth of the examples with the highest scores, blocks are right about {held:.0%} of those that "
            "they were trained on: memorization and memorization_se say how little was learnt by heart so far; train "
            "for more epochs, with a larger lr or wider networks"
        )
    return None


def _of_classes(included: Tensor, labels: Tensor) -> Tensor:
    """Count the examples of each class that each block is trained on.  # int64 [blocks, classes]"""
    classes = labels.unique(return_inverse=True)[1]
    return torch.stack([classes[of_block].bincount(minlength=int(classes.max()) + 1) for of_block in included])
