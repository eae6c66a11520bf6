"""The turn-over dropout of a network, and the record of the examples it was trained on under `own`."""

import torch
from torch import Tensor, nn

from turnover.core.activations import TurnOverDropout
from turnover.errors import TurnOverError

ATTRIBUTE = "_turnover"  # of a network
_SIZE = 1 << 20  # distinct ids; larger ones share an entry, so that one may pass for seen, never for unseen


def attached_to(model: nn.Module) -> tuple[nn.Module, TurnOverDropout]:
    """Return the network, unwrapped from torch.compile or DistributedDataParallel, and its turn-over dropout."""
    for module in model.modules():
        if ATTRIBUTE in vars(module):
            return module, vars(module)[ATTRIBUTE]
    raise TurnOverError(f"{type(model).__name__} has no turn-over dropout: call turnover.attach(model) first")


class TrainingRecord:
    """Records the ids of all passes under `own` with gradients, in constant memory and without a wait for a GPU."""

    def __init__(self) -> None:
        self.seen: dict[torch.device, Tensor] = {}  # bool [_SIZE], by the device that ids came from
        self.own = 0  # passes under `own` that had gradients
        self.plain = 0  # passes in training mode with gradients, but outside of it

    def note(self, ids: Tensor) -> None:
        """Record a pass under `own`."""
        if ids.device not in self.seen:
            self.seen[ids.device] = torch.zeros(_SIZE, dtype=torch.bool, device=ids.device)
        self.seen[ids.device].index_fill_(0, ids.long() % _SIZE, True)
        self.own += 1

    def unseen(self, ids: Tensor) -> Tensor:
        """Return True for each example that no recorded pass had.  # bool [n]"""
        seen = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for flags in self.seen.values():
            seen |= flags.to(ids.device)[ids.long() % _SIZE]
        return ~seen


def untrained(model: nn.Module, ids: Tensor) -> str | None:
    """Return why the scores of these examples mean nothing, if they were not trained on under `own`; else None."""
    _, state = attached_to(model)
    record: TrainingRecord = state.record
    if not record.seen:
        return (
            f"{state.network} was not trained under turnover.own since turnover.attach, so its scores are noise: "
            "attach before training, and run every training pass inside of turnover.own(model, ids). (If its weights "
            "are those of such a training, loaded or averaged, and p, seed, layers, groups and balance are as they "
            "were there, all is well.)"
        )
    missing = record.unseen(ids)
    count = int(missing.sum())
    if count:
        some = ", ".join(map(str, ids[missing][:3].tolist()))
        return (
            f"{count} of {len(ids)} ids were never given to turnover.own in training (for example {some}), so their "
            "scores are noise: an id is the permanent number of an example in its data set, not its position in a batch"
        )
    if record.plain:
        return (
            f"{record.plain} of {record.plain + record.own} training passes of {state.network} ran outside of "
            "turnover.own: in them flipped units learnt from the examples too, so scores are too low; train inside of "
            "it alone, and look at the full network under torch.no_grad() or after model.eval()"
        )
    return None
