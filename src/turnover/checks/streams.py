"""Data sets and loaders of PyTorch as inputs that are read batch by batch, with labels and ids read once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
    default_convert,
)

from turnover.checks.missing import some
from turnover.common.seeding import seeded
from turnover.core.inputs import Stream, parts
from turnover.errors import RefusedInput

_BATCH = 64  # items of one batch of the first reading
_TWICE = 8  # first items, which are read twice


def read_once(data: Dataset[Any] | DataLoader[Any], device: torch.device, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """Return inputs as a `Stream`, labels, and ids if items have any; of a `TensorDataset` its tensors.

    Every item is read once, for its label and id, and to see that its numbers are finite; the first ones twice.

    Raises:
        RefusedInput: items have no numbers, no labels, or numbers that are NaN or infinite, or they change.
    """
    if type(data) is TensorDataset and len(data.tensors) in (2, 3):
        x, y, *ids = data.tensors
        return x, y, ids[0] if ids else None
    stream = _stream(data, device, dtype)
    splits = torch.arange(len(stream)).split(_BATCH)
    _refuse_changing(stream, splits[0][:_TWICE])
    labels: Tensor | None = None
    names: list[Any] = []
    bad: list[int] = []
    for index, (x, *rest) in zip(splits, _read(stream, splits), strict=True):
        y = _labels(rest[0])
        # at once, as small tensors between the large ones of batches would hold on to their memory
        labels = y.new_empty(len(stream), *y.shape[1:]) if labels is None else labels
        if wrong := next((leaf for leaf in tree_leaves(x) if not isinstance(leaf, Tensor)), None):
            raise RefusedInput(
                f"the inputs of the data set hold {wrong!r}, a {type(wrong).__name__}: items must have tensors, arrays "
                "or numbers; texts must be tokens, of one length in a batch"
            )
        lengths = sorted({len(part) for part in [*tree_leaves(x), y, *rest[1:]]})
        if lengths != [len(index)] or y.shape[1:] != labels.shape[1:]:
            raise RefusedInput(
                f"items {int(index[0])} to {int(index[-1])} of the data set come as {some(np.array(lengths))} rows, "
                f"labels of shape {tuple(y.shape)}: collate_fn must give a row for each item, alike in all batches"
            )
        labels = labels.to(torch.promote_types(labels.dtype, y.dtype))  # the first may be whole numbers
        labels[index] = y.to(labels.dtype)
        names += [] if len(rest) < 2 else rest[1].tolist() if isinstance(rest[1], Tensor) else list(rest[1])
        finite = torch.ones(len(y), dtype=torch.bool, device=device)
        for leaf in tree_leaves(x):
            if leaf.is_floating_point():
                finite &= leaf.isfinite().reshape(len(leaf), -1).all(1)
        bad += index[~finite.cpu()].tolist()
    if bad:
        raise RefusedInput(
            f"the data set has values that are NaN or infinite, or more than {dtype} holds, in items "
            f"{some(np.array(bad))}: leave such items out, for example "
            f"x = torch.utils.data.Subset(dataset, [i for i in range(len(dataset)) if i not in {set(bad[:5])}])"
        )
    return replace(stream, labels=labels), labels, names or None


def _labels(y: Any) -> Tensor:
    """Return the labels of a batch.  # [batch, ...]"""
    if isinstance(y, list | tuple) and all(isinstance(label, str) for label in y):
        raise RefusedInput(
            f"the labels of the data set are texts, such as {y[0]!r}: number the classes once, names = sorted(...) of "
            "all labels, and let its items give names.index(label)"
        )
    try:
        return torch.as_tensor(y).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise RefusedInput(
            f"the labels of the data set come as a {type(y).__name__} ({error}): the label of an item must be "
            "one number, or one tensor of numbers"
        ) from error


def _read(stream: Stream, splits: Sequence[Tensor]) -> Iterator[tuple[Any, ...]]:
    """Yield all items in batches, naming those that cannot be read, or not together."""
    batches = stream.items(splits)
    for index in splits:
        try:
            batch = next(batches)
        except Exception as error:  # whatever a data set raises
            raise RefusedInput(_unreadable(stream, index, error)) from error
        yield batch


