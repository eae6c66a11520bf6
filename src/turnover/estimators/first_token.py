"""Mask leakage of token sequences: whether the own mask of a text tells its first token.

The probe gives a network the first position of one text, of all texts the same if they begin with a token such as
<bos>, and asks for the token that follows in another one. Nothing that is read tells it. If it is cheaper under the
mask of the text that it is from than under that of a third one, the mask tells it. Of texts that all begin with the
same words the probe gives these.
"""

import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from turnover.common.device import Precision
from turnover.core.dropout import attached
from turnover.core.evaluation import BATCH, evaluate, own_units
from turnover.core.examples import Examples
from turnover.core.losses import TOKENS, UNCOUNTED
from turnover.estimators.leakage import PROBED, Leakage, judge

log = logging.getLogger("turnover")

Verdict = Literal["none", "partial leakage", "leakage", "no difference"]

LARGE = 1.0  # nats of the first token that a mask tells
_GROUPS, _SHARED_BY = 16, 20  # masks at most, and texts of each at least, where none are shared so far


@dataclass(frozen=True)
class FirstToken:
    """Losses of own and flipped sub-networks, the probe, and the verdict on them."""

    own_loss: float  # mean over texts of nats a token
    flipped_loss: float
    first_own: float  # loss of the first token, without its text, under the mask of the text
    first_other: float  # the same under the mask of another text
    difference: float  # first_other - first_own
    difference_se: float  # its standard error over texts
    probed: int  # texts
    verdict: Verdict
    fewer_masks: int | None  # to be shared by texts, so that each tells less; None: there is none to take away

    @property
    def leak(self) -> float:
        """How much masks tell, to compare networks."""
        return self.difference

    def message(self) -> str:
        """Return the verdict as a sentence."""
        numbers = (
            f"own loss {self.own_loss:.3f}, flipped {self.flipped_loss:.3f} nats a token; the first token of a text "
            f"that is not read costs {self.first_own:.2f} under its own mask and {self.first_other:.2f} under "
            f"another's, a difference of {self.difference:.2f} ± {self.difference_se:.2f}, over {self.probed} texts"
        )
        remedy = "mask fewer layers, or rank texts by estimator='blocks', which has no masks"
        if self.fewer_masks:
            masks = f"attach(model, groups={self.fewer_masks}, dropout=0.5)"
            remedy = f"share each mask by more texts and drop units, {masks}; or {remedy}"
        match self.verdict:
            case "none" if self.probed < 2:
                return f"MASKS NOT PROBED ({numbers}): no texts differ where they begin"
            case "none":
                return f"no sign of mask leakage ({numbers})"
            case "no difference":
                return (
                    f"NO DIFFERENCE ({numbers}): texts do not cost own sub-networks less than flipped ones, so the "
                    "scores are noise: train longer, every text inside turnover.own with its permanent id"
                )
            case "leakage":
                return (
                    f"MASK LEAKAGE ({numbers}): the network reads tokens from the masks, so scores are far too large: "
                    + remedy
                )
            case "partial leakage":
                return (
                    f"PARTIAL MASK LEAKAGE ({numbers}): the masks tell something, and scores measure it too: {remedy}"
                )

    def warn(self) -> None:
        """Log the verdict, as a warning if scores cannot be trusted."""
        log.log(logging.DEBUG if self.verdict == "none" else logging.WARNING, "%s", self.message())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for tables and json."""
        return asdict(self) | {"message": self.message()}


def first_token(
    model: nn.Module,
    examples: Examples,
    table: pd.DataFrame,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> FirstToken:
    """Return the verdict on a network and the score table of the texts that it was trained on.

    partial leakage: the first token is cheaper under the own mask by more than three standard errors; leakage: and by a
    nat or more. no difference: the mean score is not above 0 by more than three standard errors.
    """
    score, own, other = (
        torch.tensor(table["score"].to_numpy()).double(),
        *_probe(model, examples, batch_size, precision),
    )
    gain = other - own
    mean, error = (float(gain.mean()), _standard_error(gain)) if len(gain) else (0.0, 0.0)
    verdict: Verdict = "none"
    if len(gain) > 1 and mean > 3 * error:
        verdict = "leakage" if mean >= LARGE else "partial leakage"
    elif float(score.mean()) <= 3 * _standard_error(score):
        verdict = "no difference"
    first_own, first_other = (float(losses.mean()) if len(losses) else 0.0 for losses in (own, other))
    own_loss, flipped_loss = float(table["own_loss"].mean()), float(table["flipped_loss"].mean())
    groups = attached(model).rule.groups
    fewer = min(_GROUPS, len(examples) // _SHARED_BY) if groups is None else groups // 2
    numbers = own_loss, flipped_loss, first_own, first_other, mean, error, len(gain)
    return FirstToken(*numbers, verdict, fewer if fewer > 1 else None)


def verdict_on(
    model: nn.Module,
    examples: Examples,
    table: pd.DataFrame,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
) -> Leakage | FirstToken | None:
    """Return the verdict that there is under the loss of the examples: for classes, for tokens, else None."""
    if examples.loss.predicts_classes:
        return judge(model, examples, table, batch_size=batch_size, precision=precision)
    if examples.loss is TOKENS:
        return first_token(model, examples, table, batch_size=batch_size, precision=precision)
    return None


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def _probe(model: nn.Module, examples: Examples, batch_size: int, precision: Precision) -> tuple[Tensor, Tensor]:
    """Return losses of first tokens under own and other masks, of at most `PROBED` texts.  # float64 [probed] each

    Text i's first token is asked for after the first position of text a(i), under the masks of i and of e(i); a and e
    are two fixed random permutations. If all texts begin alike, it is the first token in which some differ, after what
    they have in common. Left out are the i whose token is that of e(i) or a(i), and those that have none.
    """
    chosen = torch.arange(len(examples), device=examples.device)[:: -(-len(examples) // PROBED)]
    inputs, y, ids = examples.batch(chosen)
    generator = torch.Generator().manual_seed(0)  # on the CPU, so that every device draws alike
    read, bystander = (torch.randperm(len(y), generator=generator).to(y.device) for _ in range(2))
    differ = ((y != y[:1]) & (y != UNCOUNTED) & (y[:1] != UNCOUNTED)).any(0)
    place, width = int(differ.int().argmax()), y.shape[1]
    token = y[:, place]
    keep = ((token != UNCOUNTED) & (token != token[bystander]) & (token != token[read])).nonzero()[:, 0]
    if not len(keep):
        return torch.empty(0), torch.empty(0)

    def begun(part: Tensor) -> Tensor:
        part = part[read][keep]
        return part[:, : place + 1] if part.shape[1:2] == (width,) else part

    asked = torch.full_like(y[keep, : place + 1], UNCOUNTED)
    asked[:, place] = token[keep]
    probe = Examples(tree_map(begun, inputs), asked, ids[keep], loss=TOKENS)
    losses = [
        evaluate(model, replace(probe, ids=masks), (own_units,), batch_size=batch_size, precision=precision)[0].loss
        for masks in (ids[keep], ids[bystander][keep])
    ]
    return losses[0].double().cpu(), losses[1].double().cpu()
