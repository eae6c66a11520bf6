"""The checks of `verify`: that every example trains its own units alone."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from turnover.checks.reach import bends, changed, gradients_of, reached, rows_of
from turnover.checks.report import Report
from turnover.checks.watched_pass import BY_HAND, WatchedPass
from turnover.common.untouched import few, reordered, untouched, with_another_last
from turnover.core.activations import TurnOverDropout
from turnover.core.masked import Masked, Subnetwork, unseen
from turnover.errors import TurnOverError

EXAMPLES = 4  # that are checked
_HIDDEN = (nn.RNNBase, nn.RNNCellBase, torch.jit.ScriptModule)  # the functions that they call cannot be intercepted


def examine(module: nn.Module, state: TurnOverDropout, args: Any, kwargs: Any, ids: Tensor) -> Report:
    """Check a network that is not compiled or wrapped, inside its `Interception`; see `verify`."""
    state.verifying = True
    try:
        # a network may take batches of one size only, or not do without the user's hooks
        for count, quiet in ((EXAMPLES, True), (len(ids), True), (len(ids), False)):
            try:
                with _eager(), untouched(module, quiet=quiet) as rewind:
                    return _Look(module, state, *few((args, kwargs), ids, count), rewind).report()
            except Exception as error:
                alone = isinstance(error, TurnOverError) and len(ids) < EXAMPLES  # in a batch of one nothing is seen
                if alone or not quiet:
                    raise
    finally:
        state.verifying = False
    raise AssertionError


def _eager() -> AbstractContextManager[Any]:
    """Run without torch.compile inside, and without importing it if nothing was compiled."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


