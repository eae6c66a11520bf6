"""Blocks of a network in the order of its layers, what each holds, and what it passes on to the next one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from turnover.core.evaluation import BATCH, evaluation_mode
from turnover.core.examples import Examples
from turnover.core.inputs import run
from turnover.errors import RefusedInput


@dataclass(frozen=True)
class Block:
    """A layer with weights, or a module of several, and the activations, pools and normalisations behind it."""

    name: str  # of its first module
    entries: tuple[str, ...]  # of the network's state_dict, that it holds


def blocks(model: nn.Module, names: Sequence[str] | None = None) -> list[Block]:
    """Return the blocks of a network: its children with weights, in the order of their names in it.

    A child is taken apart if it is the only one with weights or has a ModuleList in it, as a transformer has. Entries
    of the network itself, such as positions of tokens, belong to the block before them.

    Args:
        names: the modules that are the blocks instead, in the order in which they run.

    Raises:
        RefusedInput: there is no such module, or one without weights.
    """
    if names is not None:
        known = dict(model.named_modules())
        if unknown := [name for name in names if name not in known]:
            raise RefusedInput(
                f"blocks: the network has no module {unknown[0]!r}; it has {', '.join(filter(None, known))}"
            )
        pieces = [(name, _entries(model, name)) for name in names]
        if empty := [name for name, entries in pieces if not entries]:
            raise RefusedInput(f"blocks: module {empty[0]!r} has no weights")
        return [Block(name, tuple(entries)) for name, entries in pieces]
    found: list[tuple[str, list[str]]] = []
    before: list[str] = []  # entries in front of the first block
    for name, entries in _pieces(model, ""):
        if name is not None and _has_weights(model.get_submodule(name)):
            found.append((name, [*before, *entries]))
            before = []
        else:
            (found[-1][1] if found else before).extend(entries)
    return [Block(name, tuple(entries)) for name, entries in found]


@torch.no_grad()
def in_order(model: nn.Module, parts: Sequence[Block], examples: Examples) -> list[Block]:
    """Return the blocks in the order in which they first run, which need not be that of their names; others not."""
    ran: list[Block] = []

    def note(block: Block, *given: Any) -> None:
        if block not in ran:
            ran.append(block)

    handles = [model.get_submodule(block.name).register_forward_pre_hook(partial(note, block)) for block in parts]
    try:
        x, _, _ = examples.batch(torch.zeros(1, dtype=torch.int64, device=examples.device))
        with evaluation_mode(model):
            run(model, x)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _pieces(module: nn.Module, prefix: str) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the name and the entries of each child that is not taken apart; None: entries of the module itself."""
    yield None, [f"{prefix}{name}" for name in module.state_dict() if "." not in name]
    children = dict(module.named_children())
    weighted = [name for name, child in children.items() if _has_weights(child)]
    for name, child in children.items():
        several = any(isinstance(inner, nn.ModuleList) for inner in child.modules())
        if any(True for _ in child.children()) and (several or weighted == [name]):
            yield from _pieces(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", [f"{prefix}{name}.{entry}" for entry in child.state_dict()]


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())  # not those of a normalisation


def _entries(model: nn.Module, name: str) -> list[str]:
    return [entry for entry in model.state_dict() if entry.startswith(f"{name}.")]


@contextmanager
def between(model: nn.Module, parts: Sequence[Block], change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Inside, give `change` what each block but the last passes on, and the next one what it returns.

    Args:
        parts: the blocks of `model`.
        change: number of the block, from 0, and the tensor [batch, ...] -> a tensor of the same shape.
    """

    def hook(number: int, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        places: list[Any] = [*range(len(given)), *named]
        values = dict(zip(places, [*given, *named.values()], strict=True))
        first = next((place for place, value in values.items() if isinstance(value, Tensor)), None)
        if first is None:
            raise RefusedInput(f"block {parts[number + 1].name!r} reads no tensor: name others by blocks=[...]")
        values[first] = change(number, values[first])
        return tuple(values[place] for place in range(len(given))), {name: values[name] for name in named}

    handles = [
        model.get_submodule(block.name).register_forward_pre_hook(partial(hook, number), with_kwargs=True)
        for number, block in enumerate(parts[1:])
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def features(
    model: nn.Module, examples: Examples, parts: Sequence[Block], *, pooled: bool = False, batch_size: int = BATCH
) -> list[Tensor]:
    """Return what each block passes on for every example, in evaluation mode; of the last block the logits.

    Args:
        pooled: mean over the places of an image or the tokens of a sequence; else all of them in a row.

    Returns:
        For each of the blocks.  # [n, features]

    Raises:
        RefusedInput: a forward pass does not run every block once, in their order.
    """
    seen: list[int] = []
    read: list[list[Tensor]] = [[] for _ in parts]

    def keep(number: int, value: Tensor) -> Tensor:
        seen.append(number)
        read[number].append(_rows(value, pooled))
        return value

    with evaluation_mode(model), between(model, parts, keep):
        for x, _, _ in examples.batches(torch.arange(len(examples), device=examples.device).split(batch_size)):
            seen.clear()
            read[-1].append(_rows(run(model, x), pooled))
            if seen != list(range(len(parts) - 1)):
                ran = ", ".join(parts[number + 1].name for number in seen)
                raise RefusedInput(
                    f"blocks {', '.join(block.name for block in parts)} do not run once each in this order, but "
                    f"{ran or 'none'} after the first: name those to be measured by blocks=[...]"
                )
    return [torch.cat(values) for values in read]


def _rows(value: Tensor, pooled: bool) -> Tensor:
    if pooled and value.dim() > 2:  # tokens [n, tokens, d], else maps [n, d, ...]
        value = value.mean(1) if value.dim() == 3 else value.flatten(2).mean(2)
    return value.flatten(1)