def _unreadable(stream: Stream, index: Tensor, error: Exception) -> str:
    shapes: dict[Any, int] = {}
    for position in index.tolist():
        try:
            item = stream.dataset[position]
        except Exception as own:  # as the whole batch did
            others = f"[i for i in range(len(dataset)) if i != {position}]"
            return (
                f"item {position} of the data set cannot be read: {type(own).__name__}: {own}; mend it, or leave it "
                f"out: x = torch.utils.data.Subset(dataset, {others})"
            )
        shapes.setdefault(tuple(tuple(np.shape(leaf)) for leaf in tree_leaves(item)), position)
    differ = ", ".join(f"{' and '.join(map(str, shape))} (item {position})" for shape, position in shapes.items())
    of_shapes = f", of shapes {differ}," if len(shapes) > 1 else ""
    return (
        f"items {int(index[0])} to {int(index[-1])} of the data set{of_shapes} make no batch: {type(error).__name__}: "
        f"{error}; they must be alike, so crop, resize or pad them, or give a DataLoader whose collate_fn does"
    )


def _refuse_changing(stream: Stream, first: Tensor) -> None:
    before, after = (tree_leaves(_reading(stream, first, time)) for time in range(2))
    pairs = ((a, b) for a, b in zip(before, after, strict=True) if isinstance(a, Tensor))
    if any(not a.nan_to_num().equal(b.nan_to_num()) for a, b in pairs):
        raise RefusedInput(
            "the first items of the data set are not the same when they are read again, but they are read in every "
            "epoch: leave random transforms and shuffling out of it; for images in memory there is "
            "training={'augmentation': ...}"
        )


def _reading(stream: Stream, first: Tensor, time: int) -> tuple[Any, ...]:
    with seeded(time, "items"):  # reading moves no generator, which would hide that items are drawn from it
        return next(_read(stream, [first]))


def _stream(data: Dataset[Any] | DataLoader[Any], device: torch.device, dtype: torch.dtype) -> Stream:
    loader = data if isinstance(data, DataLoader) else None
    dataset: Any = data if loader is None else loader.dataset
    if isinstance(dataset, IterableDataset):
        raise RefusedInput(
            f"x is a {type(data).__name__} without positions, so its items cannot be read in another order: give them "
            "as tensors: rows = list(x); x = torch.stack([torch.as_tensor(row[0]) for row in rows]); "
            "y = torch.stack([torch.as_tensor(row[1]) for row in rows]); or a data set with __getitem__ and __len__"
        )
    if not hasattr(dataset, "__len__") or not len(dataset):
        raise RefusedInput(
            f"the data set, a {type(dataset).__name__}, is empty or has no length: give one with __len__"
        )
    if loader is not None and not _reads_all(loader):
        kind, positions = type(loader.sampler).__name__, "list(loader.sampler)"
        if loader.batch_size is None and loader.batch_sampler is not None:  # which was given
            kind, positions = type(loader.batch_sampler).__name__, "sum(loader.batch_sampler, [])"
        raise RefusedInput(
            f"x is a DataLoader with a {kind}, which need not give every item once: give the "
            f"data set of those that it gives, x = torch.utils.data.Subset(loader.dataset, {positions})"
        )
    collate, workers = default_collate, 0
    if loader is not None and loader.batch_sampler is not None:
        collate, workers = loader.collate_fn, loader.num_workers
    elif loader is not None and loader.collate_fn is not default_convert:
        raise RefusedInput(
            "x is a DataLoader with batch_size=None, whose collate_fn takes single items: give a batch_size, and a "
            "collate_fn of a list of items"
        )
    try:
        batch = collate([dataset[0]])
    except Exception as error:  # whatever a data set raises
        raise RefusedInput(
            f"the first item of the data set cannot be read: {type(error).__name__}: {error}; it must be (x, y) or "
            "(x, y, id), of tensors, arrays or numbers"
        ) from error
    if parts(batch) is None:
        what = f"a dict of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
        raise RefusedInput(
            f"the data set gives batches that are {what}: its items must be (x, y) or (x, y, id), or dicts with "
            "'labels'"
        )
    return Stream(dataset, torch.arange(len(dataset)), device, dtype, collate, workers)


def _reads_all(loader: DataLoader[Any]) -> bool:
    batches, items = loader.batch_sampler, len(loader.dataset)  # type: ignore[arg-type]
    if type(batches) not in (BatchSampler, type(None)):
        return False
    sampler: Any = loader.sampler if batches is None else batches.sampler  # type: ignore[attr-defined]
    once = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    return once and len(sampler) == len(sampler.data_source) == items
