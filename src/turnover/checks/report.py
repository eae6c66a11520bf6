"""The result of `verify`: the masks of a network, and the parameters that they do not shield."""

from dataclasses import dataclass

import pandas as pd

_ENOUGH = 0.7  # of 1 - p: a smaller share of parameters out of reach of an example gives a warning


@dataclass(frozen=True)
class Report:
    """Masked activations of a network, and the parameters that an example cannot reach."""

    network: str
    activations: pd.DataFrame  # a row for each activation that is masked: layer, module, units
    parameters: pd.DataFrame  # a row for each: name, entries, full, own: shares that an example's loss reaches
    mixing: tuple[str, ...]  # modules that mix the examples of a batch by its statistics
    hidden: tuple[str, ...]  # what computes activations that cannot be seen, if any, and so are not masked
    shared: tuple[str, ...]  # matrices that run more than once in a pass, each time before another mask

    @property
    def shielded(self) -> float:
        """Return the share of parameter entries that an example trains in the full network, but not in its own."""
        full, own = ((self.parameters["entries"] * self.parameters[name]).sum() for name in ("full", "own"))
        return float(1 - own / full) if full else 0.0

    @property
    def unshielded(self) -> list[str]:
        """Return parameters outside of all masks: every example trains all of their entries that matter to it."""
        open_ = self.parameters["full"].gt(0) & self.parameters["own"].ge(self.parameters["full"])
        return self.parameters.loc[open_, "name"].tolist()

    def warnings(self, p: float, *, chosen: bool) -> dict[str, str]:
        """Return warnings before training, by kind.

        Args:
            p: share of the units that an example trains.
            chosen: whether the user named the masked layers.
        """
        messages = {"mixing": _mixing_message(self.network, self.mixing)} if self.mixing else {}
        if self.shared:
            messages["shared"] = _shared_message(self.network, self.shared)
        if not chosen and (self.hidden or self.shielded < _ENOUGH * (1 - p)):
            inside = f"; those inside of {', '.join(self.hidden)} cannot be seen" if self.hidden else ""
            free = ", ".join(self.unshielded[:3]) or "none"
            messages["reach"] = (
                f"{len(self.activations)} activations of {self.network} are masked{inside}. That keeps an example "
                f"from {self.shielded:.0%} of the parameter entries that it would train in the full network, of "
                f"{1 - p:.0%} if all of them met a mask. Every example trains the others (among them {free}), and no "
                "score shows what these memorize; turnover.verify(model, x, ids) lists them"
            )
        return messages

    def __str__(self) -> str:
        lines = [
            f"{self.network}: every example trains its own units alone",
            f"masked activations: {len(self.activations)}",
            *(f"  {row.layer}: {row.module}, {row.units} units" for row in self.activations.itertuples()),
            f"out of reach of one example: {self.shielded:.1%} of the parameter entries that it would train otherwise",
            f"outside of all masks: {', '.join(self.unshielded) or 'none'}",
        ]
        if self.hidden:
            lines.append(f"activations inside cannot be seen, and are not masked: {', '.join(self.hidden)}")
        if self.shared:
            lines.append(_shared_message(self.network, self.shared))
        if self.mixing:
            lines.append(_mixing_message(self.network, self.mixing))
        return "\n".join(lines)


def _shared_message(network: str, shared: tuple[str, ...]) -> str:
    more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
    return (
        f"{network} runs {', '.join(shared[:3])}{more} several times in a pass, and another mask follows every time: "
        "an example trains the units that are in any of these masks, so flipped sub-networks know something of it and "
        "scores are too low; to mask other layers alone, name them in attach(layers=[...])"
    )


def _mixing_message(network: str, mixing: tuple[str, ...]) -> str:
    more = f" and {len(mixing) - 3} more" if len(mixing) > 3 else ""
    return (
        f"{network} normalises by the statistics of the batch in {', '.join(mixing[:3])}{more}: through them the other "
        "examples of a batch, and units outside of an example's mask, learn a little from it. Without that: train with "
        "these layers in evaluation mode (module.eval() after model.train()), or normalise each feature map by itself "
        "(nn.InstanceNorm2d). nn.GroupNorm and nn.LayerNorm keep examples apart, but not the units of one example"
    )
