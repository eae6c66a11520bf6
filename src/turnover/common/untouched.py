"""Forward passes that leave no trace: to look at a network before the work begins."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

_LARGE = 1 << 24  # entries of a parameter that is not trained, and not looked after if it has more
_OTHER = 1 << 41  # added to ids, it gives ids of other examples


@contextmanager
def untouched(module: nn.Module, *, quiet: bool = True) -> Iterator[Callable[[], None]]:
    """Afterwards modes, attributes and buffers of the network, and the states of random generators, are as before.

    `quiet`: hooks of the user do not run, who may collect what they see.

    Yields:
        What makes the next pass begin as every other: all that, as it was, and the same random numbers.
    """
    modules = [each for each in module.modules() if not isinstance(each, torch.jit.ScriptModule)]
    contents: list[tuple[Any, Any]] = [(each.__dict__, dict(each.__dict__)) for each in modules]
    for each in modules:  # what a forward pass may add to
        contents += [(held, held.copy()) for held in vars(each).values() if type(held) in (dict, list, set)]
    hooks = [(place, dict(place)) for each in modules for place in _hooks(each)] if quiet else []
    frozen = [each for each in module.parameters() if not each.requires_grad and each.numel() <= _LARGE]
    buffers = [(each, each.detach().clone()) for each in (*module.buffers(), *frozen) if not each.is_inference()]
    versions = [each._version for each, _ in buffers]
    randoms = random.getstate(), np.random.get_state()
    devices = {each.device for each in module.parameters() if each.device.type == "cuda"}

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
        for place, before in hooks:
            _restore([(place, {key: hook for key, hook in before.items() if _is_machinery(hook)})])
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
    """Whether a module has hooks of the user."""
    return not all(_is_machinery(hook) for place in _hooks(module) for hook in place.values())


def _is_machinery(hook: Any) -> bool:
    """Whether a hook is PyTorch's, such as those of weight norm and pruning, or that of turn-over dropout."""
    hook = hook.func if isinstance(hook, partial) else hook
    where = getattr(hook, "__module__", None) or type(hook).__module__
    return where.split(".")[0] in ("torch", "turnover")


def few(inputs: Any, ids: Tensor, count: int) -> tuple[Any, Tensor]:
    """The first so many examples of a batch, inputs and ids; if it has fewer, those again with other ids."""
    n = len(ids)
    index = torch.arange(count, device=ids.device) % n
    some = ids.long()[index]
    some[n:] += _OTHER + torch.arange(len(some[n:]), device=ids.device)

    return reordered(inputs, n, index), some


def reordered(inputs: Any, n: int, index: Tensor) -> Any:
    """Inputs of a batch of n, all of its tensors indexed."""

    def take(value: Any) -> Any:
        whole = isinstance(value, Tensor) and value.dim() > 0 and len(value) == n
        return value.detach()[index.to(value.device)] if whole else value

    return tree_map(take, inputs)


def with_another_last(inputs: Any, n: int) -> Any:
    """The same batch with another last example, in the first of its tensors, of numbers if there is one.  # [n, ...]"""
    batches = [each for each in tree_leaves(inputs) if isinstance(each, Tensor) and each.dim() and len(each) == n]
    chosen = next((each for each in batches if each.is_floating_point()), batches[0] if batches else None)

    def change(value: Any) -> Any:
        if value is not chosen or not isinstance(value, Tensor):
            return value
        value, other = value.clone(), value[0]
        if torch.equal(other, value[-1]):
            other = other + 1 if value.is_floating_point() else other.flip(0) if value.dim() > 1 else other
        value[-1] = other
        return value

    return tree_map(change, inputs)
