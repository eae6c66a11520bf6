"""What `verify` looks at: does every example really train its own units alone?"""

from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from turnover.errors import TurnOverError
from turnover.interception import Masked, TurnOverDropout
from turnover.masking import Branch
from turnover.untouched import few, seed, untouched, with_another_last
from turnover.verification_report import Report
from turnover.watched_pass import BY_HAND, Backward, WatchedPass

EXAMPLES = 4  # that are looked at
_HIDDEN = (nn.RNNBase, nn.RNNCellBase, torch.jit.ScriptModule)  # what they call is not shown


def examine(module: nn.Module, state: TurnOverDropout, args: Any, kwargs: Any, ids: Tensor) -> Report:
    """The work of `verify`, inside the `Interception` of the network itself, which is not compiled or wrapped."""
    state.looking = True
    try:
        # a network may take batches of one size only, or not do without the user's hooks
        for count, quiet in ((EXAMPLES, True), (len(ids), True), (len(ids), False)):
            try:
                with untouched(module, quiet=quiet):
                    return _Look(module, state, *few(args, kwargs, ids, count)).report()
            except TurnOverError:
                raise
            except Exception:
                if not quiet:
                    raise
    finally:
        state.looking = False
    raise AssertionError


class _Look:
    """A few examples, and what passes over them show."""

    def __init__(self, module: nn.Module, state: TurnOverDropout, args: Any, kwargs: Any, ids: Tensor) -> None:
        self.module, self.state, self.inputs, self.ids = module, state, (args, kwargs), ids
        self.statistics: list[tuple[Tensor, Tensor]] = []  # of every batch normalisation, by the first pass

    def report(self) -> Report:
        """Look at everything."""
        plain = self.run(self.ids)
        self._refuse_other_batch(plain)
        self._refuse_exchange(plain)
        cut = self.run(self.ids, cut=True)
        self._refuse_bypass(cut)
        parameters = self._parameters()
        self._refuse_other_mode()
        hidden = [name for name, each in self.module.named_modules() if isinstance(each, _HIDDEN)]
        rows = [(one.layer, place, one.after.shape[one.channel]) for place, one in plain.masked]
        activations = pd.DataFrame(rows, columns=["layer", "module", "units"])
        mixing = tuple(dict.fromkeys(plain.mixing))
        return Report(self.state.network, activations, parameters, mixing, tuple(hidden))

    def run(
        self, ids: Tensor | None, inputs: Any = None, *, cut: bool = False, grad: bool = False, mode: bool | None = None
    ) -> "WatchedPass":
        """One forward pass, with the own masks of `ids`, or without any."""
        args, kwargs = self.inputs if inputs is None else inputs
        watch = WatchedPass(self.module, self.state, self.statistics, cut)
        place = self.state.place() | {"branches": [] if ids is None else [Branch(ids)], "running": False}
        seed()
        with ExitStack() as around:
            around.enter_context(self.state.at(place))
            around.enter_context(torch.set_grad_enabled(cut or grad))
            around.enter_context(watch)
            if mode is not None:
                self.module.train(mode)
            watch.outputs = [each for each in tree_leaves(self.module(*args, **kwargs)) if isinstance(each, Tensor)]
        return watch

    def _refuse_other_batch(self, plain: "WatchedPass") -> None:
        """Another input of the last example must change nothing of the others."""
        n = len(self.ids)
        other = self.run(self.ids, tree_map(partial(with_another_last, n), self.inputs))
        for (place, before), (_, after) in zip(plain.masked, other.masked, strict=True):
            changed = _changed(before.before, after.before)
            if not _rows(changed)[:-1].any():
                continue
            if changed.dim() > 1 and changed.shape[1] == n and not _rows(changed.transpose(0, 1))[:-1].any():
                raise TurnOverError(
                    f"an activation in {self._at(place)} has the batch as second dimension, so masks would go to time "
                    "steps: its first dimension must be the batch (batch_first=True of "
                    "nn.TransformerEncoderLayer, nn.LSTM and their kin)"
                )
            self._refuse_mixing(plain, other)
        for given, found in zip(plain.outputs, other.outputs, strict=True):
            if given.shape[:1] == (n,) and _rows(_changed(given, found))[:-1].any():
                self._refuse_mixing(plain, other)

    def _refuse_mixing(self, plain: "WatchedPass", other: "WatchedPass") -> None:
        n = len(self.ids)
        pairs = zip(plain.modules, other.modules, strict=True)
        mixed = (
            name
            for (name, before), (_, after) in pairs
            if before.shape[:1] == (n,) and _rows(_changed(before, after))[:-1].any()
        )
        raise TurnOverError(
            f"{self._at(next(mixed, ''))} mixes the examples of a batch: what it computes for one depends on the "
            "others, so units outside of an example's mask learn from it. Known and allowed is nn.BatchNorm; let every "
            "example be treated by itself, for example by nn.GroupNorm or nn.LayerNorm"
        )

    def _at(self, place: str) -> str:
        return f"{place} of {self.state.network}" if place else self.state.network

    def _refuse_exchange(self, plain: "WatchedPass") -> None:
        """Two ids that are exchanged must change nothing of the other examples."""
        ids = self.ids.clone()
        ids[:2] = self.ids[:2].flip(0)
        other = self.run(ids)
        for before, after in zip(plain.outputs, other.outputs, strict=True):
            if before.shape[:1] == ids.shape and _rows(_changed(before, after))[2:].any():
                raise TurnOverError(
                    f"exchanging the ids of two examples changes what {self.state.network} computes for others: it "
                    "reorders its batch on the way, so masks go to the wrong examples; keep the batch in one order"
                )

    def _refuse_bypass(self, cut: "WatchedPass") -> None:
        """A unit outside of the mask must get no gradient, through whatever the next layer is given."""
        for place, message in cut.broken:
            raise TurnOverError(f"{self._at(place)} {message}")
        generator = torch.Generator().manual_seed(0)
        outside: dict[int, dict[int, Tensor]] = {}  # entries of sources that feed masked units alone
        bent: dict[int, bool] = {}  # whether no linear function of a masked activation goes on
        for sink in cut.sinks:
            for number in cut.reach(sink):
                place, one = cut.masked[number]
                if number not in outside:
                    outside[number] = self._outside(cut, one)
                weights = torch.randn(sink.shape, generator=generator, dtype=torch.float64).to(sink)
                if not outside[number] or _gradients(sink, [one.after], weights)[0] is None:
                    continue
                gradients = _gradients(sink, [cut.sources[each] for each in outside[number]], weights)
                for gradient, entries in zip(gradients, outside[number].values(), strict=True):
                    if gradient is not None and (gradient.ne(0) & gradient.isfinite() & entries).any():
                        raise TurnOverError(
                            f"a masked function in {self._at(place)} is only a part of the activation there: units "
                            f"outside of an example's mask go on to the next layer, and learn from it; {BY_HAND}"
                        )
                if not cut.goes_on(number, sink):
                    bent[number] = bent.get(number, True) and _bends(sink, one.after, weights)
        for number in (number for number, always in bent.items() if always):
            raise TurnOverError(
                f"a masked function in {self._at(cut.masked[number][0])} is only a part of the activation there: all "
                f"that follows is bent again, and with it the scale 1/p of the mask; {BY_HAND}"
            )

    def _outside(self, cut: "WatchedPass", one: Masked) -> dict[int, Tensor]:
        shape = [1] * one.after.dim()
        shape[0], shape[one.channel] = len(self.ids), one.after.shape[one.channel]
        units = one.after.shape[one.channel]
        own = self.state.rule.own(self.ids, units, one.layer).reshape(shape).to(one.before)
        numbers = cut.comes_from(one.before)
        if one.before.shape != one.after.shape or not one.before.requires_grad or not numbers:
            return {}
        if not one.after.isfinite().all():  # a network that has diverged shows nothing
            return {}
        sources = [cut.sources[each] for each in numbers]
        found = {}
        ones = torch.ones_like(one.before)
        off, on = (_gradients(one.before, sources, weights * ones) for weights in (1 - own, own))
        for number, outside, inside in zip(numbers, off, on, strict=True):
            if outside is not None and inside is not None:
                found[number] = outside.ne(0) & inside.eq(0)
        return found

    def _parameters(self) -> pd.DataFrame:
        """How much of each parameter the loss of one example reaches, in the full network and in its own part."""
        named = [(name, each) for name, each in self.module.named_parameters() if each.requires_grad]
        parameters = [each for _, each in named]
        shares: dict[str, list[list[float]]] = {"full": [], "own": []}
        n = len(self.ids)
        for kind, ids in (("own", self.ids), ("full", None)):
            self.statistics = [] if ids is None else self.statistics
            seen = self.run(ids, grad=True)
            # what layers are given counts too: a last layer that is still 0 would hide all before it
            outputs = [each for each in (*seen.outputs, *seen.layers) if each.requires_grad]
            outputs = [each.reshape(n, -1) for each in outputs if each.dim() and len(each) % n == 0]
            if not outputs or not parameters:
                continue
            for example in (0, 1):
                loss = torch.stack([_projection(each[example]) for each in outputs]).sum()
                with Backward(self.state) as backward:
                    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                if backward.unmasked and ids is not None:
                    raise TurnOverError(
                        f"{self.state.network} computes activations again in its backward pass ({backward.unmasked}), "
                        "where they would not be masked; known and allowed is torch.utils.checkpoint"
                    )
                shares[kind].append([_share_of_nonzero(each) for each in gradients])
        table = {"name": [name for name, _ in named], "entries": [each.numel() for each in parameters]}
        for kind, rows in shares.items():
            table[kind] = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(named)).mean(0).tolist()
        return pd.DataFrame(table)

    def _refuse_other_mode(self) -> None:
        """In evaluation the same activations must run as in training; `leave_network` compares them."""
        if self.module.training:
            with suppress(RuntimeError, TypeError, AttributeError):  # what evaluation cannot do is not our business
                self.run(self.ids, mode=False)


