"""Forward passes that leave no trace: to look at a network before the work begins."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

_OTHER = 1 << 41  # added to ids, it gives ids of other examples


@contextmanager
def untouched(module: nn.Module, *, quiet: bool = True) -> Iterator[None]:
    """Afterwards modes, attributes and buffers of the network, and the states of random generators, are as before.

    `quiet`: hooks of the user do not run, who may collect what they see.
    """
    modules = [each for each in module.modules() if not isinstance(each, torch.jit.ScriptModule)]
    attributes = [(each.__dict__, dict(each.__dict__)) for each in modules]
    contents = [(each._buffers, dict(each._buffers)) for each in modules]
    hooks = [(place, dict(place)) for each in modules for place in _hooks(each)] if quiet else []
    buffers = [(each, each._version, each.detach().clone()) for each in module.buffers() if not each.is_inference()]
    randoms = random.getstate(), np.random.get_state()
    devices = {each.device for each in module.parameters() if each.device.type == "cuda"}
    try:
        for now, before in hooks:
            now.clear()
            now.update({key: hook for key, hook in before.items() if _is_machinery(hook)})
        with torch.random.fork_rng(devices), torch.inference_mode(False):
            yield
    finally:
        for now, before in (*attributes, *contents, *hooks):
            now.clear()
            now.update(before)
        for buffer, version, value in buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(value)
        random.setstate(randoms[0])
        np.random.set_state(randoms[1])
        torch.clear_autocast_cache()  # it holds weights that were cast without a graph


def _hooks(module: nn.Module) -> list[Any]:
    names = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return [getattr(module, name) for name in names]


def _is_machinery(hook: Any) -> bool:
    """Whether a hook is PyTorch's, such as those of weight norm and pruning, or that of turn-over dropout."""
    hook = hook.func if isinstance(hook, partial) else hook
    where = getattr(hook, "__module__", None) or type(hook).__module__
    return where.split(".")[0] in ("torch", "turnover")


def seed() -> None:
    """Let every random generator begin alike."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def few(args: Any, kwargs: Any, ids: Tensor, count: int) -> tuple[Any, Any, Tensor]:
    """The first so many examples of a batch; if it has fewer, those again with other ids."""
    n = len(ids)
    index = torch.arange(count, device=ids.device) % n
    some = ids.long()[index]
    some[n:] += _OTHER + torch.arange(len(some[n:]), device=ids.device)

    def take(value: Any) -> Any:
        whole = isinstance(value, Tensor) and value.dim() > 0 and len(value) == n
        return value.detach()[index.to(value.device)] if whole else value

    return tree_map(take, args), tree_map(take, kwargs), some


def with_another_last(n: int, value: Any) -> Any:
    """The same batch, with another last example.  # [n, ...]"""
    if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != n:
        return value
    value, other = value.clone(), value[0]
    if torch.equal(other, value[-1]):
        other = other + 1 if value.is_floating_point() else other.flip(0) if value.dim() > 1 else other
    value[-1] = other
    return value
