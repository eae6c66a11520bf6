"""Forward passes without side effects, for checks of a network, and few or changed examples for them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

_LARGE = 1 << 24  # entries of a frozen parameter; larger ones are not restored
_OTHER = 1 << 41  # added to ids, it gives ids of other examples


@contextmanager
def untouched(module: nn.Module, *, quiet: bool = True) -> Iterator[Callable[[], None]]:
    """Restore modes, attributes and buffers of the network, and the states of random generators, at the end.

    `quiet`: hooks of the user, which may collect data, do not run.

    Yields:
        A function that restores all of these and seeds the generators, to be called before each pass.
    """
    modules = [submodule for submodule in module.modules() if not isinstance(submodule, torch.jit.ScriptModule)]
    contents: list[tuple[Any, Any]] = [(submodule.__dict__, dict(submodule.__dict__)) for submodule in modules]
    for submodule in modules:  # what a forward pass may add to
        contents += [(held, held.copy()) for held in vars(submodule).values() if type(held) in (dict, list, set)]
    hooks = [(table, dict(table)) for submodule in modules for table in _hooks(submodule)] if quiet else []
    frozen = [
        parameter for parameter in module.parameters() if not parameter.requires_grad and parameter.numel() <= _LARGE
    ]
    buffers = [
        (buffer, buffer.detach().clone()) for buffer in (*module.buffers(), *frozen) if not buffer.is_inference()
    ]
    versions = [buffer._version for buffer, _ in buffers]
    randoms = random.getstate(), np.random.get_state()
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type == "cuda"}

    def rewind() -> None:
        _restore(contents)
        for number, (buffer, value) in enumerate(buffers):
            if buffer._version != versions[number]:
                with torch.no_grad():
                    buffer.copy_(value)
                versions[number] = buffer._version
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        torch.clear_autocast_cache()  # it may hold weights that were cast without a graph

    try:
        for table, before in hooks:
            _restore([(table, {key: hook for key, hook in before.items() if _is_internal(hook)})])
        with torch.random.fork_rng(devices), torch.inference_mode(False):
            try:
                yield rewind
            finally:
                rewind()
    finally:
        _restore(hooks)
        random.setstate(randoms[0])
        np.random.set_state(randoms[1])


def _restore(contents: list[tuple[Any, Any]]) -> None:
    for now, before in contents:
        now.clear()
        (now.extend if isinstance(now, list) else now.update)(before)


def _hooks(module: nn.Module) -> list[Any]:
    names = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return [getattr(module, name) for name in names]


def has_hooks(module: nn.Module) -> bool:
    """Return True if a module has hooks of the user."""
    return not all(_is_internal(hook) for table in _hooks(module) for hook in table.values())


def _is_internal(hook: Any) -> bool:
    """Return True if a hook is PyTorch's, such as those of weight norm and pruning, or one of turn-over dropout."""
    hook = hook.func if isinstance(hook, partial) else hook
    where = getattr(hook, "__module__", None) or type(hook).__module__
    return where.split(".")[0] in ("torch", "turnover")


def few(inputs: Any, ids: Tensor, count: int) -> tuple[Any, Tensor]:
    """Return the first `count` examples of a batch, inputs and ids; if it has fewer, repeats with other ids."""
    n = len(ids)
    index = torch.arange(count, device=ids.device) % n
    some = ids.long()[index]
    some[n:] += _OTHER + torch.arange(len(some[n:]), device=ids.device)

    return reordered(inputs, n, index), some


def reordered(inputs: Any, n: int, index: Tensor) -> Any:
    """Return inputs of a batch of n, with all of its tensors indexed."""

    def take(value: Any) -> Any:
        whole = isinstance(value, Tensor) and value.dim() > 0 and len(value) == n
        return value.detach()[index.to(value.device)] if whole else value

    return tree_map(take, inputs)


def with_another_last(inputs: Any, n: int) -> Any:
    """Return the batch with another last example, in its first tensor of floats, else in its first.  # [n, ...]"""
    batches = [batch for batch in tree_leaves(inputs) if isinstance(batch, Tensor) and batch.dim() and len(batch) == n]
    target = next((batch for batch in batches if batch.is_floating_point()), batches[0] if batches else None)

    def change(value: Any) -> Any:
        if value is not target or not isinstance(value, Tensor):
            return value
        value, example = value.clone(), value[0]
        if torch.equal(example, value[-1]):
            example = example + 1 if value.is_floating_point() else example.flip(0) if value.dim() > 1 else example
        value[-1] = example
        return value

    return tree_map(change, inputs)