def _changed(before: Tensor, after: Tensor) -> Tensor:
    """Which entries differ by more than rounding."""
    if before.shape != after.shape:
        return torch.ones_like(before, dtype=torch.bool)
    if not before.is_floating_point():
        return before != after
    before, after = before.nan_to_num(), after.nan_to_num()
    relative = {torch.float64: 1e-11, torch.float32: 1e-4}.get(before.dtype, 0.02)
    return (before - after).abs() > relative * before.abs().amax()


def _rows(entries: Tensor) -> Tensor:
    """Whether any entry of an example is set.  # bool [n, ...] -> [n]"""
    return entries.flatten(1).any(1) if entries.dim() > 1 else entries


def _gradients(output: Tensor, inputs: list[Tensor], weights: Tensor | None = None) -> tuple[Tensor | None, ...]:
    weights = torch.ones_like(output) if weights is None else weights
    return torch.autograd.grad(output, inputs, weights, retain_graph=True, allow_unused=True)


def _bends(output: Tensor, given: Tensor, weights: Tensor) -> bool:
    """Whether an output is no linear function of what it is computed from."""
    [slope] = torch.autograd.grad(output, [given], weights, retain_graph=True, create_graph=True)
    if not slope.requires_grad:
        return False
    bend = _gradients(slope, [given])[0]
    return bend is not None and bool((bend.ne(0) & bend.isfinite()).any())


def _projection(output: Tensor) -> Tensor:
    """A loss that depends on every entry.  # []"""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return (output * weights.to(output)).sum()


def _share_of_nonzero(gradient: Tensor | None) -> float:
    if gradient is None:
        return 0.0
    entries = gradient.coalesce().values() if gradient.is_sparse else gradient
    return int(entries.count_nonzero()) / gradient.numel()
