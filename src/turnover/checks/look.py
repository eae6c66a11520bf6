"""What `verify` looks at: does every example really train its own units alone?"""

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

EXAMPLES = 4  # that are looked at
_HIDDEN = (nn.RNNBase, nn.RNNCellBase, torch.jit.ScriptModule)  # what they call is not shown


def examine(module: nn.Module, state: TurnOverDropout, args: Any, kwargs: Any, ids: Tensor) -> Report:
    """The work of `verify`, inside the `Interception` of the network itself, which is not compiled or wrapped."""
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
    """Inside, nothing runs compiled; where nothing ever was, the compiler is not even imported."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


class _Look:
    """A few examples, and what passes over them show."""

    def __init__(
        self, module: nn.Module, state: TurnOverDropout, inputs: Any, ids: Tensor, rewind: Callable[[], None]
    ) -> None:
        self.module, self.state, self.inputs, self.ids, self.rewind = module, state, inputs, ids, rewind
        self.statistics: list[tuple[Tensor, Tensor]] = []  # of every batch normalisation, by the first pass
        self.differentiates = False  # whether the forward pass itself asks for gradients

    def report(self) -> Report:
        """Look at everything."""
        try:
            plain = self.run(self.ids)
        except TurnOverError:
            raise
        except RuntimeError:
            self.differentiates = True
            plain = self.run(self.ids)
        for name in self.state.layers or []:
            if name not in {place for place, _ in plain.modules}:
                raise TurnOverError(f"layers: {self._at(name)} did not run in the forward pass; name modules that do")
        self._refuse_other_batch(plain)
        self._refuse_exchange(plain)
        shared: tuple[str, ...] = ()
        hidden = [name for name, each in self.module.named_modules() if isinstance(each, _HIDDEN)]
        if not self.differentiates:  # a graph that is cut has no gradients to ask for
            cut = self.run(self.ids, cut=True)
            with unseen(self.ids):
                self._refuse_outputs(cut)
                self._refuse_bypass(cut)
            hidden += cut.hidden
            shared = tuple(cut.run_again())
        parameters = reached(self.module, self.state, self.ids, self._with_gradients)
        self._refuse_other_mode()
        rows = [(one.layer, place, one.after.shape[one.channel]) for place, one in plain.masked]
        activations = pd.DataFrame(rows, columns=["layer", "module", "units"])
        mixing = tuple(dict.fromkeys(plain.mixing))
        return Report(self.state.network, activations, parameters, mixing, tuple(dict.fromkeys(hidden)), shared)

    def run(
        self, ids: Tensor | None, inputs: Any = None, *, cut: bool = False, grad: bool = False, mode: bool | None = None
    ) -> "WatchedPass":
        """One forward pass, with the own masks of `ids`, or without any."""
        args, kwargs = self.inputs if inputs is None else inputs
        watch = WatchedPass(self.module, self.state, self.statistics, cut)
        place = self.state.snapshot() | {"subnetworks": [] if ids is None else [Subnetwork(ids)], "running": False}
        self.rewind()
        with ExitStack() as around:
            around.enter_context(self.state.at(place))
            around.enter_context(torch.set_grad_enabled(cut or grad or self.differentiates))
            around.enter_context(watch)
            if mode is not None:
                self.module.train(mode)
            watch.outputs = [each for each in tree_leaves(self.module(*args, **kwargs)) if isinstance(each, Tensor)]
        return watch

    def _with_gradients(self, ids: Tensor | None) -> WatchedPass:
        self.statistics = [] if ids is None else self.statistics  # the full network has its own
        return self.run(ids, grad=True)

    def _refuse_other_batch(self, plain: "WatchedPass") -> None:
        """Another input of the last example must change nothing of the others."""
        n = len(self.ids)
        other = self.run(self.ids, with_another_last(self.inputs, n))
        for (place, before), (_, after) in zip(plain.masked, other.masked, strict=True):
            moved = changed(before.before, after.before)
            if not rows_of(moved)[:-1].any():
                continue
            if moved.dim() > 1 and moved.shape[1] == n and not rows_of(moved.transpose(0, 1))[:-1].any():
                raise TurnOverError(
                    f"an activation in {self._at(place)} has the batch as second dimension, so masks would go to time "
                    "steps: its first dimension must be the batch (batch_first=True of "
                    "nn.TransformerEncoderLayer, nn.LSTM and their kin)"
                )
            return self._refuse_mixing(plain, other)
        for given, found in zip(plain.outputs, other.outputs, strict=True):
            if given.shape[:1] == (n,) and rows_of(changed(given, found))[:-1].any():
                return self._refuse_mixing(plain, other)
        return None

    def _refuse_mixing(self, plain: "WatchedPass", other: "WatchedPass") -> None:
        n = len(self.ids)
        again = self.run(self.ids)
        if any(changed(a, b).any() for a, b in zip(plain.outputs, again.outputs, strict=True)):
            return  # it draws random numbers of its own, and shows nothing
        pairs = zip(plain.modules, other.modules, strict=True)
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

    def _at(self, place: str) -> str:
        return f"{place} of {self.state.network}" if place else self.state.network

    def _refuse_exchange(self, plain: "WatchedPass") -> None:
        """Two ids that are exchanged must change nothing of the other examples, in whatever order these come."""
        if any(changed(a, b).any() for a, b in zip(plain.outputs, self.run(self.ids).outputs, strict=True)):
            return  # it draws random numbers of its own, and shows nothing
        forwards = torch.arange(len(self.ids), device=self.ids.device)
        for order in (forwards, forwards.flip(0)):
            inputs, ids = reordered(self.inputs, len(self.ids), order), self.ids[order]
            try:
                before, after = (self.run(each, inputs) for each in (ids, torch.cat([ids[:2].flip(0), ids[2:]])))
            except TurnOverError:
                raise
            except (RuntimeError, ValueError):
                return  # it takes its batches in one order only
            for one, other in zip(before.outputs, after.outputs, strict=True):
                if one.shape[:1] == ids.shape and rows_of(changed(one, other))[2:].any():
                    raise TurnOverError(
                        f"exchanging the ids of two examples changes what {self.state.network} computes for others: "
                        "it reorders its batch on the way, so masks go to the wrong examples; keep the batch in one "
                        "order"
                    )

    def _refuse_bypass(self, cut: "WatchedPass") -> None:
        """A unit outside of the mask must get no gradient, through whatever the next layer is given."""
        for place, message in cut.broken:
            raise TurnOverError(f"{self._at(place)} {message}")
        generator = torch.Generator().manual_seed(0)
        outside: dict[int, dict[int, Tensor]] = {}  # entries of sources that feed masked units alone
        bent: dict[int, bool] = {}  # whether no linear function of a masked activation goes on
        for place, one in cut.masked:
            self._refuse_other_dimension(cut, place, one)
        # what another activation is computed from goes on too, if not to be bent
        for sink, ends in [*((each, True) for each in cut.sinks), *((one.before, False) for _, one in cut.masked)]:
            for number in cut.reach(sink) if sink.requires_grad else []:
                place, one = cut.masked[number]
                if number not in outside:
                    outside[number] = self._outside(cut, one)
                weights = torch.randn(sink.shape, generator=generator, dtype=torch.float64).to(sink)
                if not outside[number] or gradients_of(sink, [one.after], weights)[0] is None:
                    continue
                gradients = gradients_of(sink, [cut.sources[each] for each in outside[number]], weights)
                for gradient, entries in zip(gradients, outside[number].values(), strict=True):
                    if gradient is not None and (gradient.ne(0) & gradient.isfinite() & entries).any():
                        raise TurnOverError(
                            f"a masked function in {self._at(place)} is only a part of the activation there: units "
                            f"outside of an example's mask go on to the next layer, and learn from it; {BY_HAND}"
                        )
                bent[number] = ends and bent.get(number, True) and bends(sink, one.after, weights)
        for number in (number for number, always in bent.items() if always):
            raise TurnOverError(
                f"a masked function in {self._at(cut.masked[number][0])} is only a part of the activation there: all "
                f"that follows is bent again, and with it the scale 1/p of the mask; {BY_HAND}"
            )

    def _refuse_outputs(self, cut: "WatchedPass") -> None:
        """A mask must be followed by a layer: what is only an output must not be masked."""
        followed = {number for sink in cut.into_layers for number in cut.reach(sink)}
        for output in cut.outputs:
            for number in cut.reach(output):
                if number not in followed:
                    raise TurnOverError(
                        f"an output of {self.state.network} is masked, by the activation in "
                        f"{self._at(cut.masked[number][0])}: let it give what is before it, or name the hidden layers "
                        "in attach(layers=[...])"
                    )

    def _refuse_other_dimension(self, cut: "WatchedPass", place: str, one: Masked) -> None:
        """A unit of the mask must be a unit of the layer before, where that layer has as many."""
        if not one.before.requires_grad:
            return
        first = one.before.select(one.channel, 0)
        for number in cut.comes_from(one.before):
            source, dim = cut.sources[number], cut.units[number]
            if dim is None or source.dim() < 3 or source.shape[dim] != one.before.shape[one.channel]:
                continue
            [gradient] = gradients_of(first, [source])
            if gradient is not None and rows_of(gradient.ne(0).transpose(0, dim)).sum() > 1:
                raise TurnOverError(
                    f"cannot tell which dimension of the activation in {self._at(place)} holds its units: that of the "
                    f"layer before is another one of the same size; call it before dimensions are exchanged, or give "
                    "inputs of another length"
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
        off, on = (gradients_of(one.before, sources, weights * ones) for weights in (1 - own, own))
        for number, outside, inside in zip(numbers, off, on, strict=True):
            if outside is not None and inside is not None:
                found[number] = outside.ne(0) & inside.eq(0)
        return found

    def _refuse_other_mode(self) -> None:
        """In evaluation the same activations must run as in training; `leave_network` compares them."""
        if self.module.training:
            with suppress(RuntimeError, TypeError, AttributeError):  # what evaluation cannot do is not our business
                self.run(self.ids, mode=False)
