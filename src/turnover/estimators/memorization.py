"""Scores from data and a network alone, by turn-over dropout or any other estimator; the one-line API."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from tqdm.auto import tqdm

from turnover.checks.inputs import refuse_unsuited, user_examples
from turnover.checks.user_network import new_network, refuse_shared, taken_by
from turnover.common.device import Precision, resolve, settle
from turnover.common.ranks import in_turns, processes, rank, refuse_different
from turnover.common.ranks import shared as share_work
from turnover.config.checks import training_disagreements
from turnover.config.estimator_names import by_name
from turnover.config.estimators import TurnoverEstimator
from turnover.config.parse import parse
from turnover.config.recipes import as_arguments, training_fields
from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.core.inputs import Stream
from turnover.core.losses import loss_of
from turnover.errors import RefusedInput, RunFailed
from turnover.estimators.curve import mean_curve
from turnover.estimators.estimator import Task
from turnover.estimators.one_seed import OfSeed, of_seed
from turnover.estimators.registry import OF_SEVERAL_NETWORKS, sizes, steps
from turnover.estimators.score import average
from turnover.estimators.suited import column_of, refuse_loss, refuse_training

_SEEDS = 10  # networks whose scores are averaged, unless they are asked for
_LARGE = 10  # number to be predicted; networks begin with outputs of about 1


@torch.inference_mode(False)  # turns gradients on as well, where they are off
def memorization(
    make_model: Callable[[], nn.Module],
    x: Any,
    y: Any = None,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    seeds: int | Sequence[int] | None = None,
    device: str = "auto",
    *,
    ids: Any = None,
    p: float = 0.5,
    layers: list[str] | None = None,
    groups: int | None = None,
    dropout: float = 0.0,
    momentum: float | None = None,
    weight_decay: float = 0.0,
    precision: Precision | Literal["auto"] = "float32",
    progress: bool = True,
    estimator: str = "turnover",
    options: Mapping[str, Any] | None = None,
    predictions: bool = False,
    loss: str | Callable[[Tensor, Tensor], Tensor] = "class",
    training: Mapping[str, Any] | None = None,
    shared: float = 0.0,
    distributed: bool = False,
) -> pd.DataFrame:
    """Score how much each example's label is memorized rather than inferred from the other examples.

    Trains `make_model()`, by SGD at a constant rate unless `training` says otherwise, once for each seed, and averages
    the scores over the seeds. With turn-over dropout score(z) = loss(flipped(z), z) - loss(own(z), z). High scores, of
    whichever estimator: wrong labels and rare examples. Numbers are those of a run from a config of the same settings.

    Args:
        make_model: makes a new network; called with PyTorch's generator seeded.
        x: inputs, ready for the network, or a data set that is read batch by batch, as in `turnover.score`.  # [n, ...]
        y: class numbers from 0, or what `loss` takes.  # [n, ...]
        epochs, lr, batch_size, momentum: None is 256 and 0 for the last two. `estimator="blocks"` alone has its own:
            20 epochs, lr .03, batches of 32, momentum .9; with it the rate falls linearly to 0.
        seeds: how many, or which; None: 10, and 1 if each seed trains an ensemble.
        ids: permanent ids or names of the examples; None: positions 0 .. n-1.  # [n]
        precision: of training; auto: bfloat16 where the device has units for it, else float32.
        p, layers, groups, dropout, shared: of turn-over dropout, as in `turnover.attach`.
        estimator: what gives the scores, by its name in docs/estimators.md: turnover; cumulative_loss, aum, forgetting,
            first_learning, final_loss, confidence, el2n, grand, vog, or all of these, one_run, from an ordinary
            training; second_split; confident_learning, subsampling, c_score, membership from ensembles; blocks, an
            ensemble of narrow networks: let `make_model` make one of about an eighth of the usual width, for example
            by `turnover.models.narrow.narrower`.
        options: fields of the estimator that are to differ from those of the configs, for example {"models": 200} of
            subsampling or {"early": 3} of el2n.
        predictions: also return the class that the networks prefer: `prediction`, the one to which they gave
            most probability, mean over all epochs and seeds, each example seen just before it was learnt from, and
            `probability`, that mean. Takes 4 n * classes bytes; not for estimators that train several networks.
        loss: of an example, trained on and measured: class, soft, binary, multilabel, squared, tokens or a function,
            as in `turnover.score`. turnover, blocks, cumulative_loss, final_loss and grand work with any; an estimator
            that needs more of it than it has refuses by name.
        training: choices as in conf/, by name or with more fields, for example {"optimizer": "adamw", "schedule":
            {"name": "cosine", "by": "step", "warmup": 100}, "class_weights": "balanced"}; also "method" (gce, elr,
            co_teaching and others of conf/method/) and "augmentation" (crop, with zeros around; torchvision), of images
            [n, channels, height, width].
        distributed: share the seeds, or the networks of an ensemble, among the processes of torch.distributed, as under
            torchrun: all of them call this with the same arguments, and each returns the whole table.

    Returns:
        A row for every example, index "id": score, label, and what the score is made of. Of turn-over dropout: score,
        own_loss, flipped_loss (means over seeds), own_prediction, flipped_prediction (most frequent), label. Of the
        others: score, the estimates by their names in `turnover.config.estimators.ESTIMATES`, of blocks also
        `prediction` and `probability` by those that were not trained on the example, label. The score of blocks is
        `memorization_loss` for losses without log odds of a label. Over several seeds they are
        means, `memorization_se` and `probability` too, and most frequent predictions.
        `attrs["seeds"]` holds the seeds, `attrs["estimator"]` the name of the score; of one network for each seed
        `attrs["curve"]` is the loss, and perhaps the accuracy, of each epoch, every example just before it was learnt
        from; with `precision="auto"` `attrs["precision"]` is what it was, and with turn-over dropout `attrs["leakage"]`
        the verdict with own and flipped accuracy of the seed whose masks leak most.

    Raises:
        RefusedInput: data that do not suit each other or the network, options out of range. Says what to do.
        TurnOverError: turn-over dropout cannot be attached to such a network.
        RunFailed: a loss became NaN or infinite.
    """
    if not isinstance(distributed, bool):
        raise RefusedInput(f"distributed = {distributed!r}: give True, under torchrun, or False")
    given = {"epochs": _whole(epochs), "lr": lr, "batch_size": _whole(batch_size), "momentum": momentum}
    fields = training_fields(estimator, given | {"weight_decay": weight_decay}, training or {})
    scoring = by_name(estimator, fields["epochs"], dict(options or {}))
    name = scoring["name"]
    if name != "turnover" and (p, layers, groups, dropout, shared) != (0.5, None, None, 0.0, 0.0):
        raise RefusedInput(f"p, layers, groups, dropout and shared belong to estimator='turnover', not {estimator!r}")
    several = name in OF_SEVERAL_NETWORKS
    if predictions and several:
        raise RefusedInput(f"predictions = True: estimator = {estimator!r} trains several networks, whose are not kept")
    seed_list = _seeds(seeds, 1 if name in ("subsampling", "confident_learning", "blocks") else _SEEDS)
    where = resolve(device)
    probe = new_network(make_model, 0)
    of_example = loss_of(loss)
    examples = user_examples(x, y, ids, device=where, dtype=taken_by(probe)[1], loss=of_example)
    if of_example.of_classes and len(examples) and len(examples.labels.unique()) < 2:
        raise RefusedInput(f"y holds class {int(examples.labels[0])} alone: two classes are needed at least")
    in_precision = settle(precision, where)
    settings = fields | {"precision": in_precision, "estimator": scoring}
    with _in_words_of_the_call(examples):
        configs = [parse(Training, settings | {"seed": seed}) for seed in seed_list]
    if problems := training_disagreements(configs[0], len(examples)):
        raise RefusedInput("\n".join(problems))
    refuse_loss(configs[0].estimator, of_example)
    refuse_training(configs[0], examples)
    if predictions and not of_example.of_classes:
        raise RefusedInput(f"predictions = True: under loss={of_example.name!r} no class is preferred; leave it out")
    made, none_wrong = partial(new_network, make_model, device=where), torch.zeros(len(examples), dtype=torch.bool)
    task = Task(examples, none_wrong, {}, probe.to(where), made)
    refuse_unsuited(task.model, examples, sizes(task, configs[0]), configs[0].batch_size)
    refuse_shared(probe, new_network(make_model, 0))
    masks = {"p": p, "layers": layers, "groups": groups, "dropout": dropout, "shared": shared}
    scored, summed = list[OfSeed](), None
    with (
        share_work(distributed),
        tqdm(unit="step", desc=estimator, disable=not progress or (distributed and rank() > 0)) as bar,
        _in_words_of_the_call(examples),
    ):
        bar.total = len(configs) * steps(task, configs[0]) // processes()
        given_to_all = repr(([config.model_dump_json() for config in configs], masks, predictions))
        inputs = () if isinstance(examples.inputs, Stream) else tree_leaves(examples.inputs)
        refuse_different(given_to_all, [*task.model.state_dict().values(), examples.labels, examples.ids, *inputs])
        one_seed = partial(of_seed, task, masks, bar.update, predictions)
        # processes share the networks of an ensemble, else the seeds
        for one in map(one_seed, configs) if several else in_turns(configs, one_seed):
            scored.append(one._replace(probabilities=None))
            if one.probabilities is not None:
                summed = one.probabilities if summed is None else summed.add_(one.probabilities)
    table = average([one.table for one in scored])
    if summed is not None:
        probability, prediction = (summed / len(scored)).max(1)
        table["prediction"], table["probability"] = prediction.numpy(), probability.numpy()
    table.attrs |= {"seeds": seed_list, "estimator": column_of(configs[0].estimator, of_example)}
    if not several:
        table.attrs["curve"] = mean_curve([one.curve for one in scored])
    if precision == "auto":
        table.attrs["precision"] = in_precision
    if isinstance(configs[0].estimator, TurnoverEstimator):
        table.attrs["leakage"] = None
        if judged := [one.leakage for one in scored if one.leakage is not None]:
            worst = max(judged, key=lambda one: one.leak)  # one leaking network in ten must not vanish in a mean
            worst.warn()
            table.attrs["leakage"] = worst.as_dict()
    return table


@contextmanager
def _in_words_of_the_call(examples: Examples) -> Iterator[None]:
    """Name arguments of the call in errors, and numbers to be predicted that are too large to be learnt as they are."""
    try:
        yield
    except (RefusedInput, RunFailed) as error:
        message, y = as_arguments(str(error)), examples.labels
        if (
            isinstance(error, RunFailed)
            and examples.loss.name == "squared"
            and (largest := float(y.abs().max())) > _LARGE
        ):
            message += f"; y is up to {largest:g}, so scale it first, y = (y - y.mean()) / y.std()"
        raise type(error)(message) from error.__cause__


def _seeds(seeds: int | Sequence[int] | None, usual: int) -> list[int]:
    count = usual if seeds is None else seeds
    numbers = [_whole(seed) for seed in count] if isinstance(count, Iterable) else list(range(_whole(count)))
    if not numbers or len(set(numbers)) < len(numbers):
        raise RefusedInput(f"seeds = {seeds!r}: give how many, at least 1, or different ones, for example [0, 1, 2]")
    return numbers


def _whole(value: Any) -> Any:
    """Return a whole number of any type as an int; anything else unchanged, to be refused by name."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return value