class _Look:
    """A few examples, and the checks by passes over them."""

    def __init__(
        self, module: nn.Module, state: TurnOverDropout, inputs: Any, ids: Tensor, rewind: Callable[[], None]
    ) -> None:
        self.module, self.state, self.inputs, self.ids, self.rewind = module, state, inputs, ids, rewind
        self.statistics: list[tuple[Tensor, Tensor]] = []  # of every batch normalisation, by the first pass
        self.differentiates = False  # whether the forward pass itself asks for gradients

    def report(self) -> Report:
        """Run all checks."""
        try:
            plain = self.run(self.ids)
        except TurnOverError:
            raise
        except RuntimeError:
            self.differentiates = True
            plain = self.run(self.ids)
        for name in self.state.layers or []:
            if name not in {module for module, _ in plain.modules}:
                raise TurnOverError(f"layers: {self._at(name)} did not run in the forward pass; name modules that do")
        self._refuse_other_batch(plain)
        self._refuse_exchange(plain)
        shared: tuple[str, ...] = ()
        hidden = [name for name, submodule in self.module.named_modules() if isinstance(submodule, _HIDDEN)]
        if not self.differentiates:  # a graph that is cut has no gradients to ask for
            cut = self.run(self.ids, cut=True)
            with unseen(self.ids):
                self._refuse_outputs(cut)
                self._refuse_bypass(cut)
            hidden += cut.hidden
            shared = tuple(cut.run_again())
        parameters = reached(self.module, self.state, self.ids, self._with_gradients)
        self._refuse_other_mode()
        rows = [(masked.layer, name, masked.after.shape[masked.channel]) for name, masked in plain.masked]
        activations = pd.DataFrame(rows, columns=["layer", "module", "units"])
        mixing = tuple(dict.fromkeys(plain.mixing))
        return Report(self.state.network, activations, parameters, mixing, tuple(dict.fromkeys(hidden)), shared)

    def run(
        self, ids: Tensor | None, inputs: Any = None, *, cut: bool = False, grad: bool = False, mode: bool | None = None
    ) -> "WatchedPass":
        """Run one forward pass, with the own masks of `ids`, or without any."""
        args, kwargs = self.inputs if inputs is None else inputs
        watch = WatchedPass(self.module, self.state, self.statistics, cut)
        snapshot = self.state.snapshot() | {"subnetworks": [] if ids is None else [Subnetwork(ids)], "running": False}
        self.rewind()
        with ExitStack() as around:
            around.enter_context(self.state.at(snapshot))
            around.enter_context(torch.set_grad_enabled(cut or grad or self.differentiates))
            around.enter_context(watch)
            if mode is not None:
                self.module.train(mode)
            watch.outputs = [leaf for leaf in tree_leaves(self.module(*args, **kwargs)) if isinstance(leaf, Tensor)]
        return watch

    def _with_gradients(self, ids: Tensor | None) -> WatchedPass:
        self.statistics = [] if ids is None else self.statistics  # the full network has its own
        return self.run(ids, grad=True)

    def _refuse_other_batch(self, plain: "WatchedPass") -> None:
        """Refuse a network where another input of the last example changes other examples."""
        n = len(self.ids)
        second = self.run(self.ids, with_another_last(self.inputs, n))
        for (name, before), (_, after) in zip(plain.masked, second.masked, strict=True):
            moved = changed(before.before, after.before)
            if not rows_of(moved)[:-1].any():
                continue
            if moved.dim() > 1 and moved.shape[1] == n and not rows_of(moved.transpose(0, 1))[:-1].any():
                raise TurnOverError(
                    f"an activation in {self._at(name)} has the batch as second dimension, so masks would go to time "
                    "steps: its first dimension must be the batch (batch_first=True of "
                    "nn.TransformerEncoderLayer, nn.LSTM and their kin)"
                )
            return self._refuse_mixing(plain, second)
        for old, new in zip(plain.outputs, second.outputs, strict=True):
            if old.shape[:1] == (n,) and rows_of(changed(old, new))[:-1].any():
                return self._refuse_mixing(plain, second)
        return None

    def _refuse_mixing(self, plain: "WatchedPass", second: "WatchedPass") -> None:
        n = len(self.ids)
        repeated = self.run(self.ids)
        if any(changed(a, b).any() for a, b in zip(plain.outputs, repeated.outputs, strict=True)):
            return  # it draws random numbers of its own, and shows nothing
        pairs = zip(plain.modules, second.modules, strict=True)
        mixed = (
            name
            for (name, before), (_, after) in pairs
            if before.shape[:1] == (n,) and rows_of(changed(before, after))[:-1].any()
        )
        raise TurnOverError(
            f"{self._at(next(mixed, ''))} mixes the examples of a batch: what it computes for one depends on the "
            "others, so units outside of an example's mask learn from it. Known and allowed is nn.BatchNorm; let every "
            "example be treated by itself, for example by nn.GroupNorm or nn.LayerNorm"
        )

    def _at(self, name: str) -> str:
        return f"{name} of {self.state.network}" if name else self.state.network

    def _refuse_exchange(self, plain: "WatchedPass") -> None:
        """Refuse a network where exchanging two ids changes other examples, in either order of the batch."""
        if any(changed(a, b).any() for a, b in zip(plain.outputs, self.run(self.ids).outputs, strict=True)):
            return  # it draws random numbers of its own, and shows nothing
        forwards = torch.arange(len(self.ids), device=self.ids.device)
        for order in (forwards, forwards.flip(0)):
            inputs, ids = reordered(self.inputs, len(self.ids), order), self.ids[order]
            try:
                before, after = self.run(ids, inputs), self.run(torch.cat([ids[:2].flip(0), ids[2:]]), inputs)
            except TurnOverError:
                raise
            except (RuntimeError, ValueError):
                return  # it takes its batches in one order only
            for old, new in zip(before.outputs, after.outputs, strict=True):
                if old.shape[:1] == ids.shape and rows_of(changed(old, new))[2:].any():
                    raise TurnOverError(
                        f"exchanging the ids of two examples changes what {self.state.network} computes for others: "
                        "it reorders its batch on the way, so masks go to the wrong examples; keep the batch in one "
                        "order"
                    )

    def _refuse_bypass(self, cut: "WatchedPass") -> None:
        """Refuse a network where a unit outside of the mask gets a gradient from the next layer."""
        for name, message in cut.broken:
            raise TurnOverError(f"{self._at(name)} {message}")
        generator = torch.Generator().manual_seed(0)
        outside: dict[int, dict[int, Tensor]] = {}  # entries of sources that feed masked units alone
        bent: dict[int, bool] = {}  # whether no linear function of a masked activation goes on
        for name, activation in cut.masked:
            self._refuse_other_dimension(cut, name, activation)
        # what another activation is computed from goes on too, if not to be bent
        sinks = [(sink, True) for sink in cut.sinks] + [(activation.before, False) for _, activation in cut.masked]
        for sink, ends in sinks:
            for number in cut.reach(sink) if sink.requires_grad else []:
                name, activation = cut.masked[number]
                if number not in outside:
                    outside[number] = self._outside(cut, activation)
                weights = torch.randn(sink.shape, generator=generator, dtype=torch.float64).to(sink)
                if not outside[number] or gradients_of(sink, [activation.after], weights)[0] is None:
                    continue
                gradients = gradients_of(sink, [cut.sources[source] for source in outside[number]], weights)
                for gradient, entries in zip(gradients, outside[number].values(), strict=True):
                    if gradient is not None and (gradient.ne(0) & gradient.isfinite() & entries).any():
                        raise TurnOverError(
                            f"a masked function in {self._at(name)} is only a part of the activation there: units "
                            f"outside of an example's mask go on to the next layer, and learn from it; {BY_HAND}"
                        )
                bent[number] = ends and bent.get(number, True) and bends(sink, activation.after, weights)
        for number in (number for number, always in bent.items() if always):
            raise TurnOverError(
                f"a masked function in {self._at(cut.masked[number][0])} is only a part of the activation there: all "
                f"that follows is bent again, and with it the scale 1/p of the mask; {BY_HAND}"
            )

    def _refuse_outputs(self, cut: "WatchedPass") -> None:
        """Refuse a mask that no layer follows: an output must not be masked."""
        followed = {number for sink in cut.into_layers for number in cut.reach(sink)}
        for output in cut.outputs:
            for number in cut.reach(output):
                if number not in followed:
                    raise TurnOverError(
                        f"an output of {self.state.network} is masked, by the activation in "
                        f"{self._at(cut.masked[number][0])}: let it give what is before it, or name the hidden layers "
                        "in attach(layers=[...])"
                    )

    def _refuse_other_dimension(self, cut: "WatchedPass", name: str, activation: Masked) -> None:
        """Refuse a mask along another dimension than the units of the layer before, where that layer has as many."""
        if not activation.before.requires_grad:
            return
        first = activation.before.select(activation.channel, 0)
        for number in cut.comes_from(activation.before):
            source, dim = cut.sources[number], cut.units[number]
            if dim is None or source.dim() < 3 or source.shape[dim] != activation.before.shape[activation.channel]:
                continue
            [gradient] = gradients_of(first, [source])
            if gradient is not None and rows_of(gradient.ne(0).transpose(0, dim)).sum() > 1:
                raise TurnOverError(
                    f"cannot tell which dimension of the activation in {self._at(name)} holds its units: that of the "
                    f"layer before is another one of the same size; call it before dimensions are exchanged, or give "
                    "inputs of another length"
                )

    def _outside(self, cut: "WatchedPass", activation: Masked) -> dict[int, Tensor]:
        shape = [1] * activation.after.dim()
        shape[0], shape[activation.channel] = len(self.ids), activation.after.shape[activation.channel]
        units = activation.after.shape[activation.channel]
        own = self.state.rule.own(self.ids, units, activation.layer).reshape(shape).to(activation.before)
        numbers = cut.comes_from(activation.before)
        if activation.before.shape != activation.after.shape or not activation.before.requires_grad or not numbers:
            return {}
        if not activation.after.isfinite().all():  # a network that has diverged shows nothing
            return {}
        sources = [cut.sources[source] for source in numbers]
        entries = {}
        ones = torch.ones_like(activation.before)
        off, on = (gradients_of(activation.before, sources, weights * ones) for weights in (1 - own, own))
        for number, outside, inside in zip(numbers, off, on, strict=True):
            if outside is not None and inside is not None:
                entries[number] = outside.ne(0) & inside.eq(0)
        return entries

    def _refuse_other_mode(self) -> None:
        """Refuse a network that runs other activations in evaluation than training; `leave_network` compares."""
        if self.module.training:
            with suppress(RuntimeError, TypeError, AttributeError):  # of evaluation mode itself, whatever the masks
                self.run(self.ids, mode=False)
